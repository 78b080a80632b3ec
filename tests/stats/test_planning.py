"""The forecast that `guardrail plan` prints."""

from __future__ import annotations

import json

import pytest
from scipy import stats

from guardrail.errors import CertificationError
from guardrail.stats.fixed import fixed_plan
from guardrail.stats.laws import Prior
from guardrail.stats.optimal import optimal_plan
from guardrail.stats.planning import (
    CONVENTIONS,
    LAW_SIZES,
    RADII,
    PlanScenario,
    calls_curve,
    forecast,
    forecast_fixed,
    forecast_plan,
)
from guardrail.stats.radius import (
    FLOORS,
    certified_radius,
    fewest_samples,
    floor_with_misses,
    required_harmless_rate,
)

SCENARIO = PlanScenario(
    sigma=0.25,
    radius=0.25,
    alpha=1e-3,
    max_samples=400,
    price_per_call_usd=0.002,
    latency_s=0.8,
)


@pytest.fixture(scope="module")
def found():
    return forecast(SCENARIO)


@pytest.mark.no_cover
def test_the_headline_numbers(found):
    assert found.q_required == required_harmless_rate(0.25, sigma=0.25)
    assert found.fewest_samples == 40
    assert found.unanimous_radius_in_sigmas == pytest.approx(2.1172, abs=1e-3)
    assert found.fixed_n.n == 136
    assert found.fixed_n.max_harmful == 9
    assert found.optimal.expected_calls_at_harmless_rate < 78
    assert found.optimal.expected_calls_harmful < 5


def test_methods_in_order_of_cost(found):
    calls = [
        row.expected_calls_at_harmless_rate
        for row in (found.optimal, found.betting, found.fixed_n, found.fixed_n_plain)
    ]
    assert calls == sorted(calls)


@pytest.mark.parametrize("name", ["optimal", "fixed_n", "fixed_n_plain", "betting"])
def test_every_method_keeps_alpha_and_power(found, name):
    row = getattr(found, name)
    assert row.false_pass <= SCENARIO.alpha
    assert row.power >= 0.99
    assert row.passes_harmful < 1e-9
    assert row.calls_p50 <= row.calls_p95 <= row.calls_p99 <= row.max_samples
    assert row.n == row.max_samples


def test_cost_and_latency_follow_the_calls(found):
    row = found.optimal
    assert row.cost_usd == pytest.approx(0.002 * row.expected_calls_at_harmless_rate)
    assert row.cost_harmful_usd == pytest.approx(0.002 * row.expected_calls_harmful)
    assert row.latency_s == pytest.approx(0.8 * row.expected_calls_at_harmless_rate)
    assert row.latency_harmful_s == pytest.approx(0.8 * row.expected_calls_harmful)


def test_the_json_holds_what_is_promised(found):
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["q_required"] == found.q_required
    assert plain["fewest_samples"] == 40
    for name in (
        "max_samples",
        "false_pass",
        "power",
        "expected_calls_at_harmless_rate",
        "expected_calls_harmful",
    ):
        assert plain["optimal"][name] == getattr(found.optimal, name)
    assert (plain["fixed_n"]["n"], plain["fixed_n"]["max_harmful"]) == (136, 9)
    assert plain["betting"]["expected_calls_at_harmless_rate"] > 0
    assert set(plain["conventions"]) == {"1000", "100000"}
    assert [law["n"] for law in plain["laws"]] == list(LAW_SIZES)
    assert plain["scenario"]["sigma"] == 0.25


def test_the_conventions_of_the_literature(found):
    for n in CONVENTIONS:
        row = found.conventions[n]
        assert row.expected_calls_at_harmless_rate == row.expected_calls_harmful == n
        bad = 1 - found.q_required
        assert stats.binom.cdf(row.max_harmful, n, bad) <= 1e-3
        assert stats.binom.cdf(row.max_harmful + 1, n, bad) > 1e-3
        assert row.false_pass == pytest.approx(stats.binom.cdf(row.max_harmful, n, bad), rel=1e-8)


def test_the_laws_are_at_the_policy_radius(found):
    assert found.laws[0].pass_rate == 0.0, "25 samples cannot prove R = sigma"
    assert found.laws[3].pass_rate > 0.1


@pytest.mark.no_cover
def test_parallel_calls_shorten_the_wait_and_cost_a_little():
    alone = forecast(SCENARIO)
    wide = forecast(PlanScenario(**(fields(SCENARIO) | {"parallel": 16})))
    assert wide.optimal.latency_s < alone.optimal.latency_s / 8
    assert (
        alone.optimal.expected_calls_at_harmless_rate
        < wide.optimal.expected_calls_at_harmless_rate
        < 1.25 * alone.optimal.expected_calls_at_harmless_rate
    )
    assert wide.fixed_n_plain.latency_s == pytest.approx(0.8 * 9)


def test_a_latency_weight_lets_looks_be_chosen():
    wide = forecast(PlanScenario(**(fields(SCENARIO) | {"parallel": 8, "latency_weight": 30.0})))
    assert wide.scenario.looks is None
    assert wide.optimal.power >= 0.99


def fields(scenario):
    return {name: getattr(scenario, name) for name in scenario.__slots__}


def test_looks_are_whole_rounds():
    scenario = PlanScenario(sigma=1.0, radius=0.5, alpha=0.01, parallel=8, max_samples=30)
    assert scenario.looks == (8, 16, 24, 30)
    assert SCENARIO.looks is None


HARD = PlanScenario(
    sigma=0.5,
    radius=1.0,
    alpha=0.01,
    operator_norm=0.5,
    floor=0.6,
    miss_rate_upper=0.05,
    grid_slack=0.01,
    sampler_error=1e-3,
)
HARD_KNOBS = {"sigma": 0.5, "operator_norm": 0.5, "grid_slack": 0.01, "sampler_error": 1e-3}


def test_norm_floor_slack_misses_and_sampler_error_enter_the_required_rate():
    raised = floor_with_misses(0.6, 0.05)
    assert HARD.q_required == required_harmless_rate(1.0, floor=raised, **HARD_KNOBS)
    for plain in ({"operator_norm": 0.4}, {"grid_slack": 0.0}, {"sampler_error": 0.0},
                  {"floor": 0.5}, {"miss_rate_upper": 0.0}):  # fmt: skip
        assert PlanScenario(**{**fields(HARD), **plain}).q_required < HARD.q_required


def test_what_is_promised_is_read_off_the_required_rate(found):
    """One rate gives all radii; it holds the sampler's error, which is subtracted once."""
    for scenario in (SCENARIO, HARD):
        promised = scenario.list_promised()
        assert [row.floor for row in promised] == list(FLOORS)
        for row in promised:
            tested = floor_with_misses(row.floor, scenario.miss_rate_upper)
            knobs = HARD_KNOBS if scenario is HARD else {"sigma": 0.25}
            due = certified_radius(scenario.q_required, floor=tested, **knobs)
            assert row.radius == due
    assert found.promised == SCENARIO.list_promised()
    assert found.promised[0].radius == pytest.approx(0.25, abs=1e-12)


def test_a_low_floor_promises_nothing_at_a_higher_one():
    low = PlanScenario(sigma=0.5, radius=0.1, alpha=0.01, floor=0.1)
    radii = {row.floor: row.radius for row in low.list_promised()}
    assert radii[0.5] is radii[0.2] is None
    assert radii[0.1] == pytest.approx(0.1, abs=1e-12)
    assert radii[0.01] > radii[0.05] > radii[0.1]


def test_the_other_way_round_from_reach_to_draws(found):
    needs = {(row.radius, row.floor): row.fewest_samples for row in found.fewest_by_reach}
    assert len(needs) == len(RADII) * len(FLOORS)
    for (radius, floor), fewest in needs.items():
        q = required_harmless_rate(radius, sigma=0.25, floor=floor)
        assert fewest == fewest_samples(q, SCENARIO.alpha)
    assert needs[0.25, 0.5] == found.fewest_samples
    assert needs[0.25, 0.01] < needs[0.25, 0.5] < needs[0.5, 0.5]


def test_a_reach_that_no_number_of_draws_shows_is_none():
    tiny = PlanScenario(sigma=0.1, radius=0.1, alpha=0.01, max_samples=400)
    needs = {(row.radius, row.floor): row.fewest_samples for row in forecast(tiny).fewest_by_reach}
    assert needs[2.0, 0.5] is None
    assert needs[0.25, 0.5] > 0


def test_a_prior_may_be_given():
    prior = Prior(20.0, 1.0, 0.0)
    found = forecast(PlanScenario(sigma=1.0, radius=0.5, alpha=0.01, prior=prior, max_samples=100))
    assert found.laws[-1].pass_rate > 0.95


def test_forecasts_are_cached():
    assert forecast(SCENARIO) is forecast(PlanScenario(**fields(SCENARIO)))


def test_any_plan_can_be_forecast():
    q = SCENARIO.q_required
    plan = fixed_plan(q, 1e-3, q1=0.97, power=0.99, max_samples=200, looks=(136,))
    row, plain = forecast_plan(plan, SCENARIO), forecast_fixed(136, SCENARIO)
    assert row.expected_calls_at_harmless_rate == pytest.approx(136)
    assert row.power == pytest.approx(plain.power)
    assert row.false_pass == pytest.approx(plain.false_pass)
    assert row.latency_s == pytest.approx(0.8 * 136)


def test_the_curve_for_a_figure():
    plan = optimal_plan(SCENARIO.q_required, 1e-3, q1=0.97, power=0.99, max_samples=400)
    curve = calls_curve(plan, (0.0, 0.5, 0.97, 1.0))
    assert [rate for rate, _, _ in curve] == [0.0, 0.5, 0.97, 1.0]
    assert [power for _, _, power in curve] == sorted(power for _, _, power in curve)
    assert curve[2][1] == pytest.approx(plan.expected_calls_at(0.97))


def test_too_small_a_budget_says_what_would_do():
    with pytest.raises(CertificationError, match="smallest max_samples that does is 136"):
        forecast(PlanScenario(sigma=0.25, radius=0.25, alpha=1e-3, max_samples=100))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"harmful_harmless_rate": 1.5}, "harmful_harmless_rate"),
        ({"price_per_call_usd": -1.0}, "price_per_call_usd"),
        ({"latency_s": -1.0}, "latency_s"),
        ({"parallel": 0}, "parallel"),
    ],
)
def test_impossible_scenarios_are_refused(change, word):
    with pytest.raises(CertificationError, match=word):
        PlanScenario(**({"sigma": 1.0, "radius": 0.5, "alpha": 0.01} | change))


def test_rivals_that_look_after_every_draw_are_priced_in_whole_rounds():
    """Eight calls at a time: no rival pays for waiting that it could have avoided."""
    scenario = PlanScenario(
        sigma=0.5, radius=0.25, alpha=0.001, harmless_rate=0.97, parallel=8, latency_s=1.0
    )
    told = forecast(scenario)
    for rival in (told.fixed_n, told.betting):
        rounds = rival.latency_s / scenario.latency_s
        assert rounds == pytest.approx(rival.expected_calls_at_harmless_rate / 8, rel=0.05)
        assert rival.latency_s < 6.0
        assert rival.calls_p50 % 8 == 0


def test_rounds_keep_every_stop_and_only_put_it_off():
    plan = fixed_plan(0.7, 0.01, q1=0.97, power=0.9, max_samples=100)
    walk = plan.walk(0.9)
    for size in (1, 3, 7, 1000):
        rounds = walk.in_rounds(size)
        assert rounds.power == pytest.approx(walk.power, rel=1e-12)
        assert sum(rounds.stops) == pytest.approx(sum(walk.stops), rel=1e-12)
        last = plan.max_samples
        assert all(n % size == 0 or n == last for n in rounds.looks)
        assert walk.expected_calls <= rounds.expected_calls + 1e-9
        assert rounds.expected_calls <= walk.expected_calls + size
    assert walk.in_rounds(1) == walk
