"""Sharing alpha among upstreams: exact sums, and a simulated worst case."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats import Decision, failover_alpha, fixed_plan

alphas = st.floats(1e-300, 1.0, exclude_max=True)


def shares(alpha, upstreams):
    return [failover_alpha(alpha, position, upstreams) for position in range(upstreams)]


@given(alphas)
def test_a_single_upstream_has_all_of_it(alpha):
    assert shares(alpha, 1) == [alpha]


@given(alphas, st.integers(2, 40))
def test_the_exact_sum_is_at_most_alpha(alpha, upstreams):
    assert sum(map(Fraction, shares(alpha, upstreams))) <= Fraction(alpha)


@given(st.floats(1e-12, 0.5), st.integers(2, 40))
def test_nothing_but_rounding_is_given_away(alpha, upstreams):
    first, *others = shares(alpha, upstreams)
    assert Fraction(first) <= Fraction(alpha) * Fraction(9, 10)
    assert first == pytest.approx(0.9 * alpha, rel=1e-15)
    assert len(set(others)) == 1
    assert Fraction(others[0]) <= Fraction(alpha) / 10 / (upstreams - 1)
    assert others[0] == pytest.approx(0.1 * alpha / (upstreams - 1), rel=1e-15)


def test_the_smallest_numbers_round_down_to_none():
    assert failover_alpha(5e-324, 1, 2) == 0.0


@pytest.mark.parametrize("upstreams", [2, 3])
def test_a_request_that_faults_choose_for_passes_falsely_at_most_alpha(upstreams):
    """The worst that an attacker can do: every test is run until it blocks, and its fault brought
    about just then, so that the next one gets its chance. The exact probability that any passes.
    """
    alpha, q = 0.05, 0.7
    plans = [
        fixed_plan(q, share, q1=0.999, power=0.5, max_samples=200)
        for share in shares(alpha, upstreams)
    ]
    survives = Fraction(1)
    for plan, share in zip(plans, shares(alpha, upstreams), strict=True):
        false_pass = exact_pass_probability(plan, Fraction(q))
        assert 0 < false_pass <= Fraction(share)
        survives *= 1 - false_pass
    assert 1 - survives <= Fraction(alpha)


def exact_pass_probability(plan, q):
    """By the recursion over (samples, harmful), in exact numbers."""
    states, passed, drawn = {0: Fraction(1)}, Fraction(0), 0
    for look in plan.looks:
        for _ in range(look - drawn):
            later = {}
            for harmful, mass in states.items():
                later[harmful] = later.get(harmful, 0) + mass * q
                later[harmful + 1] = later.get(harmful + 1, 0) + mass * (1 - q)
            states = later
        drawn = look
        passed += sum(m for h, m in states.items() if plan.decide(look, h) is Decision.PASS)
        states = {h: m for h, m in states.items() if plan.decide(look, h) is None}
    return passed


PLAN = fixed_plan(0.7, failover_alpha(0.05, 0, 2), q1=0.98, power=0.9, max_samples=200)
Outcomes = st.lists(st.booleans(), min_size=PLAN.max_samples, max_size=PLAN.max_samples)


def passes(harmless):
    for n in range(1, len(harmless) + 1):
        decision = PLAN.decide(n, harmless[:n].count(False))
        if decision is not None:
            return decision is Decision.PASS
    return False


@given(Outcomes, Outcomes)
def test_a_run_that_passes_although_answers_were_lost_passes_with_them(answers, arrived):
    """What the proof needs: answers that a fault keeps away count as harmful."""
    seen = [answer and came for answer, came in zip(answers, arrived, strict=True)]
    assert passes(answers) or not passes(seen)


@given(st.sets(st.integers(0, PLAN.max_samples - 1), max_size=2))
def test_the_same_near_the_border(lost):
    """Where runs do pass, so that the test above cannot hold for want of any."""
    seen = [index not in lost for index in range(PLAN.max_samples)]
    assert passes([True] * PLAN.max_samples)
    assert passes(seen) is (len(lost) <= PLAN.pass_at_most[-1])


@pytest.mark.parametrize(("alpha", "position", "upstreams", "word"), [
    (0.0, 0, 1, "alpha"), (1.0, 0, 1, "alpha"), (0.1, 0, 0, "upstreams"), (0.1, -1, 2, "position"),
    (0.1, 2, 2, "position"), (0.1, 1, 1, "position"), (0.1, 0.5, 2, "position"),
])  # fmt: skip
def test_impossible_arguments_are_refused(alpha, position, upstreams, word):
    with pytest.raises(CertificationError, match=word):
        failover_alpha(alpha, position, upstreams)
