"""The example of LangGraph: a guarded node, and a person where the guard is uncertain."""

import asyncio
import runpy
from pathlib import Path

import pytest
from example_langgraph import build
from guardrail_langchain import with_guardrail
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from guardrail.testing.scenarios import SCENARIOS
from guardrail.testing.setting import scenario_policy
from guardrail.testing.stage import stage

FOLDER = Path(__file__).parent.parent
THREAD = {"configurable": {"thread_id": "1"}}
named = {scenario.name: scenario for scenario in SCENARIOS}
WORDS = "Coloured squares."


@pytest.fixture
def play():
    def graph_of(played):
        model = ChatOpenAI(
            model="scripted", base_url=played.model.base_url, api_key="none", max_retries=0
        )
        return build(with_guardrail(model, played.guard), InMemorySaver())

    return graph_of


def asked(scenario):
    return {"messages": scenario.request["messages"]}


def test_a_person_is_asked_where_the_guard_is_uncertain(play):
    scenario = named["uncertain"]
    with stage(scenario) as played:
        graph = play(played)
        (question,) = graph.invoke(asked(scenario), THREAD)["__interrupt__"]
        assert question.value["reason"] == "uncertain"
        assert question.value["record_id"]
        assert graph.get_state(THREAD).next == ("review",)
        state = graph.invoke(Command(resume=WORDS), THREAD)
        assert [message.text for message in state["messages"][1:]] == [WORDS]
        about = state["messages"][-1].response_metadata["guardrail"]
        assert about["decision"] == "block"  # a person's words are no certified answer
        played.check()  # one decision: the model was not asked again


def test_without_words_the_refusal_stays(play):
    scenario = named["uncertain"]
    with stage(scenario) as played:
        graph = play(played)
        graph.invoke(asked(scenario), THREAD)
        state = graph.invoke(Command(resume=""), THREAD)
        assert state["messages"][-1].additional_kwargs["refusal"]
        played.check()


@pytest.mark.parametrize("name", ["clean", "attacked", "forbidden", "two images"])
def test_nobody_is_asked_where_the_test_came_to_an_end(play, name):
    scenario = named[name]
    with stage(scenario) as played:
        state = play(played).invoke(asked(scenario), THREAD)
        assert "__interrupt__" not in state
        assert state["messages"][-1].text == (scenario.text or scenario_policy().block.text)
        played.check()


@pytest.mark.parametrize("name", ["upstream down", "oracle down"])
def test_a_fault_ends_the_graph(play, name):
    scenario = named[name]
    with stage(scenario) as played, pytest.raises(scenario.error):
        play(played).invoke(asked(scenario), THREAD)


def test_nothing_streams_before_the_verdict(play):
    async def told(graph, given):
        modes = ["messages", "updates", "custom"]
        return [part async for part in graph.astream(given, THREAD, stream_mode=modes)]

    scenario = named["uncertain"]
    with stage(scenario) as played:
        graph = play(played)
        assert "forbidden" not in str(asyncio.run(told(graph, asked(scenario))))
        assert WORDS in str(asyncio.run(told(graph, Command(resume=WORDS))))


@pytest.mark.parametrize("name", ["example.py", "example_langgraph.py"])
def test_the_examples_run(name, capsys):
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert "squares" in capsys.readouterr().out
