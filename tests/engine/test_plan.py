"""From rules and sizes to the test: the requirement, its geometry, and which plan is built."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from guardrail.engine.certifier import Count
from guardrail.engine.plan import (
    UNSCALED,
    Geometry,
    earned_radius,
    geometry,
    make_plan,
    plan_for,
    required_rate,
)
from guardrail.engine.rules import Claim, RadiusSpace
from guardrail.errors import CertificationError
from guardrail.images.canvas import canvas_for, combined_norm, combined_slack
from guardrail.images.gaussian import total_variation_upper
from guardrail.stats import PlanKind, certified_radius

PLAIN = Geometry(1.0, 0.0, 0.0)


def formula(rules, norm, slack, misses):
    shift = (rules.promised_radius * norm + slack) / rules.sigma
    cdf, ppf = scipy_stats.norm.cdf, scipy_stats.norm.ppf
    return misses + (1 - misses) * cdf(ppf(rules.floor) + shift)


@pytest.mark.parametrize("floor", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("claim", list(Claim))
@pytest.mark.parametrize("space", list(RadiusSpace))
def test_the_required_rate_is_that_of_the_formula(kit, space, claim, floor):
    rules = kit.make_rules(radius_space=space, claim=claim, floor=floor, miss_rate_upper=0.2)
    norm = 0.25 if space is RadiusSpace.CLIENT else 1.0
    misses = 0.2 if claim is Claim.HARMLESSNESS else 0.0
    rate = required_rate(rules, Geometry(0.25, 0.001, 0.0))
    assert rate == pytest.approx(formula(rules, norm, 0.001, misses), rel=1e-12)


def test_what_the_required_rate_certifies_reaches_the_promise(kit):
    rules = kit.make_rules()
    rate = required_rate(rules, Geometry(0.5, 0.001, 0.0))
    radius = certified_radius(
        rate, sigma=0.5, operator_norm=0.5, miss_rate_upper=0.01, grid_slack=0.001
    )
    assert radius >= rules.promised_radius


sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))


@given(st.lists(sizes, min_size=1, max_size=4), st.sampled_from([1, 7, 64, None]))
def test_geometry_is_never_smaller_than_the_truth(shapes, side):
    canvases = [canvas_for(*shape, max_side_px=side) for shape in shapes]
    where = geometry(canvases)
    assert combined_norm(canvases) <= where.operator_norm <= combined_norm(canvases) * 1.023
    assert combined_slack(canvases) <= where.grid_slack <= combined_slack(canvases) + 2.0**-14


def test_pictures_of_all_sizes_share_a_few_plans():
    """A thousand sizes lead to a few dozen geometries, so to a few dozen plans."""
    places = {geometry([canvas_for(h, 3 * h, max_side_px=224)]) for h in range(1, 1000)}
    assert len(places) < 150


def test_what_the_sampler_may_be_off_is_added_to_the_required_rate(kit):
    rules = kit.make_rules()
    added = required_rate(rules, Geometry(1.0, 0.0, 1e-3)) - required_rate(rules, PLAIN)
    assert added == pytest.approx(1e-3, rel=1e-6)


def test_the_sampler_error_covers_all_pictures_together():
    canvases = [canvas_for(2000, 3000, max_side_px=2000)] * 3
    values = sum(canvas.values for canvas in canvases)
    assert geometry(canvases).sampler_error >= total_variation_upper(values)
    assert geometry(canvases[:1]).sampler_error < geometry(canvases).sampler_error


def test_a_pass_earns_at_least_the_promise_and_more_the_earlier_and_cleaner_it_is(kit):
    rules = kit.make_rules(max_samples=400)
    plan = plan_for(rules, UNSCALED)
    passes = [
        Count(n, harmful)
        for n, most in zip(plan.looks, plan.pass_at_most, strict=True)
        for harmful in range(most, -1, -1)
    ]
    radii = [earned_radius(rules, UNSCALED, plan, count) for count in passes]
    assert min(radii) >= rules.promised_radius
    first = [radius for count, radius in zip(passes, radii, strict=True) if count.harmful == 0]
    assert first == sorted(first, reverse=True)
    assert first[0] > rules.promised_radius


def test_what_is_earned_shrinks_by_what_the_sampler_may_be_off(kit):
    rules = kit.make_rules()
    plan = plan_for(rules, Geometry(1.0, 0.0, 0.01))
    n = next(n for n, most in zip(plan.looks, plan.pass_at_most, strict=True) if most >= 0)
    count = Count(n, 0)
    exact = earned_radius(rules, PLAIN, plan, count)
    assert earned_radius(rules, Geometry(1.0, 0.0, 0.01), plan, count) < exact


def test_pictures_that_are_not_scaled_have_no_slack():
    assert geometry([canvas_for(9, 9, max_side_px=None)]) == UNSCALED


@pytest.mark.parametrize("kind", [PlanKind.FIXED, PlanKind.OPTIMAL])
@pytest.mark.parametrize("alpha", [0.05, 1e-3, 1e-6])
def test_the_plan_keeps_alpha_and_power(kit, kind, alpha):
    rules = kit.make_rules(kind=kind, alpha=alpha, power=0.95, latency_weight=2.0)
    plan = plan_for(rules, PLAIN)
    assert plan.kind is kind
    assert plan.q_required == required_rate(rules, PLAIN)
    assert plan.false_pass_upper <= alpha == plan.alpha
    assert plan.power_at(rules.expected_harmless_rate) >= 0.95
    assert plan.max_samples <= rules.max_samples


def test_a_smaller_alpha_for_one_decision_tightens_the_plan(kit):
    rules = kit.make_rules()
    assert plan_for(rules, PLAIN, alpha=1e-4).false_pass_upper <= 1e-4
    assert plan_for(rules, PLAIN, alpha=0.9) == plan_for(rules, PLAIN)


def test_a_larger_norm_asks_for_more(kit):
    rules = kit.make_rules()
    rates = [required_rate(rules, Geometry(norm, 0.0, 0.0)) for norm in (0.1, 0.5, 1.0)]
    assert rates == sorted(rates)
    assert len(set(rates)) == 3


def test_fixed_plans_look_at_the_ends_of_waves(kit):
    plan = plan_for(kit.make_rules(max_parallel=4), PLAIN)
    assert all(look % 4 == 0 for look in plan.looks[:-1])
    wide = plan_for(kit.make_rules(max_parallel=1000), PLAIN)
    assert wide.looks == (plan.max_samples,)


def test_waves_of_optimal_plans_fit_what_runs_at_once(kit):
    """With dear waves the first wave is filled up to what runs side by side anyway."""
    rules = {"kind": PlanKind.OPTIMAL, "alpha": 1e-3, "latency_weight": 10.0}
    narrow = plan_for(kit.make_rules(**rules, max_parallel=4), PLAIN)
    wide = plan_for(kit.make_rules(**rules, max_parallel=64), PLAIN)
    assert wide.expected_rounds_at(0.99, 64) < narrow.expected_rounds_at(0.99, 4)
    assert len(wide.looks) < len(narrow.looks)


def test_a_rate_that_cannot_be_shown_is_an_error(kit):
    with pytest.raises(CertificationError, match="max_samples"):
        plan_for(kit.make_rules(max_samples=5), PLAIN)
    with pytest.raises(CertificationError, match="smaller radius"):
        plan_for(kit.make_rules(promised_radius=50.0), PLAIN)


def test_a_betting_test_makes_no_decisions():
    with pytest.raises(CertificationError, match="optimal or fixed"):
        make_plan(PlanKind.BETTING, 0.6, 0.05, 0.99, 0.9, 100, 0.0, 8)


def test_plans_are_remembered(kit):
    assert plan_for(kit.make_rules(), PLAIN) is plan_for(kit.make_rules(), PLAIN)
