"""The middleware in real agents: their loops, tools, structured output and other middleware."""

import asyncio
import hashlib

import pytest
from guardrail_langchain import GuardrailMiddleware
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelFallbackMiddleware, ModelResponse
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel
from talkative import QUESTION, Ear, Talkative

from guardrail import ConfigError, ContentBlocked, RequestError, UpstreamError
from guardrail.testing.scenarios import HARMLESS_TEXT, picture_url

GIVEN = {"messages": QUESTION}
PASSING, FAILING = 0.02, 0.5
filed = []


@tool
def describe(what: str) -> str:
    """Files a description."""
    filed.append(what)
    return "filed"


@pytest.fixture(autouse=True)
def _nothing_filed():
    filed.clear()


class Filing(Talkative):
    """Calls the tool, and says so once it has."""

    what: str = "squares"

    def _message(self, messages, options):
        said = super()._message(messages, options)
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(HARMLESS_TEXT)
        call = {"name": "describe", "args": {"what": self.what}, "id": "call_1"}
        return said if "forbidden" in said.content else AIMessage("", tool_calls=[call])


def agent_of(model, guard, *others, on_block="refusal", before=(), **options):
    guarding = GuardrailMiddleware(guard, on_block=on_block)
    return create_agent(model, middleware=[*before, guarding, *others], **options)


def last(state):
    return state["messages"][-1]


def is_refusal(message):
    return message.content == message.additional_kwargs.get("refusal")


# The loop


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_every_turn_of_the_loop_is_decided(guard, journal, is_async):
    agent = agent_of(Filing(harmful_rate=PASSING), guard, tools=[describe])
    state = asyncio.run(agent.ainvoke(GIVEN)) if is_async else agent.invoke(GIVEN)
    kinds = [type(message) for message in state["messages"]]
    assert kinds == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert last(state).content == HARMLESS_TEXT
    assert filed == ["squares"]
    assert [record.action for record in journal.records] == ["pass", "pass"]
    for answer in (state["messages"][1], last(state)):
        assert answer.response_metadata["guardrail"]["certificate"]["radius"] > 0


def test_a_blocked_tool_call_is_not_made_and_ends_the_loop(guard, journal):
    agent = agent_of(Filing(harmful_rate=0.0, what="forbidden"), guard, tools=[describe])
    state = agent.invoke(GIVEN)
    assert is_refusal(last(state))
    assert filed == []
    assert len(journal.records) == 1


def test_a_conversation_goes_on_after_a_refusal(guard):
    agent = agent_of(Talkative(harmful_rate=FAILING), guard, checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    assert is_refusal(last(agent.invoke(GIVEN, thread)))
    state = agent.invoke({"messages": [HumanMessage("And now?")]}, thread)
    assert len(state["messages"]) == 4


def test_a_checkpoint_keeps_the_certificate(guard):
    agent = agent_of(Talkative(harmful_rate=PASSING), guard, checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    told = last(agent.invoke(GIVEN, thread)).response_metadata["guardrail"]
    kept = agent.get_state(thread).values["messages"][-1].response_metadata["guardrail"]
    assert kept == told
    assert type(kept["certificate"]["claim"]) is str


def test_a_block_can_be_raised_out_of_the_agent(guard):
    agent = agent_of(Talkative(harmful_rate=FAILING), guard, on_block="raise")
    with pytest.raises(ContentBlocked) as caught:
        agent.invoke(GIVEN)
    assert caught.value.certificate.samples > 0


# What a variant is


def test_the_system_message_goes_along_and_its_pictures_are_guarded(guard):
    model = Talkative(harmful_rate=0.0)
    picture = {"type": "image_url", "image_url": {"url": picture_url()}}
    system = SystemMessage([{"type": "text", "text": "Be brief."}, picture])
    agent_of(model, guard, system_prompt=system).invoke({"messages": "What do you see?"})
    for messages, _ in model.seen:
        assert [type(message) for message in messages] == [SystemMessage, HumanMessage]
        assert messages[0].content[0]["text"] == "Be brief."
        assert messages[0].content[1]["image_url"]["url"] != picture_url()


def test_tools_and_settings_are_in_what_the_guard_reads(guard, journal):
    class Warmer(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            return handler(request.override(model_settings={"temperature": 0.5}))

    for options in ({}, {"tools": [describe]}, {"before": [Warmer()]}):
        agent_of(Talkative(harmful_rate=0.0), guard, **options).invoke(GIVEN)
    assert len({record.request_digest for record in journal.records}) == 3


def test_a_tool_that_runs_at_the_provider_is_refused_if_it_has_no_form(guard):
    model = Talkative()
    with pytest.raises(RequestError, match="tools"):
        agent_of(model, guard, tools=[{"odd": 1}]).invoke(GIVEN)
    assert model.seen == []


# Structured output


class Description(BaseModel):
    """A description."""

    what: str


class Describing(Talkative):
    """Calls the tool of the structured output, each time with other words."""

    def _message(self, messages, options):
        super()._message(messages, options)
        what = "squares " + hashlib.sha256(str(messages[-1].content).encode()).hexdigest()[:8]
        name = options["tools"][0].name
        return AIMessage("", tool_calls=[{"name": name, "args": {"what": what}, "id": what}])


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_structured_output_is_that_of_the_delivered_answer(guard, is_async):
    model = Describing(harmful_rate=0.0)
    agent = agent_of(model, guard, response_format=ToolStrategy(Description))
    state = asyncio.run(agent.ainvoke(GIVEN)) if is_async else agent.invoke(GIVEN)
    *_, answer, result = state["messages"]
    (call,) = answer.tool_calls
    assert state["structured_response"] == Description(**call["args"])
    assert result.tool_call_id == call["id"]
    assert answer.response_metadata["guardrail"]["decision"] == "pass"


def test_a_block_leaves_no_structured_output_and_is_not_asked_again(guard, journal):
    model = Talkative(harmful_rate=1.0)
    state = agent_of(model, guard, response_format=ToolStrategy(Description)).invoke(GIVEN)
    assert is_refusal(last(state))
    assert state.get("structured_response") is None
    assert len(journal.records) == 1


# Other middleware


class Counting(AgentMiddleware):
    def __init__(self):
        super().__init__()
        self.calls = []

    def wrap_model_call(self, request, handler):
        self.calls.append(request.runtime.context)
        return handler(request)


class Inside(Counting):
    """A second class, since an agent takes one of each."""


def test_what_comes_before_sees_decisions_and_what_comes_after_variants(guard, journal):
    before, after = Counting(), Inside()
    agent = agent_of(Talkative(harmful_rate=PASSING), guard, after, before=[before])
    agent.invoke(GIVEN, context="tenant")
    assert before.calls == ["tenant"]
    assert after.calls == ["tenant"] * len(journal.records[0].samples)


def test_a_fallback_inside_is_guarded_as_well(guard):
    class Down(Talkative):
        def _message(self, *_):
            raise ConnectionError

    other = Talkative(harmful_rate=1.0)
    state = agent_of(Down(), guard, ModelFallbackMiddleware(other)).invoke(GIVEN)
    assert len(other.seen) > 1
    assert is_refusal(last(state))


def test_a_fallback_outside_is_not_asked_after_a_refusal(guard):
    other = Talkative(harmful_rate=0.0)
    agent = agent_of(Talkative(harmful_rate=1.0), guard, before=[ModelFallbackMiddleware(other)])
    assert is_refusal(last(agent.invoke(GIVEN)))
    assert other.seen == []


def test_several_answers_to_one_variant_are_no_answer(guard):
    class Doubling(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            response = handler(request)
            return ModelResponse(result=response.result * 2)

    with pytest.raises(UpstreamError):
        agent_of(Talkative(harmful_rate=0.0), guard, Doubling()).invoke(GIVEN)


def test_a_model_that_is_no_chat_model_is_refused(guard):
    model = Talkative(harmful_rate=0.0)

    class Binding(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            return handler(request.override(model=request.model.bind(temperature=1)))

    with pytest.raises(ConfigError, match="only chat models"):
        agent_of(model, guard, before=[Binding()]).invoke(GIVEN)
    assert model.seen == []


# What those who watch are told


class Kept(BaseTracer):
    """Keeps the metadata of runs, whole trees of them."""

    def __init__(self):
        super().__init__()
        self.told = []

    def _persist_run(self, run):
        runs = [run]
        for one in runs:
            runs.extend(one.child_runs)
            self.told.extend([one.extra.get("metadata", {}).get("guardrail")])


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_the_nodes_run_carries_the_certificate(guard, is_async):
    agent, tracer, ear = agent_of(Talkative(harmful_rate=PASSING), guard), Kept(), Ear()
    config = {"callbacks": [tracer, ear]}
    state = asyncio.run(agent.ainvoke(GIVEN, config)) if is_async else agent.invoke(GIVEN, config)
    about = last(state).response_metadata["guardrail"]
    assert [told for told in tracer.told if told] == [about]
    assert ear.events == [("guardrail", about)]


# Cancellation


def test_cancellation_reaches_every_variant(guard):
    heard = []

    class Waiting(Talkative):
        async def _agenerate(self, *_, **__):
            heard.append("asked")
            try:
                await asyncio.Event().wait()
            finally:
                heard.append("left")

    async def cancelled():
        task = asyncio.create_task(agent_of(Waiting(), guard).ainvoke(GIVEN))
        while not heard:  # noqa: ASYNC110 (the agent says nothing before)
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert heard.count("asked") == heard.count("left") > 0
