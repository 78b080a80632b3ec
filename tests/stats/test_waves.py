"""Tests whose looks are free: no valid plan at hand beats the one that is returned."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from guardrail.stats.optimal import optimal_plan, optimum

WEIGHT, PARALLEL, POWER = 4.0, 32, 0.99
RATES = (0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
REQUIRED = (0.37, 0.5, 0.6915, 0.8)
TRIES = (1, 2, 3, 4, 6, 8, 16, 64)
# No plan made for another rate is cheaper by more than this share.
TOLERANCE = 0.001


def spent(alpha, tries):
    """Alpha of the try, as decisions that spend it have it."""
    return 6.0 * alpha / (math.pi * tries) ** 2


def build(q_required, alpha, q1):
    return optimal_plan(
        q_required,
        alpha,
        q1=q1,
        power=POWER,
        max_samples=10_000,
        latency_weight=WEIGHT,
        max_parallel=PARALLEL,
    )


def check_against_other_rates(q_required, alpha):
    """Every plan made for one rate, with the power at another, against the plan made for that."""
    plans = {rate: build(q_required, alpha, rate) for rate in RATES}
    for rate, other in itertools.permutations(RATES, 2):
        mine, theirs = plans[rate].walk(rate), plans[other].walk(rate)
        if theirs.power < POWER:
            continue
        calls = mine.expected_calls, theirs.expected_calls
        rounds = mine.expected_rounds(PARALLEL), theirs.expected_rounds(PARALLEL)
        costs = [c + WEIGHT * r for c, r in zip(calls, rounds, strict=True)]
        assert costs[0] <= (1.0 + TOLERANCE) * costs[1], (rate, other)
        dominated = all(a > b + 1e-9 for a, b in (calls, rounds))
        assert not dominated, (rate, other)


@pytest.mark.parametrize("tries", [1, 8])
@pytest.mark.parametrize("q_required", REQUIRED[:3])
def test_no_plan_for_another_rate_is_cheaper(q_required, tries):
    check_against_other_rates(q_required, spent(1e-3, tries))


@pytest.mark.nightly
@pytest.mark.parametrize("tries", TRIES)
@pytest.mark.parametrize("alpha", [1e-3, 1e-4])
@pytest.mark.parametrize("q_required", REQUIRED)
def test_no_plan_for_another_rate_is_cheaper_anywhere(q_required, alpha, tries):
    check_against_other_rates(q_required, spent(alpha, tries))


class BruteForce:
    """The least cost of all tests of at most three looks within `longest` draws.

    Written from the definition: probabilities are sums over waves of binomial steps. A branch is
    left where alpha is spent, the power is out of reach, or the cost is already above the best.
    """

    def __init__(self, q_required, alpha, q1, power, longest, weight, parallel):
        self.alpha, self.power, self.longest = alpha, power, longest
        self.wave = [m + weight * math.ceil(m / parallel) for m in range(longest + 1)]
        counts = np.arange(stats.binom.ppf(alpha, longest, 1.0 - q_required) + 3)
        harmful = counts[None, :] - counts[:, None]
        draws = np.arange(longest + 1)[:, None, None]
        self.steps = [stats.binom.pmf(harmful, draws, 1.0 - q) for q in (q_required, q1)]
        self.states = counts.size
        self.best = math.inf
        start = np.eye(1, self.states)[0]
        self.go_on(0, (start, start), (0.0, 0.0), 0.0, looks=3)

    def go_on(self, n, alive, passed, cost, looks):
        reach = alive[1].sum() if n else 1.0
        for m in range(1, self.longest - n + 1):
            more = cost + reach * self.wave[m]
            if more >= self.best:
                return
            here = [a @ step[m] for a, step in zip(alive, self.steps, strict=True)]
            sums = [p + np.cumsum(h) for p, h in zip(passed, here, strict=True)]
            if ((sums[0] <= self.alpha) & (sums[1] >= self.power)).any():
                self.best = more
            elif looks > 1:
                self.decide(n + m, here, passed, more, looks - 1)

    def decide(self, n, here, passed, cost, looks):
        for most in range(-1, self.states - 1):
            now = [p + h[: most + 1].sum() for p, h in zip(passed, here, strict=True)]
            if now[0] > self.alpha:
                return
            for least in range(most + 2, self.states + 1):
                going = [
                    np.where(
                        (np.arange(self.states) > most) & (np.arange(self.states) < least), h, 0.0
                    )
                    for h in here
                ]
                if now[1] + going[1].sum() >= self.power:
                    self.go_on(n, going, now, cost, looks)


@pytest.mark.parametrize(
    ("q_required", "alpha", "q1", "power", "weight", "parallel"),
    [
        (0.37, 1e-3, 0.98, 0.99, 4.0, 32),
        (0.37, 1e-3, 0.95, 0.9, 2.0, 8),
        (0.5, 1e-2, 0.97, 0.95, 1.0, 4),
        (0.25, 1e-4, 0.99, 0.999, 4.0, 32),
        (0.6, 0.05, 0.95, 0.9, 8.0, 6),
    ],
)
def test_all_tests_of_three_looks_cost_as_much(q_required, alpha, q1, power, weight, parallel):
    found = optimum(
        q_required,
        alpha,
        q1=q1,
        power=power,
        max_samples=24,
        latency_weight=weight,
        max_parallel=parallel,
    )
    brute = BruteForce(q_required, alpha, q1, power, 24, weight, parallel).best
    assert found.cost <= brute * (1.0 + 1e-9)
    if len(found.plan.looks) <= 3:
        assert found.cost == pytest.approx(brute)
