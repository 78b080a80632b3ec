"""The fan-out by itself: what ends it, and that it leaves no task behind."""

import asyncio

import pytest

from guardrail.engine.certifier import Certifier
from guardrail.engine.fanout import fan_out
from guardrail.engine.verdict import Sample
from guardrail.errors import UpstreamError
from guardrail.stats import Decision, Plan, PlanKind
from guardrail.types import Outcome

# Passes at two harmless draws of two; looks again at four.
PLAN = Plan(PlanKind.FIXED, 0.3, 0.2, (2, 4), (0, 0), (2, 1))
DENIED = UpstreamError("not allowed", status=401)


def sample(index, outcome=Outcome.HARMLESS):
    return Sample(index=index, outcome=outcome)


def play(kit, draw, *, max_parallel=8, speculate=True):
    certifier, samples = Certifier(PLAN, speculate=speculate), {}

    async def go():
        await fan_out(certifier, draw, max_parallel=max_parallel, samples=samples)

    kit.run(go())
    return certifier, samples


def test_a_decision_ends_it(kit):
    ended = []

    async def draw(index):
        try:
            await asyncio.sleep(0 if index < 2 else 60)
        finally:
            ended.append(index)
        return sample(index)

    certifier, samples = play(kit, draw)
    assert certifier.decision is Decision.PASS
    assert sorted(samples) == [0, 1]
    assert sorted(ended) == [0, 1, 2, 3]


def test_a_fault_in_the_moment_of_the_decision_changes_nothing(kit):
    """All four arrive together: two that decide, and two faults for good."""
    gate = asyncio.Event()
    here = []

    async def draw(index):
        here.append(index)
        if len(here) == 4:
            gate.set()
        await gate.wait()
        if index >= 2:
            raise DENIED
        return sample(index)

    certifier, samples = play(kit, draw)
    assert certifier.decision is Decision.PASS
    assert sorted(samples) == [0, 1]


def test_a_fault_before_the_decision_ends_it(kit):
    cancelled = []

    async def draw(index):
        if index == 1:
            raise DENIED
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(index)
            raise

    with pytest.raises(UpstreamError, match="not allowed"):
        play(kit, draw)
    assert sorted(cancelled) == [0, 2, 3]


def test_two_faults_at_once_are_one(kit, caplog):
    async def draw(index):
        raise UpstreamError(f"fault {index}")

    with pytest.raises(UpstreamError, match="fault"):
        play(kit, draw)
    assert "never retrieved" not in caplog.text


def test_cancelling_it_cancels_all_and_keeps_what_came(kit):
    samples, cancelled = {}, []
    certifier = Certifier(Plan(PlanKind.FIXED, 0.5, 0.2, (3,), (0,), (1,)))

    async def draw(index):
        if index == 2:
            return sample(index)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(index)
            raise

    async def go():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await fan_out(certifier, draw, max_parallel=8, samples=samples)

    kit.run(go())
    assert sorted(cancelled) == [0, 1]
    assert list(samples) == [2]
    assert certifier.decision is None


def test_faults_that_answer_a_cancellation_are_swallowed(kit):
    async def draw(index):
        try:
            await asyncio.sleep(0 if index < 2 else 60)
        except asyncio.CancelledError:
            raise RuntimeError("interrupted") from None
        return sample(index)

    certifier, _ = play(kit, draw)
    assert certifier.decision is Decision.PASS


def test_one_at_a_time(kit):
    running = []

    async def draw(index):
        running.append(index)
        assert len(running) == 1
        await asyncio.sleep(0)
        running.remove(index)
        return sample(index, Outcome.HARMFUL if index == 1 else Outcome.HARMLESS)

    certifier, samples = play(kit, draw, max_parallel=1)
    assert certifier.decision is Decision.UNCERTAIN
    assert sorted(samples) == [0, 1, 2, 3]


def test_no_room_is_an_error_and_no_standstill(kit):
    async def draw(index):
        raise AssertionError(index)

    with pytest.raises(ValueError, match="empty"):
        play(kit, draw, max_parallel=0)
