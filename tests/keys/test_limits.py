"""Limits of keys: never more than they say, in any minute, on any day, by any number of threads."""

import asyncio
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError, RequestError
from guardrail.keys.api_key import KeyLimits
from guardrail.keys.limit_errors import INSUFFICIENT_QUOTA, RATE_LIMIT_EXCEEDED
from guardrail.keys.limits import KeyAllowance, LocalLimits

DAY_S = 86_400.0


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


def local(clock=None):
    clock = clock or Clock()
    return LocalLimits(clock=clock, wall_clock=clock), clock


def run(coroutine):
    return asyncio.run(coroutine)


def refusal(coroutine):
    with pytest.raises(RequestError) as caught:
        run(coroutine)
    assert caught.value.status == 429
    return caught.value


def test_requests_a_minute():
    limits, clock = local()
    key = KeyLimits(requests_per_minute=2)
    first, second = (run(limits.enter("k", key)) for _ in range(2))
    assert (first.remaining, second.remaining) == (1, 0)
    clock.now += 30.5
    error = refusal(limits.enter("k", key))
    assert error.code == RATE_LIMIT_EXCEEDED
    assert error.retry_after_s == pytest.approx(30.5)
    assert error.headers["x-ratelimit-remaining-requests"] == "0"
    assert run(limits.enter("other", key)).remaining == 1
    clock.now += error.retry_after_s
    assert run(limits.enter("k", key)).remaining == 1


def test_places():
    limits, _ = local()
    key = KeyLimits(max_concurrency=2)
    assert [run(limits.enter("k", key)) for _ in range(2)] == [None, None]
    assert "2 requests under way" in str(refusal(limits.enter("k", key)))
    limits.leave("k")
    run(limits.enter("k", key))


def test_a_refused_request_takes_nothing():
    limits, clock = local()
    key = KeyLimits(requests_per_minute=1, max_concurrency=1)
    run(limits.enter("k", key))
    for _ in range(5):
        refusal(limits.enter("k", key))
    limits.leave("k")
    clock.now += 61
    run(limits.enter("k", key))


def test_unused_calls_are_given_back():
    limits, _ = local()
    key = KeyLimits(calls_per_minute=100)
    first = run(limits.reserve("k", key, 90, None))
    assert refusal(limits.reserve("k", key, 20, None)).retry_after_s == 1.0
    run(limits.settle(first, 10, None))
    run(limits.reserve("k", key, 90, None))
    assert refusal(limits.reserve("k", key, 5, None)).retry_after_s == pytest.approx(61.0)


def test_more_calls_than_the_key_may_ever_make_are_refused_for_good():
    limits, _ = local()
    error = refusal(limits.reserve("k", KeyLimits(calls_per_minute=5), 6, None))
    assert error.headers == {"x-should-retry": "false"}
    assert "6 calls" in str(error)


def test_dollars_a_day():
    limits, clock = local(Clock(10 * DAY_S + 3600.0))
    key = KeyLimits(usd_per_day=1.0)
    first = run(limits.reserve("k", key, None, 0.6))
    waits = refusal(limits.reserve("k", key, None, 0.6))
    assert (waits.code, waits.retry_after_s) == (RATE_LIMIT_EXCEEDED, 1.0)
    run(limits.settle(first, 3, 0.5))
    spent = refusal(limits.reserve("k", key, None, 0.6))
    assert (spent.code, spent.retry_after_s) == (INSUFFICIENT_QUOTA, pytest.approx(23 * 3600))
    second = run(limits.reserve("k", key, None, 0.5))
    run(limits.settle(second, 3, None))  # what is not known counts in full
    refusal(limits.reserve("k", key, None, 0.01))
    clock.now += 23 * 3600
    run(limits.reserve("k", key, None, 1.0))


def test_a_decision_over_midnight_counts_for_the_new_day():
    limits, clock = local(Clock(10 * DAY_S - 1.0))
    key = KeyLimits(usd_per_day=1.0)
    held = run(limits.reserve("k", key, None, 0.9))
    clock.now += 2.0
    refusal(limits.reserve("k", key, None, 0.2))
    run(limits.settle(held, 1, 0.9))
    refusal(limits.reserve("k", key, None, 0.2))
    run(limits.reserve("k", key, None, 0.1))


CALLS = st.lists(
    st.tuples(st.floats(0, 20), st.integers(1, 30), st.floats(0, 90), st.floats(0, 1)),
    min_size=1,
    max_size=40,
)


@given(CALLS, st.integers(10, 60))
def test_no_minute_has_more_calls_than_the_limit(decisions, most):
    """However long decisions take, and whenever within them their calls are made."""
    limits, clock = local(Clock(0.0))
    key, running, calls = KeyLimits(calls_per_minute=most), [], []

    def settle_until(now):
        for ends, reservation, used in sorted(running, key=lambda one: one[0]):
            if ends <= now:
                clock.now = ends
                run_now(limits.settle(reservation, used, None))
                running.remove((ends, reservation, used))
        clock.now = now

    now = 0.0
    for step, wanted, lasts_s, share in decisions:
        now += step
        settle_until(now)
        try:
            reservation = run_now(limits.reserve("k", key, wanted, None))
        except RequestError:
            continue
        used = round(wanted * share)
        # The worst that can be: all of its calls at the last moment.
        calls.append((now + lasts_s, used))
        running.append((now + lasts_s, reservation, used))
    settle_until(now + 1000.0)
    for start, _ in calls:
        assert sum(used for at, used in calls if start <= at < start + 60.0) <= most
    assert limits._known["k"].reserved_calls == 0


def run_now(coroutine):
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


def test_many_threads_and_loops_never_exceed_a_limit():
    limits, key = LocalLimits(), KeyLimits(max_concurrency=3, calls_per_minute=50)
    inside, most, reserved, lock = 0, 0, [], threading.Lock()

    async def ask():
        nonlocal inside, most
        try:
            await limits.enter("k", key)
        except RequestError:
            return
        with lock:
            inside += 1
            most = max(most, inside)
        await asyncio.sleep(0.001)
        try:
            reservation = await limits.reserve("k", key, 7, None)
            await limits.settle(reservation, 7, None)
            with lock:
                reserved.append(7)
        except RequestError:
            pass
        with lock:
            inside -= 1
        limits.leave("k")

    async def many():
        await asyncio.gather(*(ask() for _ in range(30)))

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 3
    assert sum(reserved) <= 50
    assert (limits._known["k"].places, limits._known["k"].reserved_calls) == (0, 0)


def test_idle_keys_are_forgotten(monkeypatch):
    monkeypatch.setattr("guardrail.keys.limits._MOST_KNOWN", 10)
    limits, clock = local()
    for i in range(30):
        run(limits.enter(f"k{i}", KeyLimits(requests_per_minute=1)))
        limits.leave(f"k{i}")
        clock.now += 20
    assert len(limits._known) <= 11


def test_the_dollars_of_one_decision():
    limits, _ = local()
    allowance = KeyAllowance(limits, "k", KeyLimits(usd_per_day=10.0), "acme")
    assert run(allowance.reserve(None, None)).usd == 0.5
    assert run(allowance.reserve(None, 2.0)).usd == 2.0
    free = KeyAllowance(limits, "f", KeyLimits(), "acme")
    assert run(free.reserve(None, 2.0)).usd is None
    assert "f" not in limits._known


@pytest.mark.parametrize("value", [0, -1, 1e10, float("nan"), float("inf")])
def test_limits_that_are_none(value):
    with pytest.raises(ConfigError, match=r"usd_per_day.*no limit"):
        KeyLimits(usd_per_day=value)


def test_remaining_requests_only_go_down_within_a_minute():
    limits, clock = local()
    left = []
    for _ in range(9):
        left.append(run(limits.enter("k", KeyLimits(requests_per_minute=9))).remaining)
        clock.now += 1.0
    assert all(one > other for one, other in pairwise(left))
