"""From rules and sizes to the test: the requirement, its geometry, and which plan is built."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from guardrail.engine.certifier import Count
from guardrail.engine.plan import (
    UNSCALED,
    Geometry,
    earned_radius,
    harmless_lower,
    make_plan,
    measure_geometry,
    plan_for,
    radii_by_floor,
    radius_at,
    required_rate,
    scale_promise,
)
from guardrail.engine.promise import Claim, RadiusSpace
from guardrail.errors import CertificationError
from guardrail.images.canvas import canvas_for, combined_norm, combined_slack
from guardrail.images.gaussian import total_variation_upper
from guardrail.stats import FLOORS, PlanKind, certified_radius, floor_with_misses

PLAIN = Geometry(1.0, 0.0, 0.0)


def formula(rules, norm, slack, floor, error=0.0):
    shift = (rules.promised_radius * norm + slack) / rules.sigma
    cdf, ppf = scipy_stats.norm.cdf, scipy_stats.norm.ppf
    return error + cdf(ppf(floor + error) + shift)


@pytest.mark.parametrize("floor", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("claim", list(Claim))
def test_the_required_rate_is_that_of_the_formula(kit, claim, floor):
    bounds = {"miss_rate_upper": 0.2} if claim is Claim.HARMLESSNESS else {}
    rules = kit.make_rules(claim=claim, floor=floor, **bounds)
    tested = floor + (1 - floor) * 0.2 if bounds else floor
    for error in (0.0, 2.0**-22, 0.01):
        rate = required_rate(rules, Geometry(0.25, 0.001, error))
        assert rate == pytest.approx(formula(rules, 0.25, 0.001, tested, error), rel=1e-12)


@given(st.floats(1e-3, 4.0), st.floats(2.0**-9, 1.0), st.floats(0.0, 1e-3))
def test_a_radius_on_the_canvas_is_promised_in_client_pixels(kit, radius, norm, slack):
    """Never more than the number over the norm, and nothing lost but the last bit."""
    rules = kit.make_rules(promised_radius=radius, radius_space=RadiusSpace.CANVAS)
    where = Geometry(norm, slack, 0.0)
    scaled = scale_promise(rules, where)
    assert scaled.radius_space is RadiusSpace.CLIENT
    assert Fraction(scaled.promised_radius) * Fraction(norm) <= Fraction(radius)
    assert scaled.promised_radius == pytest.approx(radius / norm, rel=1e-15)
    assert scale_promise(scaled, where) is scaled


def test_a_radius_on_the_canvas_costs_alike_for_all_sizes(kit):
    rules = kit.make_rules(radius_space=RadiusSpace.CANVAS)
    rates = [plan_for(rules, Geometry(norm, 0.0, 0.0)).q_required for norm in (1.0, 0.5, 0.03)]
    assert rates == pytest.approx([rates[0]] * 3, rel=1e-12)
    client = kit.make_rules()
    assert plan_for(client, Geometry(0.5, 0.0, 0.0)).q_required < rates[0] - 0.05


def test_without_a_bound_on_the_misses_there_is_no_claim_about_harm(kit):
    """`compile_policy` refuses such a policy; rules that were made otherwise fail closed."""
    rules = kit.make_rules(miss_rate_upper=None)
    with pytest.raises(CertificationError, match="shows nothing about harmlessness"):
        required_rate(rules, PLAIN)
    with pytest.raises(CertificationError, match="shows nothing about harmlessness"):
        radius_at(rules, PLAIN, 0.99, 0.1)


def test_what_the_required_rate_certifies_reaches_the_promise(kit):
    rules = kit.make_rules()
    where = Geometry(0.5, 0.001, 1e-3)
    rate = required_rate(rules, where)
    knobs = {"sigma": 0.5, "operator_norm": 0.5, "grid_slack": 0.001, "sampler_error": 1e-3}
    radius = certified_radius(rate, floor=floor_with_misses(0.5, 0.01), **knobs)
    assert radius >= rules.promised_radius
    assert radius_at(rules, where, rate, 0.5) == radius == pytest.approx(0.25, abs=1e-12)


sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))


@given(st.lists(sizes, min_size=1, max_size=4), st.sampled_from([1, 7, 64, None]))
def test_geometry_is_never_smaller_than_the_truth(shapes, side):
    canvases = [canvas_for(*shape, max_side_px=side) for shape in shapes]
    where = measure_geometry(canvases)
    assert combined_norm(canvases) <= where.operator_norm <= combined_norm(canvases) * 1.023
    assert combined_slack(canvases) <= where.grid_slack <= combined_slack(canvases) + 2.0**-14


def test_pictures_of_all_sizes_share_a_few_plans():
    """A thousand sizes lead to a few dozen geometries, so to a few dozen plans."""
    places = {measure_geometry([canvas_for(h, 3 * h, max_side_px=224)]) for h in range(1, 1000)}
    assert len(places) < 150


def test_what_the_sampler_may_be_off_is_charged_at_both_ends(kit):
    """Once where q is tested and once at the floor, both exactly; nothing for a canvas of 0."""
    rules = kit.make_rules(claim=Claim.VERDICT, promised_radius=0.0)
    added = required_rate(rules, Geometry(1.0, 0.0, 1e-3)) - required_rate(rules, PLAIN)
    assert added == pytest.approx(2e-3, rel=1e-6)


def test_the_sampler_error_covers_all_pictures_together():
    canvases = [canvas_for(2000, 3000, max_side_px=2000)] * 3
    values = sum(canvas.values for canvas in canvases)
    assert measure_geometry(canvases).sampler_error >= total_variation_upper(values)
    assert measure_geometry(canvases[:1]).sampler_error < measure_geometry(canvases).sampler_error


def test_a_pass_earns_at_least_the_promise_and_more_the_earlier_and_cleaner_it_is(kit):
    rules = kit.make_rules(max_samples=400)
    plan = plan_for(rules, UNSCALED)
    passes = [
        Count(n, harmful)
        for n, most in zip(plan.looks, plan.pass_at_most, strict=True)
        for harmful in range(most, -1, -1)
    ]
    lowers = [harmless_lower(plan, count) for count in passes]
    assert min(lowers) >= plan.q_required
    radii = [earned_radius(rules, UNSCALED, q_lower) for q_lower in lowers]
    assert min(radii) >= rules.promised_radius
    first = [radius for count, radius in zip(passes, radii, strict=True) if count.harmful == 0]
    assert first == sorted(first, reverse=True)
    assert first[0] > rules.promised_radius


def test_what_is_earned_shrinks_by_what_the_sampler_may_be_off(kit):
    rules = kit.make_rules()
    plan = plan_for(rules, Geometry(1.0, 0.0, 0.01))
    n = next(n for n, most in zip(plan.looks, plan.pass_at_most, strict=True) if most >= 0)
    q_lower = harmless_lower(plan, Count(n, 0))
    exact = earned_radius(rules, PLAIN, q_lower)
    assert earned_radius(rules, Geometry(1.0, 0.0, 0.01), q_lower) < exact


@pytest.mark.parametrize("floor", [0.5, 0.3, 0.1, 0.9])
def test_radii_by_floor_include_the_policys_own_and_fall_with_the_floor(kit, floor):
    rules = kit.make_rules(claim=Claim.VERDICT, floor=floor)
    q = required_rate(rules, UNSCALED)
    reaches = radii_by_floor(rules, UNSCALED, q)
    assert [reach.floor for reach in reaches] == sorted({*FLOORS, floor}, reverse=True)
    assert [reach.radius is None for reach in reaches] == [r.floor > q for r in reaches]
    shown = [reach.radius for reach in reaches if reach.radius is not None]
    assert shown == sorted(shown)
    own = next(reach.radius for reach in reaches if reach.floor == floor)
    assert own == pytest.approx(rules.promised_radius, abs=1e-12)


def test_pictures_that_are_not_scaled_have_no_slack():
    assert measure_geometry([canvas_for(9, 9, max_side_px=None)]) == UNSCALED


@pytest.mark.no_cover
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


@pytest.mark.no_cover
def test_waves_of_optimal_plans_fit_what_runs_at_once(kit):
    """With dear waves the first wave is filled up to what runs side by side anyway."""
    rules = {"kind": PlanKind.OPTIMAL, "alpha": 1e-3, "latency_weight": 10.0}
    narrow = plan_for(kit.make_rules(**rules, max_parallel=4), PLAIN)
    wide = plan_for(kit.make_rules(**rules, max_parallel=64), PLAIN)
    assert wide.walk(0.99).expected_rounds(64) < narrow.walk(0.99).expected_rounds(4)
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
