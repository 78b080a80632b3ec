"""The betting test as a plan: the bettor's boundaries, valid exactly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats.betting import betting_plan
from guardrail.stats.confseq import anytime_lower, log_wealth_above
from guardrail.stats.optimal import optimal_plan
from guardrail.stats.plans import PlanKind
from guardrail.stats.radius import required_harmless_rate

Q = required_harmless_rate(1.0, sigma=1.0)


@pytest.mark.no_cover
@settings(max_examples=30)
@given(
    st.floats(0.2, 0.95),
    st.sampled_from((0.1, 0.01, 1e-6)),
    st.sampled_from((0.1, 0.01)),
    st.integers(1, 120),
)
def test_boundaries_are_where_the_bettor_has_won(q, alpha, block_alpha, longest):
    plan = betting_plan(q, alpha, block_alpha=block_alpha, max_samples=longest)
    need, stop = -math.log(alpha), -math.log(block_alpha)
    rows = list(zip(plan.looks, plan.pass_at_most, plan.block_at_least, strict=True))
    for n, most, least in rows[:-1]:
        if most >= 0:
            assert log_wealth_above(n - most, n, q) >= need
        if most < n:
            assert log_wealth_above(n - most - 1, n, q) < need + 1e-6
        if least <= n:
            assert log_wealth_above(least, n, 1 - q) >= stop
        if least > 0:
            assert log_wealth_above(least - 1, n, 1 - q) < stop + 1e-6


@pytest.mark.parametrize("alpha", [0.05, 1e-3, 1e-6])
def test_ville_keeps_alpha(alpha):
    plan = betting_plan(Q, alpha, block_alpha=0.01, max_samples=1_500)
    assert plan.kind is PlanKind.BETTING
    assert 0.3 * alpha < plan.false_pass_upper <= alpha


def test_it_blocks_good_traffic_seldom():
    plan = betting_plan(Q, 1e-3, block_alpha=0.01, max_samples=1_000)
    assert plan.power_at(0.97) >= 0.99


def test_a_pass_means_that_the_anytime_bound_reached_the_rate():
    plan = betting_plan(Q, 1e-3, block_alpha=0.01, max_samples=300)
    for n, most in zip(plan.looks, plan.pass_at_most, strict=True):
        if most >= 0:
            assert anytime_lower(n - most, n, 1e-3) >= Q - 1e-7


def test_the_optimal_plan_needs_fewer_calls():
    bettor = betting_plan(Q, 1e-3, block_alpha=0.01, max_samples=1_000)
    best = optimal_plan(Q, 1e-3, q1=0.97, power=0.99, max_samples=1_000)
    assert best.expected_calls_at(0.97) < 0.95 * bettor.expected_calls_at(0.97)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"q_required": 1.0}, "q_required"),
        ({"alpha": 0.0}, "alpha"),
        ({"block_alpha": 1.0}, "block_alpha"),
        ({"max_samples": 0}, "max_samples"),
    ],
)
def test_impossible_questions_are_refused(change, word):
    fields = {"q_required": 0.7, "alpha": 0.01, "block_alpha": 0.1, "max_samples": 20}
    with pytest.raises(CertificationError, match=word):
        betting_plan(**(fields | change))
