"""Nothing streams out that was not judged, whoever listens and wherever."""

import asyncio

import pytest
from guardrail_langchain import GuardrailMiddleware, with_guardrail
from langchain.agents import create_agent
from talkative import QUESTION, Ear, Nesting, Streaming

from guardrail.testing.scenarios import HARMLESS_TEXT
from guardrail.testing.setting import scenario_policy

GIVEN = {"messages": QUESTION}
MODES = ["messages", "updates", "custom", "values", "debug"]
RATES = {"passed": 0.02, "blocked": 0.5}
WITHHELD = scenario_policy().block.text


def unguarded(model, guard):
    return create_agent(model)


def wrapped(model, guard):
    return create_agent(with_guardrail(model, guard))


def middleware(model, guard):
    return create_agent(model, middleware=[GuardrailMiddleware(guard)])


guarded = pytest.mark.parametrize("made", [wrapped, middleware])
models = pytest.mark.parametrize(
    "model",
    [
        pytest.param(Streaming, id="own", marks=pytest.mark.nightly),
        pytest.param(lambda **kw: Nesting(inside=Streaming(**kw)), id="nested"),
    ],
)
outcomes = pytest.mark.parametrize("rate", RATES.values(), ids=RATES)
modes = pytest.mark.parametrize("mode", [*MODES, MODES], ids=str)


async def everything(made, mode, ear=None):
    config = {"callbacks": [ear]} if ear else {}
    told = [part async for part in made.astream(GIVEN, config, stream_mode=mode)]
    return [*told, *made.stream(GIVEN, config, stream_mode=mode)]


async def events(made, version="v2"):
    return [event async for event in made.astream_events(GIVEN, version=version)]


def says_harm(told):
    return "forbidden" in str(told)


@pytest.mark.parametrize("mode", ["messages", "custom"])
def test_unguarded_they_would_hear_it(mode):
    agent = unguarded(Streaming(harmful_rate=1.0), None)
    assert says_harm(asyncio.run(everything(agent, mode)))
    assert says_harm(asyncio.run(events(agent)))


@guarded
@models
@outcomes
@modes
def test_streams_of_a_graph_hold_decided_answers_only(guard, made, model, rate, mode):
    ear = Ear()
    told = asyncio.run(everything(made(model(harmful_rate=rate), guard), mode, ear))
    assert not says_harm(told)
    assert not says_harm(ear.heard)
    assert {name for name, _ in ear.events} == {"guardrail"}
    if mode == "custom":
        assert told == []
    else:
        assert (HARMLESS_TEXT in str(told)) == (rate == RATES["passed"])


@guarded
@models
@outcomes
def test_events_hold_decided_answers_only(guard, made, model, rate):
    told = asyncio.run(events(made(model(harmful_rate=rate), guard)))
    assert not says_harm(told)
    (about,) = [event["data"] for event in told if event["event"] == "on_custom_event"]
    assert about["decision"] == ("pass" if rate == RATES["passed"] else "block")


@guarded
@outcomes
def test_a_message_streams_once(guard, made, rate):
    agent = made(Streaming(harmful_rate=rate), guard)
    told = list(agent.stream(GIVEN, stream_mode="messages"))
    assert len(told) == 1
    message, _ = told[0]
    assert message.content == (HARMLESS_TEXT if rate == RATES["passed"] else WITHHELD)


@guarded
@outcomes
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_the_newest_protocol_of_streams_holds_decided_answers_only(guard, made, rate):
    async def told():
        agent = made(Streaming(harmful_rate=rate), guard)
        try:
            stream = await agent.astream_events(GIVEN, version="v3")
        except (NotImplementedError, TypeError):
            pytest.skip("this LangGraph does not speak it")
        return [event async for event in stream]

    assert not says_harm(asyncio.run(told()))


@outcomes
def test_a_model_streams_one_chunk_after_the_verdict(guard, rate):
    model = with_guardrail(Streaming(harmful_rate=rate), guard)

    async def chunks():
        return [chunk async for chunk in model.astream(QUESTION)]

    for told in (list(model.stream(QUESTION)), asyncio.run(chunks())):
        (chunk,) = told
        assert chunk.content == (HARMLESS_TEXT if rate == RATES["passed"] else WITHHELD)
        assert chunk.response_metadata["guardrail"]["record_id"]
        assert chunk.chunk_position == "last"


def test_listeners_of_the_model_itself_hear_the_decided_answer(guard):
    ear = Ear()
    model = with_guardrail(Streaming(callbacks=[ear], harmful_rate=0.02), guard)
    model.invoke(QUESTION)
    assert set(ear.heard) == {HARMLESS_TEXT}
    assert [name for name, _ in ear.events] == ["guardrail"]


def test_listeners_of_an_agents_model_do_not_hear_variants(guard):
    ear = Ear()
    agent = middleware(Streaming(callbacks=[ear], harmful_rate=0.5), guard)
    agent.invoke(GIVEN)
    assert ear.heard == []
