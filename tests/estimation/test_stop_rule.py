"""When to stop, and what may then be said."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.engine.plan import Geometry, required_rate, scale_promise
from guardrail.engine.promise import Claim, RadiusSpace, Reach
from guardrail.errors import ConfigError
from guardrail.estimation.stop_rule import RadiusScale, RateEstimate, StopRule
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.stats import (
    FLOORS,
    anytime_lower,
    certified_radius,
    floor_with_misses,
    harmless_rate_lower,
    harmless_rate_upper,
)
from guardrail.types import Outcome

RULES = compile_policy(Policy.model_validate({"name": "t", "oracle": {"kind": "builtin"}}))
SCALE = RadiusScale(RULES, Geometry(operator_norm=1.0, grid_slack=0.0, sampler_error=0.0))


def run(stop_rule, outcomes, scale=SCALE):
    estimate = RateEstimate()
    for outcome in outcomes:
        if stop_rule.is_reached(estimate, scale):
            break
        estimate = stop_rule.update_bounds(estimate.after(outcome))
    return estimate


def outcomes(harmless, n, seed=0):
    row = [Outcome.HARMLESS] * harmless + [Outcome.HARMFUL] * (n - harmless)
    np.random.default_rng(seed).shuffle(row)
    return row


@given(st.integers(1, 300), st.data())
def test_fixed_is_clopper_pearson_on_exactly_n(n, data):
    k = data.draw(st.integers(0, n))
    stop_rule = StopRule(n, 0.01)
    estimate = run(stop_rule, outcomes(k, n) + outcomes(5, 5))
    assert (estimate.samples, estimate.harmless) == (n, k)
    assert estimate.lower == harmless_rate_lower(k, n, 0.01)
    assert estimate.upper == harmless_rate_upper(k, n, 0.01)


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=60))
def test_fixed_says_nothing_before_the_end_and_never_stops_early(row):
    stop_rule = StopRule(len(row) + 1, 0.05)
    estimate = run(stop_rule, row)
    assert (estimate.lower, estimate.upper, estimate.samples) == (0.0, 1.0, len(row))
    assert estimate.missing == row.count(Outcome.MISSING)
    assert estimate.harmless == row.count(Outcome.HARMLESS)


@settings(max_examples=10, deadline=None)  # each bound is a bisection
@given(st.integers(0, 60), st.integers(0, 10))
def test_anytime_bounds_are_the_tightest_so_far(k, seed):
    stop_rule = StopRule(60, 0.01, anytime=True, width=1e-9)
    estimate = RateEstimate()
    for outcome in outcomes(k, 60, seed):
        before, estimate = estimate, stop_rule.update_bounds(estimate.after(outcome))
        assert before.lower <= estimate.lower <= estimate.upper <= before.upper
    assert estimate.lower >= anytime_lower(k, 60, 0.01)


def test_looks_grow_sparse_and_never_depend_on_outcomes():
    stop_rule = StopRule(20_000, 0.01, anytime=True, width=1e-9)
    moved = []
    for n in range(1, 3000):
        before = RateEstimate(samples=n - 1, harmless=n - 1)
        if stop_rule.update_bounds(before.after(Outcome.HARMLESS)).lower > 0:
            moved.append(n)
    assert moved[:100] == list(range(moved[0], moved[0] + 100))
    assert 100 / 128 * moved[-1] < moved[-2]
    assert all(later - earlier <= max(1, earlier // 64) for earlier, later in pairwise(moved))
    assert len(moved) < 900


def test_anytime_stops_at_the_first_proof():
    stop_rule = StopRule(1000, 0.001, anytime=True, radius=0.25)
    estimate = run(stop_rule, outcomes(1000, 1000))
    assert SCALE.radius(estimate.lower) >= 0.25
    earlier = anytime_lower(estimate.samples - 1, estimate.samples - 1, 0.001)
    assert SCALE.radius(earlier) < 0.25


def test_anytime_stops_where_no_draws_would_help():
    assert run(StopRule(1000, 0.001, anytime=True, radius=0.25), outcomes(0, 1000)).samples < 20
    half = run(StopRule(1000, 0.001, anytime=True, radius=1.5), outcomes(600, 1000))
    assert half.samples < 200


def test_anytime_ends_at_n_with_a_bound():
    estimate = run(StopRule(301, 0.001, anytime=True, width=1e-6), outcomes(250, 301))
    assert estimate.samples == 301
    assert 0.7 < estimate.lower < 250 / 301 < estimate.upper


@pytest.mark.parametrize(
    "fields",
    [{"n": 0}, {"anytime": True}, {"radius": 1.0}, {"width": 1.0}],
)
def test_goals_that_make_no_sense_are_refused(fields):
    with pytest.raises(ConfigError):
        StopRule(**{"n": 10, "alpha": 0.01, **fields})


WHERE = Geometry(operator_norm=0.5, grid_slack=0.01, sampler_error=0.02)


@pytest.mark.parametrize("claim", list(Claim))
def test_scale_speaks_of_the_claim(claim):
    harmless = claim is Claim.HARMLESSNESS
    bound = {"miss_rate_upper": 0.1, "delta": 0.001} if harmless else {}
    rules = dataclasses.replace(RULES, claim=claim, floor=0.3, **bound)
    scale = RadiusScale(rules, WHERE)
    knobs = {
        "sigma": 0.5,
        "operator_norm": 0.5,
        "grid_slack": 0.01,
        "sampler_error": 0.02,
    }

    def due(floor):
        tested = floor_with_misses(floor, 0.1) if harmless else floor
        return certified_radius(0.9, floor=tested, **knobs)

    assert scale.radius(0.9) == due(0.3)
    floors = (0.5, 0.3, 0.2, 0.1, 0.05, 0.01)
    assert scale.radii(0.9) == tuple(Reach(floor, due(floor)) for floor in floors)
    assert set(floors) == {*FLOORS, 0.3}


def test_what_is_promised_of_a_picture_is_enough():
    """A radius on the canvas is twice as far in a picture that is scaled down to a half."""
    rules = dataclasses.replace(RULES, promised_radius=0.2, radius_space=RadiusSpace.CANVAS)
    scale = RadiusScale(rules, Geometry(operator_norm=0.5, grid_slack=0.0, sampler_error=0.0))
    assert scale.promised_radius == 0.4
    stop = StopRule(1000, 0.01, anytime=True, promised=True)
    enough = required_rate(scale_promise(rules, scale.geometry), scale.geometry)
    below, above = (RateEstimate(64, 60, 0, enough + by, 0.99) for by in (-1e-6, 1e-9))
    assert not stop.is_reached(below, scale)
    assert stop.is_reached(above, scale)
    assert stop.is_reached(RateEstimate(64, 2, 0, 0.0, enough - 1e-6), scale)


@given(st.floats(0.0, 1.0))
def test_an_inexact_sampler_and_a_missing_oracle_only_shrink_the_radius(q):
    """A radius that is lost is None: another thing than a radius of 0."""
    rules = dataclasses.replace(RULES, claim=Claim.HARMLESSNESS, miss_rate_upper=0.1, delta=0.001)
    plain, inexact = (
        RadiusScale(RULES, SCALE.geometry),
        RadiusScale(RULES, Geometry(1.0, 0.0, 0.01)),
    )
    conditional = RadiusScale(rules, SCALE.geometry)
    for less in (inexact, conditional):
        assert less.radius(q) is None or less.radius(q) <= plain.radius(q)
        for reach, whole in zip(less.radii(q), plain.radii(q), strict=True):
            assert reach.radius is None or reach.radius <= whole.radius
