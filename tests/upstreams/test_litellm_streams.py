"""Answers watched through the real library: whole, broken off, faulty."""

import asyncio

import pytest

from guardrail.errors import UpstreamError
from guardrail.upstreams.base import StreamingUpstream
from guardrail.upstreams.litellm_sdk import LiteLLM
from guardrail.upstreams.scripted import Fault, State, Step
from guardrail.upstreams.scripted_server import scripted_server
from tests.virtual_time import run_skipping, skip

pytest.importorskip("litellm")

# As in `test_litellm_sdk`: litellm and the libraries it loads warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

KEY = "sk-very-secret-0123456789"
TEXT = "One two three four five six seven eight nine ten."
CALLS = [
    {"id": str(i), "type": "function", "function": {"name": f"f{i}", "arguments": '{"a": 1}'}}
    for i in range(2)
]


def talk(step, talking, **options):
    """What `talking(upstream)` returns or raises, and the log once the server has noticed it."""

    async def run():
        async with scripted_server([step]) as server:
            upstream = LiteLLM("openai/m", api_key=KEY, api_base=server.base_url, **options)
            try:
                result = await talking(upstream)
            except (UpstreamError, ZeroDivisionError, TimeoutError) as error:
                result = error
            async with asyncio.timeout(20):
                while server.log.in_flight:  # noqa: ASYNC110 (the server tells nobody)
                    await asyncio.sleep(0.005)
            return result, server.log

    return run_skipping(run())


def watched(step, chat, pictures=(), *, until=10_000, **options):
    """(answer, log, lengths that the watch was told)."""
    seen = []

    async def watch(_message, chars):
        seen.append(chars)
        return chars >= until

    def talking(upstream):
        assert isinstance(upstream, StreamingUpstream)
        return upstream.complete_watched(chat, pictures, seed=1, watch=watch)

    return *talk(step, talking, **options), seen


def test_the_whole_answer_to_a_picture(make_chat, make_picture):
    step = Step(TEXT, word_pause_s=0.005)
    answer, log, seen = watched(step, make_chat(), [make_picture()])
    assert answer.text == TEXT
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("stop", 5)
    (call,) = log.calls
    assert len(call.pictures) == 1
    assert call.body["stream_options"] == {"include_usage": True}
    assert len(seen) > 5
    assert seen == sorted(seen)


def test_broken_off_the_provider_stops(make_chat):
    answer, log, seen = watched(Step(TEXT * 200, word_pause_s=0.002), make_chat(0), until=20)
    assert 20 <= len(answer.text) == seen[-1] < 400
    assert answer.finish_reason == "length"
    assert (answer.usage.calls, answer.usage.prompt_tokens) == (1, 0)
    assert log.count(State.CANCELLED) == 1


@pytest.mark.parametrize(
    "step",
    [
        Step(TEXT),
        Step(message={"content": None, "tool_calls": CALLS}, finish_reason="tool_calls"),
        Step(message={"content": "Calling.", "tool_calls": CALLS}, finish_reason="tool_calls"),
        Step(message={"content": None, "refusal": "I cannot help with that."}),
        Step(message={"content": "A cat.", "reasoning_content": "It has whiskers."}),
        Step(TEXT, finish_reason="content_filter"),
    ],
)
def test_an_answer_is_the_same_streamed_and_whole(make_chat, step):
    streamed, _, _ = watched(step, make_chat(0))
    whole, _ = talk(step, lambda upstream: upstream.complete(make_chat(0), [], seed=1))
    assert streamed.message == whole.message
    assert streamed.finish_reason == whole.finish_reason
    assert streamed.usage == whole.usage


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_is_an_upstream_error(fault, make_chat):
    error, _, _ = watched(Step(TEXT, fault=fault, status=500), make_chat(0), timeout_s=0.5)
    assert isinstance(error, UpstreamError)
    assert KEY not in str(error)
    assert TEXT not in str(error)


def test_a_stream_without_its_end_is_no_answer(make_chat):
    error, _, seen = watched(Step(TEXT, fault=Fault.HALF_ANSWER), make_chat(0))
    assert isinstance(error, UpstreamError)
    assert error.transient
    assert "no end" in str(error)
    assert seen  # what came was watched, and is nevertheless thrown away


def test_a_stream_that_takes_too_long_is_given_up(make_chat):
    async def watch(_message, _chars):
        skip(60.0)
        return False

    def talking(upstream):
        return upstream.complete_watched(make_chat(0), [], seed=1, watch=watch)

    error, log = talk(Step(TEXT * 9, word_pause_s=0.1), talking, timeout_s=60.0)
    assert isinstance(error, UpstreamError)
    assert error.status == 504
    assert log.count(State.CANCELLED) == 1


def test_what_the_watch_raises_goes_through(make_chat):
    async def watch(_message, _chars):
        raise ZeroDivisionError

    def talking(upstream):
        return upstream.complete_watched(make_chat(0), [], seed=1, watch=watch)

    error, log = talk(Step(TEXT * 9, word_pause_s=0.05), talking)
    assert isinstance(error, ZeroDivisionError)
    assert log.count(State.CANCELLED) == 1


def test_a_call_that_is_given_up_ends_the_stream(make_chat):
    async def watch(_message, _chars):
        skip(60.0)
        return False

    async def talking(upstream):
        async with asyncio.timeout(60.0):
            await upstream.complete_watched(make_chat(0), [], seed=1, watch=watch)

    error, log = talk(Step(TEXT * 9, word_pause_s=0.1), talking)
    assert isinstance(error, TimeoutError)
    assert log.count(State.CANCELLED) == 1
