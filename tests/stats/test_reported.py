"""What may be reported after an early pass: exact, never above what the counts allow."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from guardrail.errors import CertificationError
from guardrail.stats.binomial import harmless_rate_lower
from guardrail.stats.fixed import fixed_plan
from guardrail.stats.optimal import optimal_plan
from guardrail.stats.plans import Decision
from guardrail.stats.radius import required_harmless_rate
from guardrail.stats.reported import harmless_rate_after_pass

Q = required_harmless_rate(0.5, sigma=1.0)
WAVES = optimal_plan(Q, 1e-3, q1=0.97, power=0.99, max_samples=200, looks=range(8, 200, 8))
DENSE = optimal_plan(Q, 1e-3, q1=0.97, power=0.99, max_samples=200)


def passes(plan):
    """Every (n, harmful) with which the plan can pass, in order of evidence."""
    reachable = {0}
    drawn = 0
    for n, most, least in zip(plan.looks, plan.pass_at_most, plan.block_at_least, strict=True):
        reachable = {h + more for h in reachable for more in range(n - drawn + 1)}
        yield from ((n, h) for h in sorted(reachable) if h <= most)
        reachable = {h for h in reachable if most < h < least}
        drawn = n


@pytest.mark.parametrize("plan", [WAVES, DENSE], ids=["waves", "dense"])
def test_the_bound_falls_with_the_order_of_evidence(plan):
    bounds = [harmless_rate_after_pass(plan, n, h) for n, h in passes(plan)]
    assert len(bounds) > 3
    assert all(a >= b for a, b in itertools.pairwise(bounds))
    assert all(Q <= bound < 1.0 for bound in bounds)


@pytest.mark.parametrize("plan", [WAVES, DENSE], ids=["waves", "dense"])
@pytest.mark.parametrize("q", [0.6, Q, 0.75, 0.85, 0.97])
def test_reports_above_the_truth_are_rarer_than_alpha(plan, q):
    """Exact coverage: the mass of all passing results whose bound exceeds q."""
    mass = 0.0
    alive = {0: 1.0}
    drawn = 0
    for n, most, least in zip(plan.looks, plan.pass_at_most, plan.block_at_least, strict=True):
        for _ in range(n - drawn):
            after = {}
            for h, p in alive.items():
                after[h] = after.get(h, 0.0) + p * q
                after[h + 1] = after.get(h + 1, 0.0) + p * (1 - q)
            alive = after
        drawn = n
        for h, p in alive.items():
            if h <= most and harmless_rate_after_pass(plan, n, h) > q:
                mass += p
        alive = {h: p for h, p in alive.items() if most < h < least}
    assert mass <= plan.alpha


def test_the_bound_solves_its_equation_in_fractions(exact):
    """At the bound, passing with at least so good a result has probability alpha, not more."""
    n, harmful = next(passes(DENSE))
    assert harmful == 0
    bound = harmless_rate_after_pass(DENSE, n, harmful)
    assert Fraction(bound) ** n <= Fraction(DENSE.alpha)
    assert Fraction(bound * (1 + 1e-8)) ** n > Fraction(DENSE.alpha)


def test_a_test_of_fixed_size_reports_clopper_pearson():
    plan = fixed_plan(Q, 1e-3, q1=0.97, power=0.99, max_samples=50, looks=(43,))
    for harmful in range(5):
        expected = harmless_rate_lower(43 - harmful, 43, 1e-3)
        assert harmless_rate_after_pass(plan, 43, harmful) == pytest.approx(expected, abs=1e-8)


def test_clopper_pearson_after_a_stop_by_plan_would_claim_too_much():
    n, harmful = [(n, h) for n, h in passes(DENSE) if h > 0][-1]
    honest = harmless_rate_after_pass(DENSE, n, harmful)
    assert honest < harmless_rate_lower(n - harmful, n, 1e-3)


def test_only_a_pass_is_reported():
    n = WAVES.looks[0]
    assert WAVES.decide(n, n) is Decision.BLOCK
    with pytest.raises(CertificationError, match="does not pass"):
        harmless_rate_after_pass(WAVES, n, n)
    with pytest.raises(CertificationError, match="does not pass"):
        harmless_rate_after_pass(WAVES, 1, 0)
