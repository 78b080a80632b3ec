"""What a pass earned: the sampler's error once, and each request by its own norm and slack."""

import mpmath
import pytest
from scipy import stats

from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.certifier import Count
from guardrail.engine.plan import (
    UNSCALED,
    Geometry,
    harmless_lower,
    measure_geometry,
    plan_for,
    radii_by_floor,
    radius_at,
    required_rate,
)
from guardrail.engine.promise import Claim, RadiusSpace
from guardrail.images.canvas import canvas_for
from guardrail.stats import FLOORS, floor_with_misses

# So large an error that charging it twice, or never, shows in the first digits.
ROUGH = Geometry(operator_norm=0.7, grid_slack=0.01, sampler_error=0.01)


def quantile(p):
    return mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(p) - 1)


def exact_radius(rules, where, q, floor, subtracted=1):
    """r(floor; q) in 60 digits, the error subtracted from q as often as told."""
    with mpmath.workdps(60):
        error = mpmath.mpf(where.sampler_error)
        misses = mpmath.mpf(rules.miss_rate_upper or 0)
        raised = mpmath.mpf(floor) + (1 - mpmath.mpf(floor)) * misses
        gap = quantile(q - subtracted * error) - quantile(raised + error)
        return (rules.sigma * gap - where.grid_slack) / mpmath.mpf(where.operator_norm)


@pytest.mark.parametrize("claim", list(Claim))
@pytest.mark.parametrize("where", [UNSCALED, ROUGH], ids=["unscaled", "rough"])
def test_the_earned_rate_holds_the_samplers_error_which_is_subtracted_once(kit, claim, where):
    rules = kit.make_rules(claim=claim, max_samples=400)
    plan = plan_for(rules, where)
    states = zip(plan.looks, plan.pass_at_most, strict=True)
    passing = [Count(n, 0) for n, most in states if most >= 0]
    assert passing
    for count in passing:
        earned = harmless_lower(plan, count)
        for reach in radii_by_floor(rules, where, earned):
            once = exact_radius(rules, where, earned, reach.floor)
            assert reach.radius <= once
            assert reach.radius == pytest.approx(float(once), abs=1e-12)
            if where is ROUGH:
                for often in (0, 2):
                    other = exact_radius(rules, where, earned, reach.floor, often)
                    assert abs(reach.radius - other) > 0.01


@pytest.mark.parametrize("claim", list(Claim))
def test_the_required_rate_holds_it_too(kit, claim):
    """Read as a radius it gives the promise back, exactly once and to the last digits."""
    rules = kit.make_rules(claim=claim)
    q = required_rate(rules, ROUGH)
    own = radius_at(rules, ROUGH, q, rules.floor)
    assert rules.promised_radius <= own == pytest.approx(rules.promised_radius, abs=1e-12)
    once = exact_radius(rules, ROUGH, q, rules.floor)
    assert rules.promised_radius <= once
    assert float(once) == pytest.approx(rules.promised_radius, abs=1e-12)
    assert exact_radius(rules, ROUGH, q, rules.floor, 2) < 0.99 * rules.promised_radius


def test_a_test_that_forgot_the_error_would_pass_too_often(kit):
    """The drawn rate of a request at the radius may reach q_req, error and all."""
    rules = kit.make_rules(claim=Claim.VERDICT, max_samples=400, power=0.99)
    worst = required_rate(rules, ROUGH)
    assert plan_for(rules, ROUGH).power_at(worst) <= rules.alpha
    forgetful = Geometry(ROUGH.operator_norm, ROUGH.grid_slack, 0.0)
    assert required_rate(rules, forgetful) < worst - ROUGH.sampler_error
    assert plan_for(rules, forgetful).power_at(worst) > rules.alpha


SIZES = {
    "small": [(3, 4)],
    "large": [(40, 60)],
    "both": [(40, 60), (3, 4)],
    "twins": [(40, 60)] * 2,
}


@pytest.fixture(scope="module")
def certificates(kit):
    """One engine, requests of several sizes; its canvas is 8 pixels wide."""
    engine = kit.make_engine(claim=Claim.VERDICT)
    return {
        name: kit.decide(engine, [kit.make_picture(*size, seed=i) for i, size in enumerate(sizes)])
        .certificate
        for name, sizes in SIZES.items()
    }  # fmt: skip


def test_norm_and_slack_are_those_of_the_requests_own_pictures(certificates):
    for name, certificate in certificates.items():
        canvases = [canvas_for(*size, max_side_px=8) for size in SIZES[name]]
        where = measure_geometry(canvases)
        assert certificate.operator_norm == where.operator_norm
        assert certificate.grid_slack == where.grid_slack
        assert certificate.sampler_error == where.sampler_error
        verify_certificate(certificate)
    small, large, both, twins = certificates.values()
    # The largest norm, and the root of the summed squared slacks, rounded up to a step of 2**-14.
    assert both.operator_norm == small.operator_norm == 1.0
    assert large.operator_norm == twins.operator_norm < 0.2
    assert small.grid_slack == 0.0
    assert both.grid_slack == large.grid_slack


def test_several_slacks_add_up_as_squares():
    canvas = canvas_for(3000, 3000, max_side_px=1500)
    one, four = measure_geometry([canvas]), measure_geometry([canvas] * 4)
    assert four.grid_slack == pytest.approx(2 * canvas.grid_slack, abs=2.0**-14)
    assert four.grid_slack >= 2 * canvas.grid_slack
    assert one.grid_slack < four.grid_slack
    assert four.operator_norm == one.operator_norm


def test_requests_of_other_sizes_need_other_rates_and_earn_other_radii(certificates):
    """The same promise in client pixels is a shorter way on the canvas of a larger picture."""
    small, large, both, _ = certificates.values()
    assert large.q_required < small.q_required
    assert both.q_required > small.q_required  # the larger one's slack, at the smaller one's norm
    for certificate in certificates.values():
        exact = stats.norm.cdf(
            (0.25 * certificate.operator_norm + certificate.grid_slack) / certificate.sigma
        )
        assert certificate.q_required == pytest.approx(exact, abs=1e-6)
        where = Geometry(
            certificate.operator_norm, certificate.grid_slack, certificate.sampler_error
        )
        due = radii_by_floor(certificate, where, certificate.harmless_rate_lower)
        assert certificate.stability == due
    for near, far in zip(small.stability, large.stability, strict=True):
        if near.radius is not None and far.radius is not None:
            assert far.radius > 1.5 * near.radius


def test_a_radius_on_the_canvas_grows_with_the_picture(kit):
    engine = kit.make_engine(claim=Claim.VERDICT, radius_space=RadiusSpace.CANVAS)
    small, large = (
        kit.decide(engine, [kit.make_picture(*size)]).certificate for size in ((3, 4), (40, 60))
    )
    assert large.operator_norm < small.operator_norm
    assert large.q_required > small.q_required  # by the slack alone
    for certificate in (small, large):
        assert certificate.promised_radius == pytest.approx(0.25 / certificate.operator_norm)
        assert certificate.radius >= certificate.promised_radius
        exact = stats.norm.cdf((0.25 + certificate.grid_slack) / certificate.sigma)
        assert certificate.q_required == pytest.approx(exact, abs=1e-6)


def test_floors_are_raised_by_the_misses_at_every_floor(kit):
    rules = kit.make_rules(miss_rate_upper=0.2)
    verdict = kit.make_rules(claim=Claim.VERDICT)
    for reach in radii_by_floor(rules, UNSCALED, 0.9):
        raised = floor_with_misses(reach.floor, 0.2)
        assert reach.radius == radius_at(verdict, UNSCALED, 0.9, raised)
    assert len(radii_by_floor(rules, UNSCALED, 0.9)) == len(FLOORS)
