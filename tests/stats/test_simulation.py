"""Plans played with random outcomes: counts agree with the exact values.

The thresholds leave a chance of 1e-9 for a false alarm, from the exact binomial law, and the
seeds are fixed.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from guardrail.stats.fixed import fixed_plan
from guardrail.stats.optimal import optimal_plan
from guardrail.stats.plans import Decision
from guardrail.stats.radius import certified_radius, required_harmless_rate
from guardrail.stats.reported import harmless_rate_after_pass

RUNS = 20_000
FALSE_ALARM = 1e-9
Q = required_harmless_rate(0.5, sigma=1.0)
PLANS = {
    "dense": optimal_plan(Q, 0.02, q1=0.97, power=0.95, max_samples=200),
    "waves": optimal_plan(Q, 0.02, q1=0.97, power=0.95, max_samples=200, looks=range(8, 200, 8)),
    "fixed": fixed_plan(Q, 0.02, q1=0.97, power=0.95, max_samples=200),
}


def played(plan, outcomes):
    """Verdicts and samples used for many runs, shape (runs, max_samples), by `decide` itself."""
    harmful = np.cumsum(~outcomes, axis=1)
    verdicts = np.full(len(outcomes), None, dtype=object)
    used = np.zeros(len(outcomes), dtype=int)
    for n in plan.looks:
        for h in np.unique(harmful[:, n - 1]):
            verdict = plan.decide(n, int(h))
            here = (harmful[:, n - 1] == h) & (used == 0)
            if verdict is not None:
                verdicts[here] = verdict
                used[here] = n
    return verdicts, used


def agrees(count, probability):
    low, high = stats.binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], RUNS, probability)
    return low <= count <= high


@pytest.mark.parametrize("name", list(PLANS))
@pytest.mark.parametrize("q", [Q, 0.5, 0.97])
def test_passes_in_twenty_thousand_runs(name, q):
    plan = PLANS[name]
    rng = np.random.default_rng(7)
    verdicts, used = played(plan, rng.random((RUNS, plan.max_samples)) < q)
    passes = int(np.sum(verdicts == Decision.PASS))
    assert agrees(passes, plan.power_at(q))
    assert used.min() >= plan.looks[0]
    spread = used.std() / np.sqrt(RUNS)
    assert abs(used.mean() - plan.expected_calls_at(q)) <= 7 * spread + 1e-9
    if q == Q:
        assert passes <= stats.binom.ppf(1 - FALSE_ALARM, RUNS, 0.02)


@pytest.mark.parametrize("name", list(PLANS))
def test_a_half_space_at_a_known_distance(name):
    """The smoothed verdict's true radius is known: reported radii exceed it at most alpha often.

    In d dimensions with noise sigma, a half-space at distance D has p = Φ(D/sigma), and moving
    by D reaches p = ½ exactly.
    """
    plan, sigma, distance = PLANS[name], 0.5, 0.2
    direction = np.full(16, 0.25)
    rng = np.random.default_rng(11)
    noise = rng.standard_normal((RUNS // 4, plan.max_samples, 16)).astype(np.float32)
    inside = distance + sigma * noise @ direction.astype(np.float32) > 0
    verdicts, used = played(plan, inside)
    harmful = np.cumsum(~inside, axis=1)
    wrong = 0
    for i in np.flatnonzero(verdicts == Decision.PASS):
        lower = harmless_rate_after_pass(plan, int(used[i]), int(harmful[i, used[i] - 1]))
        wrong += certified_radius(lower, sigma=sigma) > distance
    assert wrong <= stats.binom.ppf(1 - FALSE_ALARM, RUNS // 4, plan.alpha)
    expected = plan.power_at(float(stats.norm.cdf(distance / sigma)))
    low, high = stats.binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], RUNS // 4, expected)
    assert low <= np.sum(verdicts == Decision.PASS) <= high


def test_the_order_of_arrival_would_bias_the_verdict():
    """Why outcomes are taken by index: quick refusals first makes a bad rate look good."""
    plan = PLANS["dense"]
    rng = np.random.default_rng(5)
    outcomes = rng.random((RUNS, plan.max_samples)) < 0.5
    in_order, _ = played(plan, outcomes)
    by_arrival, _ = played(plan, -np.sort(-outcomes.astype(int), axis=1) > 0)
    assert np.sum(in_order == Decision.PASS) <= stats.binom.ppf(1 - FALSE_ALARM, RUNS, plan.alpha)
    assert np.mean(by_arrival == Decision.PASS) > 0.9
