"""Pauses and open breakers of upstreams that one process meets: heeded by all, and once."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from guardrail.errors import UpstreamError
from guardrail.sharing.upstream_stops import SharedStops
from guardrail.upstreams.limits.breaker import BreakerState
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.limits.calls import CallEnd
from guardrail.upstreams.limits.limiter import Limiter
from guardrail.upstreams.limits.stops import Stop, StopKind

LIMITS = CallLimits(breaker_faults=2, breaker_after_s=0.0, breaker_open_s=30.0)


@asynccontextmanager
async def processes(kit, server, count=2, limits=LIMITS):
    """(stops, limiter) of each process."""
    async with AsyncExitStack() as stack:
        found = []
        for way in await stack.enter_async_context(kit.shared(server, count)):
            stops, limiter = SharedStops(way, every_s=0.1), Limiter(limits)
            stops.join("the upstream", limiter)
            await stack.enter_async_context(stops.running())
            found.append(limiter)
        yield found


async def call(limiter, *, model="m", caller="", deadline=float("inf"), decision=None, **end):
    grant = await limiter.enter(decision or object(), model=model, caller=caller, deadline=deadline)
    limiter.leave(grant, CallEnd(**end))


async def refusal(attempt):
    with pytest.raises(UpstreamError) as caught:
        await attempt
    return caught.value.code


async def until(condition):
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came to this")


def soon():
    return asyncio.get_running_loop().time() + 0.2


def test_a_pause_is_kept_by_all_and_ends_by_itself(kit, redis_server):
    async def scene():
        async with processes(kit, redis_server) as (one, other):
            await call(one, alive=True, pause_s=2.0, is_rate_limit=True)
            await until(other.count_paused)
            refused = await refusal(call(other, deadline=soon()))
            await call(other, model="another", alive=True)  # models are paused one by one
            await asyncio.wait_for(call(other, alive=True), 60)  # waits for the end of the pause
            return refused

    assert kit.run(scene()) == "upstream_rate_limited"


def test_a_call_that_waits_is_told_of_a_pause_beyond_its_deadline(kit, redis_server):
    async def scene():
        limits = CallLimits(max_concurrency=1)
        async with processes(kit, redis_server, limits=limits) as (one, other):
            held = await other.enter(object(), model="m")
            waits = asyncio.create_task(
                refusal(call(other, deadline=asyncio.get_running_loop().time() + 15.0))
            )
            await asyncio.sleep(0)
            await call(one, pause_s=20.0)
            found = await asyncio.wait_for(waits, 14)
            other.leave(held, CallEnd(alive=True))
            return found

    assert kit.run(scene()) == "upstream_unavailable"


def test_an_open_breaker_of_a_caller_is_open_for_it_everywhere(kit, redis_server):
    async def scene():
        async with processes(kit, redis_server) as (one, other):
            for _ in range(2):
                await call(one, caller="acme", alive=False)
            await until(lambda: not other.is_available("m", "acme"))
            refused = await refusal(call(other, caller="acme"))
            await call(other, caller="umbrella", alive=True)
            return refused, other.is_available("m", "umbrella")

    assert kit.run(scene()) == ("upstream_unavailable", True)


def test_a_model_that_is_down_for_all_is_so_everywhere_until_it_answers(kit, redis_server):
    async def scene():
        async with processes(kit, redis_server) as (one, other):
            under_way = await other.enter(object(), model="m", caller="c")
            for caller in ("a", "b"):
                await call(one, caller=caller, alive=False)
            await until(lambda: other.state is BreakerState.OPEN)
            other.leave(under_way, CallEnd(alive=True))  # a sign of life, here
            found = other.state
            await asyncio.sleep(0.5)  # the same stop is read again, and not heeded twice
            return found, other.state, one.state

    closed, later, first = kit.run(scene())
    assert closed is later is BreakerState.CLOSED
    assert first is BreakerState.OPEN


def test_a_model_that_has_answered_here_since_is_not_down(kit):
    async def scene():
        limiter = Limiter(LIMITS)
        await call(limiter, alive=True)
        await call(limiter, model="failing", caller="a", alive=False)
        found = []
        for model in ("m", "failing", "unknown"):
            limiter.heed(Stop(model, StopKind.DOWN, 2.0, age_s=60.0))
            found.append(limiter.is_available(model))
        await asyncio.sleep(0.01)
        limiter.heed(Stop("m", StopKind.DOWN, 2.0, age_s=0.001))  # after the answer
        return found, limiter.is_available("m")

    assert kit.run(scene()) == ([True, False, False], False)


def test_others_are_told_when_a_model_was_found_down(kit, redis_server):
    async def scene():
        async with (
            kit.shared(redis_server) as way,
            processes(kit, redis_server) as (one, other),
        ):
            for caller in ("a", "b"):
                await call(one, caller=caller, alive=False)
            await until(lambda: other.state is BreakerState.OPEN)
            found = []
            for answers in (False, True):
                late, stops = Limiter(LIMITS), SharedStops(way)
                if answers:
                    await asyncio.sleep(0.05)
                    await call(late, alive=True)
                stops.join("the upstream", late)
                await stops._exchange()
                found.append(late.state)
            return found

    assert kit.run(scene()) == [BreakerState.OPEN, BreakerState.CLOSED]


def test_without_redis_each_goes_by_its_own(kit, redis_server):
    async def scene():
        async with processes(kit, redis_server) as (one, other):
            redis_server.kill()
            await call(one, alive=True, pause_s=20.0)
            await asyncio.sleep(0.5)
            await call(other, alive=True)
            return one.count_paused(), other.count_paused()

    assert kit.run(scene()) == (1, 0)


def test_what_somebody_else_writes_is_not_heeded(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server) as way, processes(kit, redis_server) as (one, other):
            await call(one, alive=True, pause_s=20.0)
            await until(other.count_paused)
            client, names = way._client, SharedStops(way)._names
            (key,) = await client.hkeys(names[1])
            planted = await client.hget(names[1], key)
            await client.hset(names[1], b"x" * 32, planted)  # under another name
            await client.zadd(names[0], {b"x" * 32: 9e15})
            await client.hset(names[1], b"y" * 32, b"no seal")
            await client.zadd(names[0], {b"y" * 32: 9e15})
            third = Limiter(LIMITS)
            stops = SharedStops(way)
            stops.join("the upstream", third)
            await stops._exchange()
            until_s = max(lane.paused_until for lane in third._lanes)
            return until_s - asyncio.get_running_loop().time()

    assert 0 < kit.run(scene()) <= 20


def test_a_long_list_is_bounded(kit, redis_server, monkeypatch):
    monkeypatch.setattr("guardrail.sharing.upstream_stops._MOST_STOPS", 5)

    async def scene():
        async with processes(kit, redis_server) as (one, other):
            for number in range(8):
                await call(one, model=f"m{number}", alive=True, pause_s=20.0)
            await call(one, model="m" * 2000, alive=True, pause_s=20.0)
            await until(lambda: other.count_paused() >= 5)
            await asyncio.sleep(0.3)
            return other.count_paused()

    assert kit.run(scene()) == 5
