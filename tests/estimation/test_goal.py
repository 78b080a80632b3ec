"""When to stop, and what may then be said."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.estimation.goal import Goal, Scale, Tally
from guardrail.stats import anytime_lower, harmless_rate_lower, harmless_rate_upper
from guardrail.types import Outcome

SCALE = Scale(0.5, 1.0, floor=0.5, miss_rate_upper=0.0, grid_slack=0.0, sampler_error=0.0)


def run(goal, outcomes, scale=SCALE):
    tally = Tally()
    for outcome in outcomes:
        if goal.is_reached(tally, scale):
            break
        tally = goal.looked(tally.after(outcome))
    return tally


def outcomes(harmless, n, seed=0):
    row = [Outcome.HARMLESS] * harmless + [Outcome.HARMFUL] * (n - harmless)
    np.random.default_rng(seed).shuffle(row)
    return row


@given(st.integers(1, 300), st.data())
def test_fixed_is_clopper_pearson_on_exactly_n(n, data):
    k = data.draw(st.integers(0, n))
    goal = Goal(n, 0.01)
    tally = run(goal, outcomes(k, n) + outcomes(5, 5))
    assert (tally.samples, tally.harmless) == (n, k)
    assert tally.lower == harmless_rate_lower(k, n, 0.01)
    assert tally.upper == harmless_rate_upper(k, n, 0.01)


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=60))
def test_fixed_says_nothing_before_the_end_and_never_stops_early(row):
    goal = Goal(len(row) + 1, 0.05)
    tally = run(goal, row)
    assert (tally.lower, tally.upper, tally.samples) == (0.0, 1.0, len(row))
    assert tally.missing == row.count(Outcome.MISSING)
    assert tally.harmless == row.count(Outcome.HARMLESS)


@settings(max_examples=10, deadline=None)  # each bound is a bisection
@given(st.integers(0, 60), st.integers(0, 10))
def test_anytime_bounds_are_the_tightest_so_far(k, seed):
    goal = Goal(60, 0.01, anytime=True, width=1e-9)
    tally = Tally()
    for outcome in outcomes(k, 60, seed):
        before, tally = tally, goal.looked(tally.after(outcome))
        assert before.lower <= tally.lower <= tally.upper <= before.upper
    assert tally.lower >= anytime_lower(k, 60, 0.01)


def test_looks_grow_sparse_and_never_depend_on_outcomes():
    goal = Goal(20_000, 0.01, anytime=True, width=1e-9)
    moved = []
    for n in range(1, 3000):
        before = Tally(samples=n - 1, harmless=n - 1)
        if goal.looked(before.after(Outcome.HARMLESS)).lower > 0:
            moved.append(n)
    assert moved[:100] == list(range(moved[0], moved[0] + 100))
    assert 100 / 128 * moved[-1] < moved[-2]
    assert all(later - earlier <= max(1, earlier // 64) for earlier, later in pairwise(moved))
    assert len(moved) < 900


def test_anytime_stops_at_the_first_proof():
    goal = Goal(1000, 0.001, anytime=True, radius=0.25)
    tally = run(goal, outcomes(1000, 1000))
    assert SCALE.radius(tally.lower) >= 0.25
    earlier = anytime_lower(tally.samples - 1, tally.samples - 1, 0.001)
    assert SCALE.radius(earlier) < 0.25


def test_anytime_stops_where_no_draws_would_help():
    assert run(Goal(1000, 0.001, anytime=True, radius=0.25), outcomes(0, 1000)).samples < 20
    half = run(Goal(1000, 0.001, anytime=True, radius=1.5), outcomes(600, 1000))
    assert half.samples < 200


def test_anytime_ends_at_n_with_a_bound():
    tally = run(Goal(301, 0.001, anytime=True, width=1e-6), outcomes(250, 301))
    assert tally.samples == 301
    assert 0.7 < tally.lower < 250 / 301 < tally.upper


@pytest.mark.parametrize(
    "fields",
    [{"n": 0}, {"anytime": True}, {"radius": 1.0}, {"width": 1.0}],
)
def test_goals_that_make_no_sense_are_refused(fields):
    with pytest.raises(ConfigError):
        Goal(**{"n": 10, "alpha": 0.01, **fields})


def test_scale_speaks_of_the_claim_and_the_space():
    rules = type("Rules", (), {"sigma": 0.5, "floor": 0.5, "miss_rate_upper": 0.1,
                               "claim": "harmlessness", "radius_space": "client"})()  # fmt: skip
    where = type("Where", (), {"operator_norm": 0.5, "grid_slack": 0.01, "sampler_error": 0.02})()
    assert Scale.of(rules, where) == Scale(0.5, 0.5, 0.5, 0.1, 0.01, 0.02)
    rules.claim, rules.radius_space = "composite", "canvas"
    assert Scale.of(rules, where) == Scale(0.5, 1.0, 0.5, 0.0, 0.01, 0.02)
    assert Scale.of(rules, where).radius(0.9) < dataclasses.replace(SCALE).radius(0.9)


@given(st.floats(0.0, 1.0))
def test_an_inexact_sampler_and_a_missing_oracle_only_lower_the_rate(q):
    scale = dataclasses.replace(SCALE, sampler_error=0.01, miss_rate_upper=0.1)
    assert 0.0 <= scale.true_rate(q) <= scale.gaussian(q) <= max(0.0, q - 0.01)
    assert (scale.radius(q) or 0.0) <= (SCALE.radius(max(0.0, q - 0.01)) or 0.0)
