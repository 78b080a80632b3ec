"""Through the real library, its OpenAI provider and real sockets."""

import asyncio
import io
import logging
import os
import sys
import traceback

import numpy as np
import pytest
from PIL import Image

from guardrail.errors import ConfigError, RequestError, UpstreamError
from guardrail.trace_context import read_trace, use_trace
from guardrail.types import Usage
from guardrail.upstreams.base import Upstream
from guardrail.upstreams.litellm_sdk import LiteLLM
from guardrail.upstreams.scripted import Fault, State, Step
from guardrail.upstreams.scripted_server import scripted_server
from tests.virtual_time import run_skipping, skip

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
litellm = pytest.importorskip("litellm")

# litellm and the libraries it loads warn of their own affairs, leave cached connections to the
# end of the process, and start a logging worker for each event loop.
pytestmark = pytest.mark.filterwarnings("ignore")

MODEL = "openai/gpt-4o-mini"
KEY = "sk-very-secret-0123456789"


def talk(script, talking, **options):
    async def run():
        options.setdefault("timeout_s", 20.0)
        async with scripted_server(script) as server:
            upstream = LiteLLM(MODEL, api_key=KEY, api_base=server.base_url, **options)
            try:
                return await talking(upstream, server)
            finally:
                await upstream.aclose()

    return run_skipping(run())


def fault_of(step, chat, **options):
    async def talking(upstream, server):
        with pytest.raises(UpstreamError) as caught:
            await upstream.complete(chat, [], seed=1)
        return caught.value, server

    return talk([step], talking, **options)


def answer_to(step, chat):
    async def talking(upstream, server):
        return await upstream.complete(chat, [], seed=1)

    return talk([step], talking)


def test_an_answer_and_its_request(make_chat, make_picture):
    chat = make_chat(2, temperature=0.5, unknown_field={"deep": [1]}, stream=True, n=1)
    pictures = [make_picture(seed=1), make_picture(40, 30, seed=2)]

    async def talking(upstream, server):
        assert isinstance(upstream, Upstream)
        return await upstream.complete(chat, pictures, seed=9), server.calls

    answer, (call,) = talk(["A cat."], talking)
    assert answer.message == {"role": "assistant", "content": "A cat."}
    assert (answer.model, answer.finish_reason) == ("scripted", "stop")
    assert answer.usage == Usage(7, 5, 1)
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.body["model"] == "gpt-4o-mini"
    assert call.body["temperature"] == 0.5
    assert call.body["unknown_field"] == {"deep": [1]}
    assert not call.body.get("stream")
    for encoded, picture in zip(call.pictures, pictures, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), picture)


@pytest.mark.parametrize(
    "name", ["mock_response", "api_base", "base_url", "fallbacks", "api_key", "custom_llm_provider"]
)
def test_a_client_cannot_reach_litellms_own_options(make_chat, name):
    """By name, they would send the key elsewhere or make up a harmless answer."""

    async def talking(upstream, server):
        answer = await upstream.complete(make_chat(0, **{name: "http://elsewhere"}), [], seed=1)
        return answer.text, server.calls

    text, (call,) = talk(["from the model"], talking)
    assert text == "from the model"
    assert call.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("states", [[], ["vendor=1"]])
def test_the_trace_of_the_request_is_sent_on(make_chat, states, streamed):
    trace = read_trace([f"00-{'ab' * 16}-{'cd' * 8}-01"], states)
    headers = {"traceparent": "00-evil", "tracestate": "evil=1"}

    async def never(_message, _chars):
        return False

    async def talking(upstream, server):
        chat = make_chat(0, extra_headers=headers)  # a client's field, and no header
        for current in (trace, None):
            with use_trace(current):
                if streamed:
                    await upstream.complete_watched(chat, [], seed=1, watch=never)
                else:
                    await upstream.complete(chat, [], seed=1)
        return server.calls

    sent = [
        {name: call.headers[name] for name in ("traceparent", "tracestate") if name in call.headers}
        for call in talk(["a", "b"], talking)
    ]
    assert sent == [trace.headers(), {}]


def test_extra_body_is_refused(make_chat):
    with pytest.raises(RequestError) as caught:
        answer_to("x", make_chat(0, extra_body={"model": "other"}))
    assert caught.value.param == "extra_body"


def test_tool_calls_are_kept(make_chat):
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    answer = answer_to(
        Step(message={"content": None, "tool_calls": calls}), make_chat(0, tools=tools)
    )
    assert answer.message["content"] is None
    assert answer.message["tool_calls"] == calls
    assert answer.finish_reason == "tool_calls"


def test_tools_are_sent_as_they_are_and_run_by_nobody(make_chat):
    tools = [{"type": "mcp", "server_url": "litellm_proxy", "require_approval": "never"}]

    async def talking(upstream, server):
        await upstream.complete(make_chat(0, tools=tools), [], seed=1)
        return server.calls[0].body

    body = talk(["x"], talking)
    assert body["tools"] == tools
    assert not any("mcp" in name for name in body)


def test_a_refusal_is_an_answer(make_chat):
    answer = answer_to(Step(message={"content": None, "refusal": "I can't."}), make_chat(0))
    assert answer.message == {"role": "assistant", "content": None, "refusal": "I can't."}


def test_an_answer_that_the_provider_filtered_is_an_answer(make_chat):
    step = Step(message={"content": None}, finish_reason="content_filter")
    assert answer_to(step, make_chat(0)).finish_reason == "content_filter"


@pytest.mark.parametrize(
    ("status", "transient"),
    [
        (400, False),
        (401, False),
        (403, False),
        (404, False),
        (413, False),
        (422, False),
        (408, True),
        (409, True),
        (429, True),
        (500, True),
        (502, True),
        (503, True),
        (504, True),
    ],
)
def test_statuses_mean_what_they_mean_everywhere(make_chat, status, transient):
    step = Step(fault=Fault.STATUS, status=status, retry_after="1.5")
    error, server = fault_of(step, make_chat(0))
    assert (error.upstream_status or error.status, error.transient) == (status, transient)
    assert error.retry_after_s == (1.5 if transient else None)
    assert len(server.calls) == 1  # litellm's own retries are off


@pytest.mark.parametrize(
    "fault",
    [
        Fault.CRASH,
        Fault.RESET,
        Fault.GARBAGE,
        Fault.GARBAGE_HTTP,
        Fault.HALF_BODY,
        Fault.HALF_ANSWER,
        Fault.HTML,
        Fault.NO_CHOICE,
        Fault.EMPTY,
    ],
)
def test_broken_answers_are_bad_gateways(make_chat, fault):
    error, server = fault_of(Step(fault=fault), make_chat(0))
    assert (error.status, error.transient) == (502, True)
    assert len(server.calls) == 1


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP])
def test_waiting_ends(make_chat, fault):
    """DRIP as well, which litellm's own timeout lets go on for ever."""

    async def talking(upstream, server):
        call = asyncio.create_task(upstream.complete(make_chat(0), [], seed=1))
        while not server.log.in_flight:  # noqa: ASYNC110 (a record has no event)
            await asyncio.sleep(0.005)
        skip(60.0)
        with pytest.raises(UpstreamError) as caught:
            await call
        while server.log.in_flight:  # noqa: ASYNC110 (a record has no event)
            await asyncio.sleep(0.005)
        return caught.value, server.calls[0].state

    error, state = talk([Step(fault=fault)], talking, timeout_s=60.0)
    assert (error.status, error.transient) == (504, True)
    assert state is State.CANCELLED


def test_cancelling_closes_the_connection(make_chat):
    async def talking(upstream, server):
        call = asyncio.create_task(upstream.complete(make_chat(0), [], seed=1))
        async with asyncio.timeout(20):
            while not server.log.in_flight:  # noqa: ASYNC110 (a record has no event)
                await asyncio.sleep(0.01)
            call.cancel()
            while server.log.in_flight:  # noqa: ASYNC110 (a record has no event)
                await asyncio.sleep(0.01)
        with pytest.raises(asyncio.CancelledError):
            await call
        return server.calls[0].state

    assert talk([Step(fault=Fault.HANG)], talking) is State.CANCELLED


def test_nobody_listens(make_chat):
    async def run():
        async with scripted_server(["x"]) as server:
            free = server.base_url
        await LiteLLM(MODEL, api_key=KEY, api_base=free).complete(make_chat(0), [], seed=1)

    with pytest.raises(UpstreamError) as caught:
        asyncio.run(run())
    assert (caught.value.status, caught.value.transient) == (502, True)


def test_a_model_without_a_provider_is_the_operators_mistake(make_chat):
    with pytest.raises(UpstreamError) as caught:
        asyncio.run(LiteLLM("nonsense", api_key=KEY).complete(make_chat(0), [], seed=1))
    assert (caught.value.status, caught.value.transient) == (400, False)


def raised(name, **arguments):
    kind = getattr(litellm.exceptions, name)
    return kind(message="words of the client", model="m", llm_provider="p", **arguments)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ContextWindowExceededError", (400, False, "context_length_exceeded")),
        ("ContentPolicyViolationError", (400, False, "content_policy_violation")),
        ("UnsupportedParamsError", (400, False, "unsupported_parameter")),
        ("BadRequestError", (400, False, None)),
        ("AuthenticationError", (502, False, "upstream_auth")),
        ("NotFoundError", (404, False, None)),
        ("RateLimitError", (429, True, None)),
        ("ServiceUnavailableError", (503, True, None)),
        ("Timeout", (504, True, "upstream_timeout")),
        ("APIConnectionError", (502, True, "upstream_connection")),
        ("InternalServerError", (502, True, "upstream_connection")),
    ],
)
def test_what_litellm_raises_by_itself(make_chat, monkeypatch, name, expected):
    async def fail(**_):
        raise raised(name)

    monkeypatch.setattr(litellm, "acompletion", fail)
    with pytest.raises(UpstreamError) as caught:
        asyncio.run(LiteLLM(MODEL).complete(make_chat(0), [], seed=1))
    error = caught.value
    assert (error.status, error.transient, error.code) == expected
    assert "words of the client" not in str(error)
    assert error.__context__ is None


@pytest.mark.parametrize("unforeseen", [ValueError, KeyError, AttributeError])
def test_what_a_provider_adapter_trips_over_is_an_error(make_chat, monkeypatch, unforeseen):
    async def fail(**_):
        raise unforeseen("words of the client")

    monkeypatch.setattr(litellm, "acompletion", fail)
    with pytest.raises(UpstreamError, match=unforeseen.__name__) as caught:
        asyncio.run(LiteLLM(MODEL).complete(make_chat(0), [], seed=1))
    assert not caught.value.transient
    assert "words of the client" not in str(caught.value)


@pytest.mark.parametrize("fault", [Fault.STATUS, Fault.HANG, Fault.GARBAGE, Fault.HALF_BODY])
def test_no_error_shows_a_key_or_the_request(make_chat, caplog, fault):
    caplog.set_level(logging.INFO)
    text = "words of the client that nobody else may read"
    error, _ = fault_of(Step(text, fault=fault, status=401), make_chat(0, text), timeout_s=0.5)
    told = "".join(traceback.format_exception(error)) + repr(vars(error)) + caplog.text
    assert KEY not in told
    assert text not in told


def test_names_hold_no_key():
    upstream = LiteLLM(MODEL, api_key=KEY, variant_format="jpeg", jpeg_quality=70)
    assert (upstream.name, upstream.revision) == (f"litellm:{MODEL}", f"{MODEL} jpeg q70")
    assert KEY not in f"{upstream!r} {upstream.name} {upstream.revision}"
    assert asyncio.run(upstream.models()) == [MODEL]


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (" ", {}),
        (MODEL, {"timeout_s": 0}),
        (MODEL, {"max_connections": 0}),
        (MODEL, {"variant_format": "gif"}),
    ],
)
def test_wrong_options_are_refused(model, options):
    with pytest.raises(ConfigError):
        LiteLLM(model, **options)


def test_without_litellm_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(ConfigError, match=r"pip install 'certified-guardrail\[litellm\]'"):
        LiteLLM(MODEL)


def test_the_price_list_is_not_fetched_unless_asked_for(monkeypatch):
    monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP")
    LiteLLM(MODEL)
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "False")
    LiteLLM(MODEL)
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "False"
