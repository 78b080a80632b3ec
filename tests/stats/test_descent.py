"""Stages counted, changed and improved, against plans walked from the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.stats.descent import descend, leave
from guardrail.stats.fixed import smallest_fixed
from guardrail.stats.lattice import Lattice
from guardrail.stats.paths import Paths, drop_idle
from guardrail.stats.plans import Walk, _stops
from guardrail.stats.question import PlanQuestion
from guardrail.stats.search import Target, guess_prices
from guardrail.stats.starts import choose_looks, two_stage_tests
from guardrail.stats.traffic import Traffic

Q0, Q1, HORIZON, WIDTH, WEIGHT, PARALLEL = 0.6, 0.95, 40, 12, 3.0, 8
TRAFFIC = Traffic.mixture([(0.95, 0.8), (0.3, 0.2)])
PATHS = Paths(
    Lattice(Q0, Q1, TRAFFIC), horizon=HORIZON, width=WIDTH, weight=WEIGHT, parallel=PARALLEL
)


@st.composite
def rows_of_stages(draw):
    looks = sorted(draw(st.sets(st.integers(1, HORIZON), min_size=1, max_size=6)))
    stages = []
    for look in looks:
        most = draw(st.integers(-1, min(look, WIDTH - 2)))
        stages.append((look, most, draw(st.integers(most + 1, min(look + 1, WIDTH - 1)))))
    look, most, _ = stages[-1]
    return (*stages[:-1], (look, most, most + 1))


def walk(stages, rate):
    rows = list(zip(*stages, strict=True))
    return Walk(rows[0], *_stops(*rows, rate))


def expected_sums(stages):
    """False pass, power and cost by the plan's own recursion, rate by rate."""
    cost = 0.0
    for rate, share in zip(TRAFFIC.rates, TRAFFIC.weights, strict=True):
        here = walk(stages, rate)
        cost += share * (here.expected_calls + WEIGHT * here.expected_rounds(PARALLEL))
    return walk(stages, Q0).power, walk(stages, Q1).power, cost


@settings(max_examples=60)
@given(rows_of_stages())
def test_sums_from_counted_ways(stages):
    assert PATHS.sums(stages) == pytest.approx(expected_sums(stages), rel=1e-9, abs=1e-12)


@settings(max_examples=60)
@given(rows_of_stages(), st.integers(0, 6))
def test_what_has_begun_and_what_follows_make_the_whole(stages, cut):
    cut = min(cut, len(stages))
    begun, ending = PATHS.start, PATHS.end
    for stage in stages[:cut]:
        begun = PATHS.begin(begun, stage)
    for stage in reversed(stages[cut:]):
        ending = PATHS.end_with(stage, ending)
    whole = begun.sums + PATHS.onward(begun.look, ending) @ begun.going
    assert whole == pytest.approx(PATHS.sums(stages), rel=1e-9, abs=1e-12)


@settings(max_examples=60)
@given(rows_of_stages())
def test_idle_stages_decide_nothing(stages):
    kept = drop_idle(stages)
    before, after = PATHS.sums(stages), PATHS.sums(kept)
    assert after[:2] == pytest.approx(before[:2], rel=1e-9, abs=1e-12)
    assert after[2] <= before[2] + 1e-9
    assert drop_idle(kept) == kept
    assert kept[-1][2] == kept[-1][1] + 1


@settings(max_examples=25)
@given(rows_of_stages())
def test_a_descent_costs_no_more_and_keeps_the_target(stages):
    stages = drop_idle(stages)
    false_pass, power, cost = PATHS.sums(stages)
    target = Target(max(false_pass, 1e-6) * 1.05, power * 0.98)
    for end in (descend(PATHS, target, stages, 1), descend(PATHS, target, stages, 30)):
        after = PATHS.sums(end)
        assert after[0] <= target.alpha
        assert after[1] >= target.power
        assert after[2] <= cost + 1e-9
        assert all(0 < look <= HORIZON for look, _, _ in end)


def test_a_descent_ends_where_no_change_saves_anything():
    target = Target(1e-2, 0.95)
    end = descend(PATHS, target, ((40, 9, 10),), 500)
    assert descend(PATHS, target, end, 500) == end
    assert PATHS.sums(end)[2] < 0.7 * PATHS.sums(((40, 9, 10),))[2]


def test_a_detour_leaves_where_a_descent_ends():
    """Found by trying: one stage must go and two others move for the cost to fall."""
    paths = Paths(
        Lattice(0.5117, 0.99, Traffic.at(0.99)), horizon=24, width=7, weight=1.0, parallel=32
    )
    target = Target(0.0008456, 0.99)
    end = descend(paths, target, ((8, -1, 1), (11, 0, 2), (15, 1, 2)), 500)
    better = leave(paths, target, end)
    assert better is not None
    assert paths.sums(better)[2] < paths.sums(end)[2]
    assert paths.sums(better)[0] <= target.alpha
    assert paths.sums(better)[1] >= target.power


def make_question(weight, parallel, max_samples=60):
    return PlanQuestion(
        q_required=0.7,
        alpha=0.01,
        q1=0.97,
        power=0.95,
        max_samples=max_samples,
        looks=None,
        weight=weight,
        parallel=parallel,
        traffic=Traffic.at(0.97),
    )


@pytest.mark.parametrize(("weight", "parallel"), [(1.0, 1), (4.0, 8), (30.0, 2**31)])
def test_chosen_looks_are_looks(weight, parallel):
    question = make_question(weight, parallel)
    row = choose_looks(
        question, question.lattice(), guess_prices(question.target, question.fixed_cost)
    )
    assert row[-1] == question.horizon
    assert row == tuple(sorted(set(row)))
    assert row[0] >= 1


@pytest.mark.parametrize("max_samples", [1_000, 29])
def test_simple_tests_meet_the_target(max_samples):
    question = make_question(4.0, 8, max_samples)
    fixed = smallest_fixed(0.7, 0.01, 0.97, 0.95)
    paths = Paths(
        question.lattice(),
        horizon=question.horizon,
        width=fixed[1] + 4,
        weight=question.weight,
        parallel=question.parallel,
    )
    tests = two_stage_tests(question, paths)
    assert tests[0][0][:2] == fixed
    for stages in tests:
        false_pass, power, _ = paths.sums(stages)
        assert len(stages) <= 2
        assert false_pass <= question.target.alpha
        assert power >= question.target.power
    costs = [paths.sums(stages)[2] for stages in tests[1:]]
    assert costs == sorted(costs)
    assert np.unique([stages[0][0] for stages in tests]).size > 3
