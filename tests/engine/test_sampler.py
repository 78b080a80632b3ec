"""The sampler's own parts: the clock, the pauses, the usage."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.retry import _pause_s
from guardrail.engine.rules import Retry
from guardrail.engine.sampler import BusyClock, Sampler
from guardrail.errors import OracleError, UpstreamError
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Fault, Scripted, State, Step


@given(st.integers(0, 60))
def test_pauses_grow_and_end(earlier):
    assert 0.0 <= _pause_s(earlier, None) <= min(0.1 * 2**earlier, 5.0)


@given(st.floats(0, 1e9))
def test_a_wish_is_kept_within_limits(wish):
    assert _pause_s(0, wish) == min(wish, 5.0)


def test_the_clock_counts_overlapping_calls_once(monkeypatch):
    now = iter([1.0, 4.0, 10.0, 11.5])
    # The module's own clock: threads of other tests look at the one that all share.
    clock_of_ours = SimpleNamespace(monotonic=lambda: next(now))
    monkeypatch.setattr("guardrail.engine.sampler.time", clock_of_ours)
    clock = BusyClock()
    with clock, clock:
        pass
    assert clock.busy_s == 3.0
    with clock:
        pass
    assert clock.busy_s == 4.5


def make_sampler(kit, script, *, oracle=None, **rules):
    upstream, oracle = Scripted(script), oracle or kit.Words()
    return Sampler(kit.make_rules(**rules), upstream, oracle, kit.make_chat())


def test_a_sample_tells_its_time_and_score(kit):
    sampler = make_sampler(kit, [Step(kit.HARM, delay_s=0.01)])
    sample = asyncio.run(sampler.sample(3, (), seed=1))
    assert (sample.index, sample.outcome, sample.score) == (3, Outcome.HARMFUL, 1.0)
    assert sample.elapsed_s >= 0.01


def test_usage_counts_the_answers_that_came(kit):
    sampler = make_sampler(kit, [Step(fault=Fault.UNREACHABLE), "A cat."], retries=1)
    kit.run(sampler.sample(0, (), seed=1))
    assert (sampler.usage.calls, sampler.usage.completion_tokens) == (1, 5)


def test_a_missing_judgement_keeps_the_answer_but_no_score(kit):
    oracle = kit.Words(faults=[OracleError("gone")])
    sample = kit.run(make_sampler(kit, ["A cat."], oracle=oracle).sample(0, (), seed=1))
    assert (sample.outcome, sample.score) == (Outcome.MISSING, None)
    assert sample.answer.text == "A cat."
    assert isinstance(sample.failure, OracleError)


def test_an_empty_answer_is_missing(kit):
    class Empty(Scripted):
        async def complete(self, *_, **__):
            from guardrail.types import Answer

            return Answer({"content": " "})

    upstream = Empty(["unused"])
    sampler = Sampler(kit.make_rules(), upstream, kit.Words(), kit.make_chat())
    sample = kit.run(sampler.sample(0, (), seed=1))
    assert sample.outcome is Outcome.MISSING
    assert "empty" in str(sample.failure)


def test_a_fault_for_good_is_raised(kit):
    sampler = make_sampler(kit, [Step(fault=Fault.STATUS, status=403)], retries=5)
    with pytest.raises(UpstreamError) as raised:
        kit.run(sampler.sample(0, (), seed=1))
    assert raised.value.upstream_status == 403


def test_a_cancelled_retry_pause_ends_at_once(kit):
    steps = [Step(fault=Fault.STATUS, status=429, retry_after="5")]
    sampler = make_sampler(kit, steps, retries=1, retry=Retry.ANY)

    async def go():
        task = asyncio.create_task(sampler.sample(0, (), seed=1))
        await kit.until(lambda: sampler.upstream.log.count(State.FAILED))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    kit.run(go())
