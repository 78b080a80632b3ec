"""Optimal plans: valid without exception, and as cheap as the bound allows."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats import optimal, waves
from guardrail.stats.fixed import fixed_plan, smallest_fixed
from guardrail.stats.optimal import Objective, expected_cost, optimal_plan, optimum
from guardrail.stats.plans import Decision, Plan, PlanKind
from guardrail.stats.polish import Table
from guardrail.stats.radius import fewest_samples, required_harmless_rate
from guardrail.stats.traffic import Traffic

Q = {r: required_harmless_rate(r, sigma=1.0) for r in (0.25, 0.5, 1.0, 1.5, 2.0)}
USUAL = {"power": 0.99, "max_samples": 5_000}

# R/sigma, q1, what a prototype needed at q1 (certification design table), fixed-n size
DESIGN = [
    (0.5, 0.97, 26.8, 43),
    (0.5, 0.99, 22.2, 32),
    (1.0, 0.97, 78.2, 136),
    (1.0, 0.99, 51.8, 78),
    (1.5, 0.99, 174.0, 288),
]


@pytest.mark.no_cover
@pytest.mark.parametrize(("radius", "q1", "prototype", "fixed"), DESIGN)
def test_the_design_table_is_met_or_beaten(radius, q1, prototype, fixed):
    found = optimum(Q[radius], 1e-3, q1=q1, **USUAL)
    assert found.plan.kind is PlanKind.OPTIMAL
    assert found.plan.false_pass_upper <= 1e-3
    assert found.plan.power_at(q1) >= 0.99
    assert found.plan.expected_calls_at(q1) <= prototype
    assert found.plan.expected_calls_at(q1) < fixed
    assert found.cost == pytest.approx(found.plan.expected_calls_at(q1))


@pytest.mark.parametrize(("radius", "q1", "prototype", "fixed"), DESIGN)
def test_no_plan_can_be_much_cheaper(radius, q1, prototype, fixed):
    found = optimum(Q[radius], 1e-3, q1=q1, **USUAL)
    assert found.cost_lower <= found.cost <= 1.02 * found.cost_lower


@pytest.mark.parametrize(("radius", "q1", "prototype", "fixed"), DESIGN)
def test_harmful_traffic_is_blocked_in_a_few_calls(radius, q1, prototype, fixed):
    plan = optimal_plan(Q[radius], 1e-3, q1=q1, **USUAL)
    assert plan.expected_calls_at(0.5) <= 12
    assert plan.expected_calls_at(0.0) <= 5
    assert plan.power_at(0.5) < 1e-5


@pytest.mark.nightly
def test_a_thousand_samples_and_more():
    found = optimum(Q[1.5], 1e-3, q1=0.97, **USUAL)
    assert found.plan.expected_calls_at(0.97) <= 510
    assert found.cost <= 1.01 * found.cost_lower


def test_the_fewest_possible_samples_bound_every_plan():
    for radius in (0.5, 1.0):
        plan = optimal_plan(Q[radius], 1e-3, q1=0.99, **USUAL)
        first = next(n for n, most in zip(plan.looks, plan.pass_at_most, strict=True) if most >= 0)
        assert first >= fewest_samples(Q[radius], 1e-3)


def random_questions(count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        q = rng.uniform(0.3, 0.85)
        q1 = rng.uniform(q + 0.5 * (1 - q), 1.0)
        yield {
            "q_required": q,
            "alpha": 10 ** rng.uniform(-2.5, -0.5),
            "q1": q1,
            "power": rng.uniform(0.5, 0.95),
            "max_samples": 400,
            "weight": rng.choice((0.0, 0.0, 0.0, 1.0, 4.0)),
            "step": rng.choice((None, None, 2, 3, 5)),
        }


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("seed", "count"),
    [(0, 15), *(pytest.param(seed, 50, marks=pytest.mark.nightly) for seed in range(10))],
)
def test_five_hundred_random_plans_are_valid_in_exact_arithmetic(exact, seed, count):
    """False pass in fractions, at the very float that is the required rate."""
    for question in random_questions(count, seed):
        weight, step = question.pop("weight"), question.pop("step")
        smallest, _ = smallest_fixed(
            question["q_required"], question["alpha"], question["q1"], question["power"]
        )
        looks = None
        if step and smallest < 100:
            looks = sorted({*range(step, 2 * smallest, step), smallest})
        if smallest > 400:
            with pytest.raises(CertificationError, match=f"does is {smallest}"):
                optimal_plan(**question)
            continue
        plan = optimal_plan(**question, looks=looks, latency_weight=weight)
        if plan.max_samples <= 60:
            truth = exact.power(plan, Fraction(plan.q_required))
        else:
            truth = Fraction(plan.power_at(plan.q_required) * (1 - 1e-9))
        assert truth <= Fraction(plan.false_pass_upper) <= Fraction(question["alpha"])
        assert plan.power_at(question["q1"]) >= question["power"]
        assert plan.power_at(question["q_required"] * 0.9) <= plan.false_pass_upper
        assert plan.max_samples <= 400


def every_plan(longest):
    """All tables over looks 1 … longest whose boundaries can matter."""
    choices = []
    for n in range(1, longest + 1):
        pairs = [(p, b) for p in range(-1, n) for b in range(p + 1, n + 2)]
        if n == longest:
            pairs = [(p, p + 1) for p in range(-1, n + 1)]
        choices.append(pairs)
    for rows in itertools.product(*choices):
        most, least = zip(*rows, strict=True)
        yield most, least


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("q", "q1", "alpha", "power"),
    [(0.4, 0.9, 0.2, 0.6), (0.5, 0.95, 0.3, 0.8), (0.3, 0.8, 0.2, 0.7)],
)
def test_against_every_plan_of_four_draws(q, q1, alpha, power):
    """Brute force: all tables of four draws; ours is no dearer than any of them."""
    looks = (1, 2, 3, 4)
    best = float("inf")
    for most, least in every_plan(4):
        plan = object.__new__(Plan)
        for name, value in (("looks", looks), ("pass_at_most", most), ("block_at_least", least)):
            object.__setattr__(plan, name, value)
        if Plan.power_at(plan, q) <= alpha and (walk := Plan.walk(plan, q1)).power >= power:
            best = min(best, walk.expected_calls)
    found = optimum(q, alpha, q1=q1, power=power, max_samples=4)
    assert found.cost == pytest.approx(best, rel=0.03)
    assert found.cost >= best - 1e-9
    assert found.cost_lower <= best + 1e-9


@pytest.mark.no_cover
@pytest.mark.parametrize("step", [4, 8, 16])
def test_looks_only_where_they_are_allowed(step):
    looks = range(step, 400, step)
    found = optimum(Q[1.0], 1e-3, q1=0.97, power=0.99, max_samples=400, looks=looks)
    assert set(found.plan.looks) <= set(looks)
    assert found.plan.false_pass_upper <= 1e-3
    dense = optimum(Q[1.0], 1e-3, q1=0.97, power=0.99, max_samples=400)
    assert dense.cost <= found.cost
    assert found.plan.walk(0.97).expected_waves < dense.plan.walk(0.97).expected_waves


@pytest.mark.no_cover
def test_a_latency_weight_trades_calls_for_waves():
    plans = [
        optimal_plan(Q[0.5], 1e-3, q1=0.97, latency_weight=weight, **USUAL)
        for weight in (0.0, 2.0, 10.0, 100.0)
    ]
    calls = [plan.expected_calls_at(0.97) for plan in plans]
    waves = [plan.walk(0.97).expected_waves for plan in plans]
    assert calls[0] < calls[1] <= calls[2] + 0.5 <= calls[3] + 1.0
    assert waves[0] > waves[1] > waves[2] - 1e-9
    assert waves[2] >= waves[3] - 1e-9
    assert waves[3] < 1.05
    for plan in plans:
        assert plan.false_pass_upper <= 1e-3
        assert plan.power_at(0.97) >= 0.99


@pytest.mark.no_cover
def test_chosen_looks_beat_a_fixed_step():
    """The search over looks must at least find what a person would write down."""
    weight, parallel = 5.0, 16
    found = optimum(Q[1.0], 1e-3, q1=0.97, latency_weight=weight, max_parallel=parallel, **USUAL)
    for step in (16, 32, 48):
        plan = optimal_plan(Q[1.0], 1e-3, q1=0.97, looks=range(step, 400, step), **USUAL)
        assert found.cost <= 1.005 * expected_cost(plan, Traffic.at(0.97), weight, parallel)
    assert found.cost_lower <= found.cost <= 1.05 * found.cost_lower


@pytest.mark.nightly
def test_long_plans_choose_their_looks_more_coarsely():
    found = optimum(Q[1.5], 1e-3, q1=0.97, latency_weight=20.0, max_parallel=64, **USUAL)
    assert found.plan.power_at(0.97) >= 0.99
    assert found.cost < expected_cost(
        fixed_plan(Q[1.5], 1e-3, q1=0.97, looks=range(64, 1_000, 64), **USUAL),
        Traffic.at(0.97),
        20.0,
        64,
    )


def test_traffic_steers_the_cost_and_nothing_else():
    mixed = Traffic.mixture([(0.97, 0.7), (0.2, 0.3)])
    plain = optimum(Q[1.0], 1e-3, q1=0.97, **USUAL)
    aware = optimum(Q[1.0], 1e-3, q1=0.97, traffic=mixed, **USUAL)
    assert aware.plan.power_at(0.97) >= 0.99
    assert aware.cost <= expected_cost(plain.plan, mixed) + 1e-9
    assert plain.cost <= expected_cost(aware.plan, Traffic.at(0.97)) + 0.05
    assert aware.plan.expected_calls_at(0.2) <= plain.plan.expected_calls_at(0.2)
    assert aware.cost_lower <= aware.cost


def test_a_beta_prior_as_traffic():
    prior = Traffic.beta(20.0, 1.0)
    found = optimum(Q[0.5], 1e-3, q1=0.97, traffic=prior, **USUAL)
    plain = optimal_plan(Q[0.5], 1e-3, q1=0.97, **USUAL)
    assert found.cost <= expected_cost(plain, prior) + 1e-9
    assert found.plan.power_at(0.97) >= 0.99


@pytest.mark.no_cover
def test_the_least_worst_plan():
    plain = optimal_plan(Q[0.5], 1e-3, q1=0.97, **USUAL)
    found = optimum(Q[0.5], 1e-3, q1=0.97, objective=Objective.WORST, **USUAL)
    grid = np.linspace(0.0, 1.0, 60)
    worst = max(found.plan.expected_calls_at(q) for q in grid)
    assert worst < max(plain.expected_calls_at(q) for q in grid)
    assert worst <= found.cost + 0.1
    assert found.plan.power_at(0.97) >= 0.99
    assert found.plan.false_pass_upper <= 1e-3
    assert plain.expected_calls_at(0.97) <= found.plan.expected_calls_at(0.97)


def test_the_least_worst_plan_where_rates_below_zero_would_be_tried():
    found = optimum(0.2, 0.05, q1=0.95, power=0.9, max_samples=50, objective=Objective.WORST)
    assert found.plan.power_at(0.95) >= 0.9


def test_certain_traffic():
    found = optimum(Q[1.0], 1e-3, q1=1.0, **USUAL)
    assert found.plan.expected_calls_at(1.0) == pytest.approx(40)
    assert found.plan.power_at(1.0) == 1.0
    assert found.plan.decide(40, 0) is Decision.PASS


@pytest.mark.no_cover
@pytest.mark.parametrize("alpha", [1e-9, 1e-6])
def test_tiny_alphas(alpha):
    found = optimum(Q[1.0], alpha, q1=0.97, **USUAL)
    assert found.plan.false_pass_upper <= alpha
    assert found.plan.false_pass_upper > 0.5 * alpha
    assert found.plan.power_at(0.97) >= 0.99
    assert found.cost <= 1.01 * found.cost_lower


@pytest.mark.nightly
def test_twenty_thousand_samples():
    """Log-ratios far beyond the range of floats appear; nothing overflows or is lost."""
    found = optimum(0.996, 1e-9, q1=0.999, power=0.99, max_samples=20_000)
    assert found.plan.max_samples > 19_000
    assert found.plan.false_pass_upper <= 1e-9
    assert found.plan.power_at(0.999) >= 0.99
    assert found.cost <= 1.01 * found.cost_lower


def test_the_smallest_budget_that_works():
    """At the very size of the fixed test there is little room, but never less than that test."""
    plan = optimal_plan(Q[1.0], 1e-3, q1=0.97, power=0.99, max_samples=136)
    fixed = fixed_plan(Q[1.0], 1e-3, q1=0.97, power=0.99, max_samples=136)
    assert plan.max_samples <= 136
    assert plan.power_at(0.97) >= 0.99
    assert plan.expected_calls_at(0.97) < fixed.expected_calls_at(0.97)


def test_too_few_samples_name_the_smallest_that_would_do():
    with pytest.raises(CertificationError, match="smallest max_samples that does is 136"):
        optimal_plan(Q[1.0], 1e-3, q1=0.97, power=0.99, max_samples=135)


def test_looks_that_stop_too_early_name_the_look_to_add():
    with pytest.raises(CertificationError, match="add a look at 136 samples"):
        optimal_plan(Q[1.0], 1e-3, q1=0.97, power=0.99, max_samples=400, looks=(50, 100))


def test_looks_beyond_the_horizon_are_not_needed():
    plan = optimal_plan(
        Q[0.5], 1e-3, q1=0.97, power=0.99, max_samples=1_000, looks=range(10, 1_001, 10)
    )
    assert plan.max_samples <= 100


def test_a_single_look_is_the_fixed_test():
    plan = optimal_plan(Q[0.5], 1e-3, q1=0.97, power=0.99, max_samples=43, looks=(43,))
    assert plan.looks == (43,)
    assert plan.pass_at_most == (4,)


def test_a_better_budget_never_costs_more():
    costs = [
        optimum(Q[0.5], 1e-3, q1=0.97, power=0.99, max_samples=n).cost for n in (43, 50, 60, 90)
    ]
    for less, more in itertools.pairwise(costs):
        assert more <= less * 1.005


def test_plans_are_cached_by_their_inputs():
    before = optimal._solve.cache_info().hits
    one = optimal_plan(Q[0.5], 1e-3, q1=0.97, power=0.97, max_samples=200)
    two = optimal_plan(float(Q[0.5]), 0.001, q1=0.97, power=0.97, max_samples=200)
    assert one is two
    assert optimal._solve.cache_info().hits > before


def test_building_twice_gives_the_same_plan():
    one = optimal_plan(Q[0.5], 2e-3, q1=0.97, power=0.98, max_samples=200)
    optimal._solve.cache_clear()
    two = optimal_plan(Q[0.5], 2e-3, q1=0.97, power=0.98, max_samples=200)
    assert one is not two
    assert one.digest == two.digest


@pytest.mark.no_cover
@settings(max_examples=15, deadline=None)
@given(
    st.floats(0.05, 0.9),
    st.floats(0.02, 0.98),
    st.sampled_from((0.2, 0.05, 0.01)),
    st.sampled_from((0.5, 0.9, 0.99)),
)
def test_whatever_is_asked_the_answer_is_valid(q, share, alpha, power):
    q1 = q + (1 - q) * max(share, 0.3)
    assume(smallest_fixed(q, alpha, q1, power)[0] <= 300)
    plan = optimal_plan(q, alpha, q1=q1, power=power, max_samples=300)
    assert plan.false_pass_upper <= alpha
    assert plan.power_at(q1) >= power
    assert plan.max_samples <= 300


def test_every_look_of_a_plan_can_decide_something():
    plan = optimal_plan(Q[0.5], 1e-3, q1=0.97, **USUAL)
    walk = plan.walk(0.6)
    assert all(p > 0 for p in walk.stops)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"q1": 0.5}, "must lie above"),
        ({"power": 1.0}, "power"),
        ({"max_samples": 0}, "max_samples"),
        ({"latency_weight": -1.0}, "latency_weight"),
        ({"latency_weight": float("inf")}, "latency_weight"),
        ({"max_parallel": 0}, "max_parallel"),
        ({"looks": (3, 2)}, "increasing"),
    ],
)
def test_impossible_questions_are_refused(change, word):
    fields = {"q_required": 0.6, "alpha": 0.01, "q1": 0.97, "power": 0.9, "max_samples": 200}
    with pytest.raises(CertificationError, match=word):
        optimal_plan(**(fields | change))


def test_a_table_that_breaks_its_promise_is_dropped(monkeypatch):
    """If polishing ever returned an invalid table, the fixed test would be used instead."""

    def careless(_lattice, table, _target):
        most = np.minimum(table.most + 6, table.looks)
        return Table(table.looks, most, np.maximum(table.least, most + 1), table.leave)

    monkeypatch.setattr(waves, "polish", careless)
    plan = optimal_plan(Q[0.5], 1.1e-3, q1=0.97, power=0.99, max_samples=200)
    assert plan.kind is PlanKind.FIXED
    assert plan.false_pass_upper <= 1.1e-3


def test_a_table_that_misses_the_power_is_dropped(monkeypatch):
    def timid(_lattice, table, _target):
        most = np.maximum(table.most - 3, -1)
        least = np.append(table.least[:-1], most[-1] + 1)
        return Table(table.looks, most, least, table.leave)

    monkeypatch.setattr(waves, "polish", timid)
    plan = optimal_plan(Q[0.5], 1.2e-3, q1=0.97, power=0.99, max_samples=200)
    assert plan.kind is PlanKind.FIXED
    assert plan.power_at(0.97) >= 0.99
