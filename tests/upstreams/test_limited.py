"""An upstream behind its gate, against a real server on a loopback port."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from guardrail.errors import RequestError, UpstreamError
from guardrail.types import Chat
from guardrail.upstreams.base import Upstream
from guardrail.upstreams.limited import LimitedUpstream, permit, streams
from guardrail.upstreams.limits.breaker import BreakerState
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.limits.unsent import UNAVAILABLE
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, Scripted, State, Step
from guardrail.upstreams.scripted_server import scripted_server

CHAT = Chat("m", ({"role": "user", "content": "Hello"},))
EAGER = {"breaker_faults": 2, "breaker_after_s": 0.0}


@asynccontextmanager
async def governed(script, *, clock=None, **limits):
    """(the upstream, the server behind it)."""
    async with scripted_server(script, model="fake") as server:
        upstream = LimitedUpstream(
            OpenAICompatible(server.base_url), CallLimits(**limits), clock=clock
        )
        try:
            yield upstream, server
        finally:
            await upstream.aclose()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (a record has no event)
            await asyncio.sleep(0.001)


def ask(upstream, chat=CHAT):
    return asyncio.create_task(upstream.complete(chat, (), seed=0))


async def fault_of(upstream):
    with pytest.raises(UpstreamError) as raised:
        await upstream.complete(CHAT, (), seed=0)
    return raised.value


def test_it_is_the_upstream_that_it_governs():
    async def scene():
        async with governed(["hello"]) as (upstream, server):
            assert isinstance(upstream, Upstream)
            assert upstream.name == f"openai_compatible:{server.base_url}"
            assert upstream.revision == upstream.upstream.revision
            assert server.base_url in repr(upstream)
            assert await upstream.models() == ["fake"]
            answer = await upstream.complete(CHAT, (), seed=0)
        return answer, await fault_of(upstream)

    answer, fault = asyncio.run(scene())
    assert answer.text == "hello"
    assert "closed" in str(fault)


def test_the_server_never_sees_more_than_the_limit():
    async def scene():
        gate = asyncio.Event()
        async with governed([Step("a", gate=gate)], max_concurrency=3) as (upstream, server):
            calls = [ask(upstream) for _ in range(20)]
            await until(lambda: server.log.in_flight == 3)
            gate.set()
            await asyncio.gather(*calls)
            return server.log

    log = asyncio.run(scene())
    assert len(log.calls) == 20
    assert log.peak_in_flight == 3


def test_one_429_stops_all_calls_until_the_provider_takes_them_again(clock):
    script = [Step(fault=Fault.STATUS, status=429, retry_after="7"), "a"]

    async def scene():
        async with governed(script, clock=clock, max_concurrency=1) as (upstream, server):
            first, *others = [ask(upstream) for _ in range(6)]
            with pytest.raises(UpstreamError) as raised:
                await first
            assert raised.value.status == 429
            clock.advance(6.9)
            await asyncio.sleep(0)
            assert len(server.calls) == 1
            assert upstream.limiter.in_flight == 0
            assert not any(task.done() for task in others)
            clock.advance(0.2)
            answers = await asyncio.gather(*others)
            return len(server.calls), {answer.text for answer in answers}, upstream.limiter.state

    assert asyncio.run(scene()) == (6, {"a"}, BreakerState.CLOSED)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_that_fails_is_left_alone(status, clock):
    async def scene():
        script = [Step(fault=Fault.STATUS, status=status)]
        async with governed(script, clock=clock, **EAGER) as (upstream, server):
            assert [(await fault_of(upstream)).status for _ in range(2)] == [status] * 2
            fault = await fault_of(upstream)
            assert (fault.code, fault.status) == (UNAVAILABLE, 503)
            assert len(server.calls) == 2
            server.log.script = ["well again"]
            clock.advance(10.0)
            assert (await upstream.complete(CHAT, (), seed=0)).text == "well again"
            return upstream.limiter.state

    assert asyncio.run(scene()) is BreakerState.CLOSED


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.CRASH, Fault.GARBAGE, Fault.HALF_BODY])
def test_so_is_one_that_breaks_off(fault):
    async def scene():
        async with governed([Step(fault=fault)], **EAGER) as (upstream, _):
            for _ in range(2):
                await fault_of(upstream)
            return upstream.limiter.state

    assert asyncio.run(scene()) is BreakerState.OPEN


def test_a_model_that_says_nothing_lives():
    """Else one request could take the model away from all others."""

    async def scene():
        async with governed([Step(fault=Fault.EMPTY)], **EAGER) as (upstream, _):
            codes = {(await fault_of(upstream)).code for _ in range(5)}
            return codes, upstream.limiter.state

    assert asyncio.run(scene()) == ({"upstream_empty_answer"}, BreakerState.CLOSED)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 422, 429])
def test_refusals_never_open_the_breaker(status):
    """Whosever fault they are: a server that refuses lives."""

    async def scene():
        script = [Step(fault=Fault.STATUS, status=status)]
        async with governed(script, **EAGER) as (upstream, _):
            faults = [await fault_of(upstream) for _ in range(5)]
            return {
                fault.upstream_status or fault.status for fault in faults
            }, upstream.limiter.state

    assert asyncio.run(scene()) == ({status}, BreakerState.CLOSED)


def test_neither_do_requests_that_are_not_sent():
    async def scene():
        async with governed(["a"], **EAGER) as (upstream, server):
            for _ in range(5):
                with pytest.raises(RequestError):
                    await upstream.complete(Chat("m", CHAT.messages, {"n": 2}), (), seed=0)
            return len(server.calls), upstream.limiter.state

    assert asyncio.run(scene()) == (0, BreakerState.CLOSED)


def test_nor_a_redirect_that_no_retry_mends():
    async def scene():
        async with governed([Step(fault=Fault.REDIRECT)], **EAGER) as (upstream, _):
            for _ in range(5):
                await fault_of(upstream)
            return upstream.limiter.state

    assert asyncio.run(scene()) is BreakerState.CLOSED


def test_nor_calls_that_are_given_up():
    async def scene():
        async with governed([Step(fault=Fault.HANG)], **EAGER) as (upstream, server):
            tasks = [ask(upstream) for _ in range(5)]
            await until(lambda: server.log.in_flight == 5)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await until(lambda: server.log.in_flight == 0)
            gate = upstream.limiter
            return server.log.count(State.CANCELLED), gate.state, gate.in_flight

    assert asyncio.run(scene()) == (5, BreakerState.CLOSED, 0)


def test_an_unforeseen_crash_counts_as_a_fault():
    async def scene():
        upstream = LimitedUpstream(Scripted([Step(fault=Fault.CRASH)]), CallLimits(**EAGER))
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await upstream.complete(CHAT, (), seed=0)
        return upstream.limiter.state

    assert asyncio.run(scene()) is BreakerState.OPEN


def test_what_goes_wrong_with_an_answer_that_came_is_not_the_upstreams_fault():
    async def empty(upstream):
        async with permit(upstream, "decision", "m") as way:
            await way.complete(CHAT, (), seed=0)
            raise UpstreamError("the model's answer is empty", transient=True)

    async def scene():
        upstream = LimitedUpstream(Scripted(["a"]), CallLimits(**EAGER))
        for _ in range(5):
            with pytest.raises(UpstreamError):
                await empty(upstream)
        return upstream.limiter.state

    assert asyncio.run(scene()) is BreakerState.CLOSED


def test_a_turn_that_is_not_used_says_nothing():
    async def scene():
        upstream = LimitedUpstream(Scripted(["a"]), CallLimits(**EAGER))
        async with permit(upstream, "decision", "m"):
            assert upstream.limiter.in_flight == 1
        return upstream.limiter.in_flight, upstream.limiter.state

    assert asyncio.run(scene()) == (0, BreakerState.CLOSED)


def test_tokens_are_those_that_the_provider_tells(clock):
    """Twelve a call by the script; twelve a second are let through after the first ten seconds'."""

    async def scene():
        limits = {"tokens_per_minute": 12 * 60.0, "max_concurrency": 1000}
        async with governed(["a"], clock=clock, **limits) as (upstream, server):
            tasks = [ask(upstream) for _ in range(13)]
            await until(lambda: len(server.calls) == 10)
            await asyncio.sleep(0.01)
            assert len(server.calls) == 10
            clock.advance(1.01)
            await until(lambda: len(server.calls) == 11)
            clock.advance(2.0)
            return len(await asyncio.gather(*tasks))

    assert asyncio.run(scene()) == 13


def test_an_ungoverned_upstream_is_always_free():
    async def scene():
        bare = Scripted(["bare"])
        async with permit(bare, object(), "m", 3) as way:
            return (await way.complete(CHAT, (), seed=5)).text, bare.calls[0].seed

    assert asyncio.run(scene()) == ("bare", 5)


def test_what_stops_a_call_before_it_is_sent_is_no_fault():
    async def stopped(upstream):
        async with permit(upstream, "decision", "m"):
            raise RuntimeError("the decision may make no further call")

    async def scene():
        upstream = LimitedUpstream(Scripted(["a"]), CallLimits(**EAGER))
        for _ in range(5):
            with pytest.raises(RuntimeError):
                await stopped(upstream)
        return upstream.limiter.in_flight, upstream.limiter.state

    assert asyncio.run(scene()) == (0, BreakerState.CLOSED)


class Unwatched(Upstream):
    """Answers, and cannot be watched."""

    name = revision = "unwatched"


def test_it_streams_if_the_upstream_behind_it_does():
    limits = CallLimits()
    assert streams(OpenAICompatible("http://127.0.0.1:9/v1"))
    assert streams(LimitedUpstream(OpenAICompatible("http://127.0.0.1:9/v1"), limits))
    assert not streams(Unwatched())
    assert not streams(LimitedUpstream(Unwatched(), limits))


def test_a_watched_answer_that_is_broken_off_is_an_answer():
    async def scene():
        seen = []

        async def watch(_message, chars):
            seen.append(chars)
            return True

        script = [Step("a long answer", word_pause_s=0.05)]  # else it comes in one piece
        async with governed(script, **EAGER) as (upstream, server):
            async with permit(upstream, "decision", "m") as way:
                await way.complete(CHAT, (), seed=0, watch=watch)
            return seen, server.calls[0].body.get("stream"), upstream.limiter.state

    seen, streamed, state = asyncio.run(scene())
    assert len(seen) == 1
    assert streamed is True
    assert state is BreakerState.CLOSED
