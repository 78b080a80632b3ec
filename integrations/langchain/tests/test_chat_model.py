"""A guarded chat model wherever LangChain takes a chat model."""

import asyncio
from contextvars import ContextVar

import pytest
from guardrail_langchain import GuardedChatModel, with_guardrail
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from pydantic import BaseModel
from talkative import QUESTION, Ear, Streaming, Talkative

from guardrail import ConfigError, ContentBlocked, Guard, RequestError
from guardrail.testing.scenarios import HARMFUL_TEXT, HARMLESS_TEXT, picture_url
from guardrail.testing.setting import KEY, scenario_policy

REFUSAL = "This request was blocked: its answer could not be shown to be harmless."
PASSING, FAILING = 0.02, 0.5


def refused(answer):
    return answer.content == REFUSAL and answer.additional_kwargs == {"refusal": REFUSAL}


def passing(guard, **fields):
    return with_guardrail(Talkative(harmful_rate=PASSING, **fields), guard)


def failing(guard, **options):
    return with_guardrail(Talkative(harmful_rate=FAILING), guard, **options)


# Blocks


def test_a_block_is_a_refusal_unless_it_is_to_be_raised(guard):
    answer = failing(guard).invoke(QUESTION)
    assert refused(answer)
    assert answer.response_metadata["finish_reason"] == "content_filter"
    assert answer.response_metadata["guardrail"]["decision"] == "block"
    with pytest.raises(ContentBlocked) as caught:
        failing(guard, on_block="raise").invoke(QUESTION)
    assert caught.value.certificate.samples > 0


@pytest.mark.parametrize("style", ["message", "error"])
def test_the_policy_chooses_the_style_of_a_refusal(style):
    policy = scenario_policy()
    block = policy.block.model_copy(update={"style": style})
    with Guard(policy.model_copy(update={"block": block}), key=KEY) as guard:
        if style == "message":
            assert failing(guard).invoke(QUESTION).text == REFUSAL
        else:
            with pytest.raises(ContentBlocked, match=REFUSAL):
                failing(guard).invoke(QUESTION)


def test_no_fallback_and_no_retry_is_asked_after_a_refusal(guard, journal):
    other = Talkative(harmful_rate=1.0)
    careful = failing(guard).with_retry(stop_after_attempt=3).with_fallbacks([other])
    assert refused(careful.invoke(QUESTION))
    assert other.seen == []
    assert len(journal.records) == 1


def test_a_raised_block_can_be_met_with_a_fallback(guard):
    kind = failing(guard, on_block="raise")
    safe = kind.with_fallbacks(
        [RunnableLambda(lambda _: AIMessage("Sorry."))], exceptions_to_handle=(ContentBlocked,)
    )
    assert safe.invoke(QUESTION).content == "Sorry."


# Chains


def test_in_a_chain(guard):
    prompt = ChatPromptTemplate(
        [
            (
                "user",
                [
                    {"type": "text", "text": "{ask}"},
                    {"type": "image_url", "image_url": "{picture}"},
                ],
            )
        ]
    )
    chain = prompt | passing(guard) | StrOutputParser()
    given = {"ask": "What?", "picture": picture_url()}
    assert chain.invoke(given) == HARMLESS_TEXT
    assert asyncio.run(chain.ainvoke(given)) == HARMLESS_TEXT
    assert "".join(chain.stream(given)) == HARMLESS_TEXT


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_batch_is_decided_one_by_one(guard, journal, is_async):
    asked = [
        [HumanMessage([{"type": "image_url", "image_url": {"url": picture_url(seed)}}])]
        for seed in range(4)
    ]
    model = with_guardrail(Talkative(harmful_rate=0.0), guard)  # in whichever order they are made
    answers = asyncio.run(model.abatch(asked)) if is_async else model.batch(asked)
    assert [answer.content for answer in answers] == [HARMLESS_TEXT] * 4
    assert len({record.request_digest for record in journal.records}) == 4


def test_options_reach_the_model_and_the_guards_digest(guard, journal):
    model = passing(guard)
    model.invoke(QUESTION, stop=["."], temperature=0.5)
    model.bind(temperature=0.7).invoke(QUESTION)
    options = [given for _, given in model.inner.seen]
    assert options[0] == {"stop": ["."], "temperature": 0.5}
    assert options[-1] == {"temperature": 0.7}
    assert len({record.request_digest for record in journal.records}) == 2


@pytest.mark.parametrize(
    "options", [{"timeout": object()}, {"extra_headers": {"a": "b"}}, {"n": 2}], ids=list
)
def test_options_that_the_guard_cannot_read_are_refused(guard, options):
    model = passing(guard)
    with pytest.raises(RequestError):
        model.invoke(QUESTION, **options)
    assert model.inner.seen == []


def test_a_model_with_options_bound_stays_so(guard):
    bound = Talkative(harmful_rate=PASSING).bind(temperature=0.5)
    model = with_guardrail(bound, guard)
    assert model.invoke(QUESTION).content == HARMLESS_TEXT
    assert model.bound.inner.seen[0][1] == {"temperature": 0.5}


@pytest.mark.parametrize("thing", [FakeListLLM(responses=["a"]), RunnableLambda(str), "gpt"])
def test_only_chat_models_are_taken(guard, thing):
    with pytest.raises(ConfigError, match="only chat models"):
        with_guardrail(thing, guard)


def test_no_answer_comes_from_a_cache(guard, journal):
    cache = InMemoryCache()
    set_llm_cache(cache)
    try:
        for _ in range(2):
            passing(guard).invoke(QUESTION)
    finally:
        set_llm_cache(None)
    assert len(journal.records) == 2
    assert not cache._cache


# Tools


@tool
def describe(what: str) -> str:
    """Files a description."""
    return what


CALL = {"name": "describe", "args": {"what": "squares"}, "id": "call_1", "type": "tool_call"}


class Description(BaseModel):
    """A description."""

    what: str


def test_tools_are_bound_as_the_model_binds_them(guard):
    said = AIMessage("", tool_calls=[CALL])
    model = with_guardrail(Offering(answer=said), guard).bind_tools([describe], tool_choice="any")
    assert model.invoke(QUESTION).tool_calls == [CALL]
    (_, options), *_ = model.bound.inner.seen
    assert options["tools"][0]["function"]["name"] == "describe"
    assert options["tool_choice"] == "required"


class Offering(Talkative):
    """Binds tools as OpenAI's models do."""

    def bind_tools(self, tools, *, tool_choice=None, **_):
        from langchain_core.utils.function_calling import convert_to_openai_tool

        made = [convert_to_openai_tool(given) for given in tools]
        choice = {"any": "required"}.get(tool_choice, tool_choice)
        return self.bind(tools=made, **({"tool_choice": choice} if choice else {}))


def test_a_model_that_binds_tools_otherwise_is_refused(guard):
    class Odd(Talkative):
        def bind_tools(self, *_, **__):
            return self

    with pytest.raises(ConfigError, match="use the middleware"):
        with_guardrail(Odd(), guard).bind_tools([describe])


def structured(rate, **fields):
    call = {**CALL, "name": "Description"}
    return (
        Offering(harmful_rate=rate, **fields)
        if rate
        else Offering(answer=AIMessage("", tool_calls=[call]))
    )


def test_structured_output_is_parsed_from_the_delivered_answer(guard):
    model = with_guardrail(structured(0), guard).with_structured_output(Description)
    assert model.invoke(QUESTION) == Description(what="squares")
    assert asyncio.run(model.ainvoke(QUESTION)) == Description(what="squares")


def test_a_block_where_a_tool_must_be_called_is_raised(guard):
    model = with_guardrail(structured(FAILING), guard)
    with pytest.raises(ContentBlocked):
        model.with_structured_output(Description).invoke(QUESTION)
    with pytest.raises(ContentBlocked):
        model.bind_tools([describe], tool_choice="describe").invoke(QUESTION)
    assert refused(model.bind_tools([describe]).invoke(QUESTION))
    assert refused(model.bind_tools([describe], tool_choice="auto").invoke(QUESTION))


def test_an_agent_that_waits_for_structured_output_does_not_ask_for_ever(guard, journal):
    agent = create_agent(
        with_guardrail(structured(1.0), guard), response_format=ToolStrategy(Description)
    )
    with pytest.raises(ContentBlocked):
        agent.invoke({"messages": QUESTION})
    assert len(journal.records) == 1


# What those who watch are told


class Kept(BaseTracer):
    """Keeps runs as LangSmith's tracer posts them."""

    def __init__(self):
        super().__init__()
        self.runs = []

    def _persist_run(self, run):
        self.runs.append(run)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("rate", [PASSING, FAILING])
def test_the_run_carries_the_certificate(guard, rate, is_async):
    model, ear = with_guardrail(Streaming(harmful_rate=rate), guard), Ear()
    tracer = Kept()
    config = {"callbacks": [ear, tracer]}
    answer = (
        asyncio.run(model.ainvoke(QUESTION, config)) if is_async else model.invoke(QUESTION, config)
    )
    (run,) = tracer.runs
    about = answer.response_metadata["guardrail"]
    assert run.extra["metadata"]["guardrail"] == about
    assert ear.events == [("guardrail", about)]
    assert HARMFUL_TEXT not in str(run.outputs)
    assert type(about["decision"]) is str
    if rate == PASSING:
        assert about["certificate"]["upstream"] == "langchain:Streaming"
    else:
        assert "certificate" not in about  # a block shows none unless `block.details` says so


def test_a_raised_block_is_told_before_it_is_raised(guard):
    ear = Ear()
    with pytest.raises(ContentBlocked):
        failing(guard, on_block="raise").invoke(QUESTION, {"callbacks": [ear]})
    ((name, about),) = ear.events
    assert (name, about["decision"]) == ("guardrail", "block")
    assert [type(error) for error in ear.errors] == [ContentBlocked]


# Cancellation, time and context


TENANT = ContextVar("TENANT", default="nobody")


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_the_model_is_asked_in_the_callers_context(guard, is_async):
    tenants = set()

    class Tenanted(Talkative):
        def _message(self, messages, options):
            tenants.add(TENANT.get())
            return super()._message(messages, options)

    model = with_guardrail(Tenanted(harmful_rate=0.0), guard)
    token = TENANT.set("somebody")
    try:
        asyncio.run(model.ainvoke(QUESTION)) if is_async else model.invoke(QUESTION)
    finally:
        TENANT.reset(token)
    assert tenants == {"somebody"}


class Waiting(Talkative):
    """Never answers, and says when it is no longer waited for."""

    async def _agenerate(self, messages, stop=None, run_manager=None, **options):  # noqa: ARG002
        self.seen.append("asked")
        try:
            await asyncio.Event().wait()
        finally:
            self.seen.append("left")


def left(model):
    return model.inner.seen.count("asked") == model.inner.seen.count("left") > 0


def test_cancellation_reaches_the_model(guard):
    async def cancelled():
        model = with_guardrail(Waiting(), guard)
        task = asyncio.create_task(model.ainvoke(QUESTION))
        while not model.inner.seen:  # noqa: ASYNC110 (the model is asked on a loop of LangChain's choice)
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return left(model)

    assert asyncio.run(cancelled())


def test_a_timeout_of_the_caller_holds(guard):
    async def late():
        model = with_guardrail(Waiting(), guard)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await model.ainvoke(QUESTION)
        return left(model)

    assert asyncio.run(late())


def test_asked_without_a_run_it_answers_as_well(guard):
    model = passing(guard)
    assert isinstance(model, GuardedChatModel)
    result = model._generate([HumanMessage("What?")])
    assert result.generations[0].message.content
