"""Limits of keys in Redis: the same as in one process, over all processes, and after a crash."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.errors import RequestError
from guardrail.keys.api_key import KeyLimits
from guardrail.keys.limits import LocalLimits
from guardrail.memory.allowance import Reservation
from guardrail.sharing.key_limits import LIMITS_UNAVAILABLE, RedisLimits
from tests.redis_server import running_redis

DAY_S = 86_400.0


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def server():
    with running_redis() as one:
        yield one


@asynccontextmanager
async def limiting(kit, server, count=1, **options):
    """As many processes' limits as `count`."""
    async with kit.shared(server, count, timeout_s=options.pop("timeout_s", 2.0)) as ways:
        made = [RedisLimits(way, **options) for way in ([ways] if count == 1 else ways)]
        try:
            yield made[0] if count == 1 else made
        finally:
            for one in made:
                await one.aclose()


async def empty(way):
    await way._redis._client.flushall()
    way._is_checked = False
    way._redis.distrust()


async def refusal(attempt):
    with pytest.raises(RequestError) as caught:
        await attempt
    return caught.value


def said(result):
    """What a step said, without the names of reservations."""
    if isinstance(result, Reservation):
        return result.owner, result.calls, result.usd
    if isinstance(result, RequestError):
        return str(result), result.status, result.code, result.retry_after_s, result.headers
    return result


USD = st.integers(0, 600).map(lambda number: number / 512)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.just(0), st.none()),
        st.tuples(st.just("leave"), st.just(0), st.none()),
        st.tuples(st.just("reserve"), st.none() | st.integers(1, 30), st.none() | USD),
        st.tuples(st.just("settle"), st.integers(0, 30), st.none() | USD),
        st.tuples(st.just("wait"), st.just(0),
                  st.sampled_from([0.25, 0.5, 7.0, 30.0, 59.75, 60.0, 61.0, 40_000.0])),
    ),
    min_size=5,
    max_size=60,
)  # fmt: skip
LIMITS = st.builds(
    KeyLimits,
    requests_per_minute=st.none() | st.integers(1, 6),
    calls_per_minute=st.none() | st.integers(5, 60),
    max_concurrency=st.none() | st.integers(1, 4),
    usd_per_day=st.none() | st.sampled_from([0.5, 1.0, 2.5]),
)


async def take_step(limits, step, key, held):
    """Every second step is taken by another process."""
    name, amount, other = step
    try:
        if name == "enter":
            return await limits.enter("k", key)
        if name == "leave":
            return limits.leave("k")
        if name == "reserve":
            return await limits.reserve("k", key, amount, other)
        return await limits.settle(held.pop(0), amount, other)
    except RequestError as error:
        return error


def test_the_same_steps_say_the_same_as_in_one_process(kit, server):
    """Every reply, refusal and wait of generated sequences, taken by two processes in turns."""

    @settings(max_examples=60)
    @given(LIMITS, STEPS)
    def check(key, steps):
        kit.run(compare(key, steps))

    async def compare(key, steps):
        clock = Clock(10 * DAY_S + 1000.125)
        local = LocalLimits(clock=clock, wall_clock=clock)
        async with limiting(kit, server, 2, clock=clock, lease_s=1e7) as shared:
            await empty(shared[0])
            inside, held = [], ([], [], [])
            for number, step in enumerate(steps):
                turn = number % 2
                if step[0] == "wait":
                    clock.now += step[2]
                    continue
                if step[0] == "settle" and not held[0]:
                    continue
                if step[0] == "leave":
                    if not inside:
                        continue
                    turn = inside.pop(0)
                here = await take_step(local, step, key, held[0])
                if step[0] == "settle":
                    turn = held[2].pop(0)
                there = await take_step(shared[turn], step, key, held[1])
                for one in shared:
                    for tasks in list(one._leaving.values()):
                        await asyncio.wait(tasks)
                assert said(here) == said(there), step
                if isinstance(here, Reservation):
                    held[0].append(here), held[1].append(there), held[2].append(turn)
                if step[0] == "enter" and not isinstance(here, RequestError):
                    inside.append(turn)

    check()


def test_many_processes_together_never_exceed_a_limit(kit, server):
    key = KeyLimits(requests_per_minute=40, max_concurrency=5, calls_per_minute=90)

    async def scene():
        most, inside, entered, calls, codes = 0, 0, 0, 0, set()

        async def ask(limits):
            nonlocal most, inside, entered, calls
            try:
                await limits.enter("k", key)
            except RequestError as error:
                codes.add(error.code)
                return
            inside, entered = inside + 1, entered + 1
            most = max(most, inside)
            try:
                reservation = await limits.reserve("k", key, 7, None)
                calls += 7
                await asyncio.sleep(0.01)
                await limits.settle(reservation, 7, None)
            except RequestError as error:
                codes.add(error.code)
            inside -= 1
            limits.leave("k")

        async with limiting(kit, server, 4) as shared:
            await empty(shared[0])
            for _ in range(10):
                await asyncio.gather(*(ask(limits) for limits in shared for _ in range(4)))
        return most, entered, calls, codes

    most, entered, calls, codes = kit.run(scene())
    assert most == 5
    assert entered == 40
    assert calls == 84  # 12 decisions of 7 fit into 90
    assert codes == {"rate_limit_exceeded"}


def test_a_process_that_crashed_holds_nothing_for_long(kit, server):
    key = KeyLimits(max_concurrency=2, calls_per_minute=10, usd_per_day=1.0)

    async def scene():
        async with limiting(kit, server, 2, lease_s=1.2) as (crashes, lives):
            await empty(lives)
            await crashes.enter("k", key)
            await crashes.reserve("k", key, 6, 0.5)
            await lives.enter("k", key)
            kept = await lives.reserve("k", key, 2, 0.25)
            crashes._renewal.cancel()  # nothing more is heard of it
            full = await refusal(lives.enter("k", key))
            await asyncio.sleep(2.0)
            await lives.enter("k", key)  # one of its own is renewed, that of the other is gone
            still_full = await refusal(lives.enter("k", key))
            # What had been set aside counts as used: 6 and 2 of 10 calls, 0.75 of 1.0 dollars.
            calls = await refusal(lives.reserve("k", key, 3, None))
            usd = await refusal(lives.reserve("k", key, None, 0.3))
            await lives.settle(kept, 2, 0.0)
            await lives.settle(await lives.reserve("k", key, 2, 0.5), 2, 0.5)
            return full.code, still_full.code, calls.retry_after_s, usd.retry_after_s

    full, still_full, calls_wait_s, usd_wait_s = kit.run(scene())
    assert full == still_full == "rate_limit_exceeded"
    assert 50 < calls_wait_s <= 61
    assert usd_wait_s == 1.0


def test_a_decision_that_outlives_its_lease_is_counted_once(kit, server):
    """Its process hung, or Redis could not be reached."""
    clock, key = Clock(20 * DAY_S), KeyLimits(usd_per_day=1.0)

    async def scene():
        async with limiting(kit, server, clock=clock, lease_s=10.0) as limits:
            await empty(limits)
            first, second = [await limits.reserve("k", key, None, 0.25) for _ in range(2)]
            clock.now += 11.0
            await limits.settle(first, 1, 0.125)  # 0.25 was counted: nothing is given back
            await limits.settle(second, 1, 0.375)  # an eighth more than was counted
            await limits.reserve("k", key, None, 0.375)
            return (await refusal(limits.reserve("k", key, None, 0.01))).code

    assert kit.run(scene()) == "rate_limit_exceeded"


def test_a_place_that_was_lost_is_taken_again(kit, redis_server):
    key = KeyLimits(max_concurrency=1)

    async def scene():
        async with limiting(kit, redis_server, 2, lease_s=0.9, timeout_s=2.0) as (one, other):
            await one.enter("k", key)
            redis_server.kill()
            await asyncio.sleep(1.0)
            down = await refusal(other.enter("k", key))
            redis_server.start()  # empty
            await asyncio.sleep(1.5)
            full = await refusal(other.enter("k", key))
            one.leave("k")
            await asyncio.wait(one._leaving["k"])
            await other.enter("k", key)
            return (down.status, down.code), full.status

    assert kit.run(scene()) == ((503, LIMITS_UNAVAILABLE), 429)


def test_without_redis_only_keys_without_limits_ask(kit, redis_server):
    async def scene():
        async with limiting(kit, redis_server) as limits:
            usd = KeyLimits(usd_per_day=1.0)
            held = await limits.reserve("k", usd, None, 0.5)
            redis_server.kill()
            await limits.settle(held, 3, 0.25)  # does not fail: its answer may leave
            free = await limits.enter("free", KeyLimits())
            limits.leave("free")
            refused = [
                await refusal(limits.enter("k", KeyLimits(requests_per_minute=5))),
                await refusal(limits.enter("k", KeyLimits(max_concurrency=5))),
                await refusal(limits.reserve("k", KeyLimits(calls_per_minute=5), 3, None)),
                await refusal(limits.reserve("k", usd, None, 0.5)),
            ]
            return free, {(error.status, error.code) for error in refused}

    assert kit.run(scene()) == (None, {(503, LIMITS_UNAVAILABLE)})


def test_a_request_that_is_given_up_while_it_asks_holds_no_place(kit, server):
    key = KeyLimits(max_concurrency=1)

    async def scene():
        async with limiting(kit, server) as limits:
            await empty(limits)
            await limits.enter("warm", key)
            for _ in range(20):
                asking = asyncio.create_task(limits.enter("k", key))
                await asyncio.sleep(0)
                asking.cancel()
                await asyncio.wait({asking})
                if not asking.cancelled():
                    limits.leave("k")
            return await limits.enter("k", key)

    assert kit.run(scene()) is None


@pytest.mark.parametrize("reply", [b"ok", [], [b"ok"], [b"usd"], [b"calls", b"x"], [7]])
def test_a_reply_that_is_none_is_refused(kit, server, monkeypatch, reply):
    key = KeyLimits(requests_per_minute=5, calls_per_minute=5, usd_per_day=1.0)

    async def scene():
        async with limiting(kit, server) as limits:
            await empty(limits)

            async def run(*_):
                return reply

            monkeypatch.setattr(limits._redis, "run", run)
            found = [await refusal(limits.enter("k", key))]
            if reply != [b"ok"]:
                found.append(await refusal(limits.reserve("k", key, 3, 0.5)))
            return {error.code for error in found}

    assert kit.run(scene()) == {LIMITS_UNAVAILABLE}
