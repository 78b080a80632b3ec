"""No single caller's faults take a model from the others; those of several do."""

from hypothesis import given
from hypothesis import strategies as st

from guardrail.upstreams.limits.breaker import BreakerState
from guardrail.upstreams.limits.health import ModelHealth

OPEN, CLOSED, HALF = BreakerState.OPEN, BreakerState.CLOSED, BreakerState.HALF_OPEN


def make(faults=4, after_s=0.0, open_s=10.0):
    return ModelHealth(faults=faults, after_s=after_s, open_s=open_s)


def fail(health, caller, times=1, now=0.0):
    for _ in range(times):
        probe = health.start(now, caller)
        health.record_fault(now, now, caller, probe=probe, decision=object())


def test_a_caller_whose_requests_fail_is_left_alone_and_nobody_else():
    health = make()
    fail(health, "a", 50)
    assert [health.state(1.0, caller) for caller in ("a", "b", "")] == [OPEN, CLOSED, CLOSED]
    assert (health.wait_s(1.0, "a"), health.wait_s(1.0, "b")) == (9.0, 0.0)


def test_faults_of_two_callers_are_the_models():
    health = make()
    fail(health, "a", 3)
    fail(health, "b")
    assert health.state(0.0, "c") is CLOSED
    fail(health, "b")
    assert [health.state(0.0, caller) for caller in ("a", "b", "c", "")] == [OPEN] * 4
    # When the pause is over everybody may call, and one answer is enough.
    assert health.state(10.5, "c") is CLOSED
    health.alive(10.6, "c", probe=False)
    assert health.state(10.6, "c") is CLOSED


def test_an_answer_to_anybody_shows_that_the_model_is_up():
    health = make()
    for _ in range(20):
        fail(health, "a", 3)
        fail(health, "b")
        health.alive(0.0, "c", probe=False)
    assert health.state(0.0, "c") is CLOSED


def test_one_fault_may_be_enough_but_not_of_one_caller():
    health = make(faults=1)
    fail(health, "a", 9)
    assert health.state(0.0, "b") is CLOSED
    fail(health, "b")
    assert health.state(0.0, "c") is OPEN


def test_an_own_breaker_closes_by_an_own_answer():
    health = make()
    fail(health, "a", 4)
    assert health.state(10.0, "a") is HALF
    assert health.start(10.0, "a")
    assert health.is_probing("a")
    health.unknown("a", probe=True)
    assert not health.is_probing("a")
    assert health.start(10.0, "a")
    health.alive(10.0, "a", probe=True)
    assert health.state(10.0, "a") is CLOSED
    assert health.is_quiet


def test_calls_of_unknown_callers_are_those_of_one():
    health = make()
    fail(health, "", 4)
    assert health.state(0.0) is OPEN
    assert health.common_state(0.0) is OPEN


def test_what_is_remembered_of_callers_is_bounded():
    health = make(faults=10_000)
    for i in range(3000):
        fail(health, f"caller {i}")
    assert len(health._own) <= 1024


@given(
    st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=200),
    st.integers(1, 12),
    st.floats(0, 3),
)
def test_whatever_one_caller_does_the_others_may_call(events, faults, after_s):
    health, now = make(faults, after_s), 0.0
    for step, answered in events:
        now += step
        probe = health.start(now, "a")
        if answered:
            health.alive(now, "a", probe=probe)
        else:
            health.record_fault(now - 1.0, now, "a", probe=probe, decision=object())
        assert health.state(now, "b") is CLOSED
        assert not health.start(now, "b")
