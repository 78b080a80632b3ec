"""Rates by a clock in the test's hand."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.upstreams.limits.rate import Bucket, TokenBudget


def test_a_full_bucket_gives_its_burst_and_then_refills_evenly():
    bucket = Bucket(60.0, burst=2.0, now=100.0)
    for _ in range(2):
        assert bucket.wait_s(1.0, 100.0) == 0.0
        bucket.take(1.0, 100.0)
    assert bucket.wait_s(1.0, 100.0) == 1.0
    assert bucket.wait_s(1.0, 100.75) == pytest.approx(0.25)
    assert bucket.wait_s(1.0, 101.0) == 0.0


def test_it_holds_no_more_than_its_burst():
    bucket = Bucket(60.0, burst=2.0, now=0.0)
    bucket.take(-50.0, 0.0)
    bucket.take(2.0, 1e6)
    assert bucket.wait_s(1.0, 1e6) == 1.0


def test_more_than_a_bucket_holds_is_let_through_by_a_full_one():
    bucket = Bucket(60.0, burst=2.0, now=0.0)
    assert bucket.wait_s(1000.0, 0.0) == 0.0
    bucket.take(1000.0, 0.0)
    assert bucket.wait_s(1.0, 0.0) == 999.0


@given(
    st.floats(0.1, 1e5),
    st.floats(1.0, 100.0),
    st.lists(st.floats(0, 30), min_size=1, max_size=40),
)
def test_no_stretch_of_time_sees_more_than_burst_and_rate(per_minute, burst, rests):
    bucket, now, taken = Bucket(per_minute, burst=burst, now=0.0), 0.0, []
    for rest in rests:
        now += rest
        now += bucket.wait_s(1.0, now)
        bucket.take(1.0, now)
        taken.append(now)
    for first, last in itertools.combinations_with_replacement(range(len(taken)), 2):
        stretch = taken[last] - taken[first]
        allowed = burst + stretch * per_minute / 60.0
        assert last - first + 1 <= allowed * (1 + 1e-6) + 1e-6


def test_the_first_call_takes_all_tokens_and_gives_back_what_it_did_not_use():
    budget = TokenBudget(600.0, now=0.0)  # ten a second, a burst of a hundred
    assert budget.wait_s(0.0) == 0.0
    reserved = budget.reserve(0.0)
    assert reserved == 100.0
    assert budget.wait_s(0.0) == 10.0  # nobody knows yet what a call costs
    budget.settle(reserved, 20, 0.0)
    assert budget.expected == 20.0
    for _ in range(4):
        assert budget.wait_s(0.0) == 0.0
        budget.reserve(0.0)
    assert budget.wait_s(0.0) == pytest.approx(2.0)


def test_what_a_call_costs_is_learnt_slowly():
    budget = TokenBudget(6e6, now=0.0)
    budget.settle(budget.reserve(0.0), 100, 0.0)
    budget.settle(budget.reserve(0.0), 200, 0.0)
    assert budget.expected == pytest.approx(110.0)


def test_a_costlier_answer_than_expected_is_paid_for_afterwards():
    budget = TokenBudget(600.0, now=0.0)
    budget.settle(budget.reserve(0.0), 10, 0.0)
    budget.settle(budget.reserve(0.0), 200, 0.0)  # 110 overdrawn
    assert budget.wait_s(0.0) == pytest.approx((110.0 + budget.expected) / 10.0)


def test_a_fault_costs_nothing_and_teaches_nothing():
    budget = TokenBudget(600.0, now=0.0)
    budget.settle(budget.reserve(0.0), 0, 0.0)
    assert budget.expected == 100.0
    assert budget.wait_s(0.0) == 0.0


def test_an_unknown_end_costs_what_is_usual():
    budget = TokenBudget(600.0, now=0.0)
    budget.settle(budget.reserve(0.0), 50, 0.0)
    budget.settle(budget.reserve(0.0), None, 0.0)
    assert budget.expected == 50.0
    assert budget.wait_s(0.0) == pytest.approx(5.0)


def test_a_provider_that_never_tells_is_not_limited():
    budget = TokenBudget(600.0, now=0.0)
    for _ in range(100):
        assert budget.wait_s(0.0) == 0.0
        budget.settle(budget.reserve(0.0), None, 0.0)
