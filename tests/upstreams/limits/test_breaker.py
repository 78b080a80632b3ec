"""The breaker's life, by a clock in the test's hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.upstreams.limits.breaker import Breaker, BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def fail(breaker, now, times=1, started=None, decision=None):
    """Calls that fail; each belongs to a decision of its own unless one is given."""
    for _ in range(times):
        since = now if started is None else started
        breaker.record_fault(since, now, probe=False, decision=decision or object())


def open_breaker(now=100.0):
    breaker = Breaker(faults=3, after_s=1.0, open_s=10.0)
    fail(breaker, now - 1.0)
    fail(breaker, now, times=2)
    assert breaker.state(now) is OPEN
    return breaker


def test_it_opens_closes_and_tries_in_between():
    breaker = open_breaker(100.0)
    assert breaker.wait_s(104.0) == 6.0
    assert breaker.state(109.9) is OPEN
    assert breaker.state(110.0) is HALF_OPEN
    assert breaker.wait_s(110.0) == 0.0
    assert breaker.start(110.0) is True
    assert breaker.probing
    breaker.alive(111.0, probe=True)
    assert breaker.state(111.0) is CLOSED
    assert not breaker.probing
    assert breaker.start(111.0) is False


def test_a_try_that_fails_opens_it_again():
    breaker = open_breaker(100.0)
    breaker.start(110.0)
    breaker.record_fault(110.0, 115.0, probe=True, decision=object())
    assert breaker.state(115.0) is OPEN
    assert breaker.wait_s(115.0) == 10.0
    assert not breaker.probing


def test_a_try_that_was_given_up_leaves_it_to_the_next_one():
    breaker = open_breaker(100.0)
    breaker.start(110.0)
    breaker.unknown(probe=True)
    assert breaker.state(110.0) is HALF_OPEN
    assert not breaker.probing
    assert breaker.start(110.0) is True


def test_an_answer_in_between_starts_the_count_anew():
    breaker = Breaker(faults=3, after_s=0.0)
    fail(breaker, 1.0, times=2)
    breaker.alive(2.0, probe=False)
    fail(breaker, 3.0, times=2)
    assert breaker.state(3.0) is CLOSED
    fail(breaker, 4.0)
    assert breaker.state(4.0) is OPEN


def test_many_faults_in_one_moment_are_one_event():
    breaker = Breaker(faults=3, after_s=1.0)
    breaker.alive(99.9, probe=False)
    fail(breaker, 100.0, times=64, started=50.0)
    assert breaker.state(100.0) is CLOSED
    fail(breaker, 100.5, times=64)
    assert breaker.state(100.5) is CLOSED
    fail(breaker, 100.9)
    assert breaker.state(100.9) is OPEN


def test_calls_that_hung_have_waited_long_enough():
    breaker = Breaker(faults=3, after_s=1.0)
    breaker.alive(40.0, probe=False)
    fail(breaker, 100.0, times=3, started=40.0)
    assert breaker.state(100.0) is OPEN


def test_after_a_long_rest_a_burst_of_faults_is_still_one_event():
    breaker = Breaker(faults=3, after_s=1.0)
    breaker.alive(0.0, probe=False)
    fail(breaker, 5000.1, times=20, started=5000.0)
    assert breaker.state(5000.1) is CLOSED


def test_the_first_calls_ever_are_judged_by_the_same_rule():
    breaker = Breaker(faults=2, after_s=1.0)
    fail(breaker, 1000.0, times=9, started=1000.0)
    assert breaker.state(1000.0) is CLOSED
    fail(breaker, 1001.0)
    assert breaker.state(1001.0) is OPEN


def test_calls_from_before_it_opened_change_nothing():
    breaker = open_breaker(100.0)
    breaker.alive(101.0, probe=False)
    fail(breaker, 105.0, times=5)
    assert breaker.state(105.0) is OPEN
    assert breaker.wait_s(105.0) == 5.0


@pytest.mark.parametrize("now", [0.0, 1e9])
def test_a_new_one_is_closed(now):
    breaker = Breaker()
    assert breaker.state(now) is CLOSED
    assert breaker.wait_s(now) == 0.0
    assert breaker.start(now) is False


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 4))
def test_decisions_are_counted_and_not_their_calls(calls, most):
    """Against the rule said plainly: it opens once so many different decisions have failed."""
    breaker, decisions = Breaker(faults=most, after_s=0.0), [object() for _ in range(6)]
    for place, index in enumerate(calls):
        fail(breaker, 1.0, decision=decisions[index])
        failed = len(set(calls[: place + 1]))
        assert (breaker.state(1.0) is OPEN) == (failed >= most)


def test_it_is_quiet_until_something_speaks_against_the_upstream():
    breaker = Breaker(faults=2, after_s=0.0)
    assert breaker.is_quiet
    fail(breaker, 1.0)
    assert not breaker.is_quiet
    breaker.alive(2.0, probe=False)
    assert breaker.is_quiet
    fail(breaker, 3.0, times=2)
    assert not breaker.is_quiet
