"""Evasion and stability, exactly: known models, plans by enumeration, no sampling.

A half-space is the worst model that a radius must reckon with: its harmless rate under Gaussian
noise is Φ(distance / sigma), so it moves as fast as Φ⁻¹ of any rate can.
"""

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.certifier import Count
from guardrail.engine.plan import (
    Geometry,
    harmless_lower,
    measure_geometry,
    plan_for,
    radii_by_floor,
    radius_at,
    required_rate,
)
from guardrail.engine.promise import Claim
from guardrail.engine.verdict import Action
from guardrail.images.canvas import canvas_for
from guardrail.oracles.base import Judgement
from guardrail.stats import FLOORS, PlanKind, floor_with_misses
from guardrail.stats.plans import pass_upper
from guardrail.testing.half_space import HalfSpaceUpstream
from guardrail.types import Outcome

pytestmark = pytest.mark.no_cover  # counting lines would take as long again

# The default policy's test, looked at after every draw.
DENSE = {
    "claim": Claim.VERDICT,
    "kind": PlanKind.OPTIMAL,
    "sigma": 0.5,
    "promised_radius": 0.25,
    "alpha": 0.001,
    "expected_harmless_rate": 0.99,
    "power": 0.99,
    "max_samples": 200,
    "max_parallel": 1,
}
WAVES = {**DENSE, "max_parallel": 32, "latency_weight": 4.0}
FIXED = {**DENSE, "kind": PlanKind.FIXED, "max_parallel": 8}
LOW = {**DENSE, "floor": 0.1, "promised_radius": 0.5}
ROUGH = Geometry(operator_norm=0.5, grid_slack=0.02, sampler_error=0.003)
PLAIN = Geometry(1.0, 0.0, 0.0)


def quantile(p):
    return mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(p) - 1)


def farthest_rate(floor, radius, sigma, where):
    """The largest drawn rate at `radius` from a request whose drawn rate is `floor`, in 60 digits.

    The worst at every step: the noise is off by the whole error at both ends and in the bad
    direction, the canvas moves by norm and slack straight away from harm.
    """
    with mpmath.workdps(60):
        gaussian = quantile(mpmath.mpf(floor) + where.sampler_error)
        moved = (mpmath.mpf(radius) * where.operator_norm + where.grid_slack) / mpmath.mpf(sigma)
        return mpmath.ncdf(gaussian + moved) + where.sampler_error


def pass_states(plan):
    """Every (samples, harmful) at which the plan can pass."""
    for n, most in zip(plan.looks, plan.pass_at_most, strict=True):
        yield from (Count(n, harmful) for harmful in range(most + 1))


def masses(plan, q):
    """P(pass in each state) at the rate `q`, in fractions: every path, by the recursion's steps."""
    q, alive, drawn = Fraction(q), {0: Fraction(1)}, 0
    for n, most, least in zip(plan.looks, plan.pass_at_most, plan.block_at_least, strict=True):
        for _ in range(n - drawn):
            after = {}
            for harmful, mass in alive.items():
                after[harmful] = after.get(harmful, 0) + mass * q
                after[harmful + 1] = after.get(harmful + 1, 0) + mass * (1 - q)
            alive = after
        drawn = n
        for harmful, mass in alive.items():
            if harmful <= most:
                yield Count(n, harmful), mass
        alive = {h: mass for h, mass in alive.items() if most < h < least}


@pytest.mark.parametrize("where", [PLAIN, ROUGH], ids=["exact", "rough"])
@pytest.mark.parametrize(
    "changes", [DENSE, WAVES, FIXED, LOW], ids=["dense", "waves", "fixed", "low"]
)
def test_no_change_within_the_promised_radius_evades(kit, changes, where):
    """One statement for all floors at once: P[pass] <= alpha wherever q <= q_req."""
    rules = kit.make_rules(**changes)
    plan = plan_for(rules, where)
    curve = radii_by_floor(rules, where, plan.q_required)
    reached = [reach for reach in curve if reach.radius is not None]
    assert len(reached) >= 4
    for reach in reached:
        rate = farthest_rate(reach.floor, reach.radius, rules.sigma, where)
        assert rate <= plan.q_required
        assert sum(mass for _, mass in masses(plan, float(rate))) <= Fraction(rules.alpha)
        # And the radius is no smaller than it must be: a little farther the request passes.
        beyond = float(farthest_rate(reach.floor, 1.05 * reach.radius + 0.02, rules.sigma, where))
        assert plan.power_at(beyond) > rules.alpha
    for reach in curve:
        if reach.radius is None:
            assert farthest_rate(reach.floor, 0.0, rules.sigma, where) > plan.q_required


def squares(total):
    """Four levels of a picture whose squares add up to `total` (by Lagrange's theorem)."""
    top = min(255, math.isqrt(total))
    for a, b, c in itertools.product(range(top, -1, -1), repeat=3):
        rest = total - a * a - b * b - c * c
        if rest >= 0 and math.isqrt(rest) ** 2 == rest and rest <= 255**2:
            return a, b, c, math.isqrt(rest)
    raise AssertionError(total)


# The client's picture: as it is on a canvas of 2 x 2, or scaled down by two.
CANVASES = {"as it is": (2, 2), "scaled down": (4, 4)}


@pytest.mark.parametrize("size", CANVASES.values(), ids=CANVASES)
@pytest.mark.parametrize("floor", FLOORS)
def test_a_half_space_at_a_known_distance_does_not_evade(kit, floor, size):
    """Real pixels through the real canvas; the plane lies so that the start is just below τ."""
    canvas = canvas_for(*size, max_side_px=2)
    rules = kit.make_rules(**DENSE)
    where = measure_geometry([canvas])
    plan = plan_for(rules, where)
    radius = radius_at(rules, where, plan.q_required, floor)
    per_pixel = (size[0] // 2) ** 2
    # A whole number of levels in each of four values, as far away as the radius allows.
    steps = squares(int((255 * radius) ** 2) // per_pixel)
    start = np.zeros((*size, 3), np.uint8)
    moved = start.copy()
    half = size[0] // 2
    moved[:half, :half, 0], moved[:half, half:, 0] = steps[0], steps[1]
    moved[half:, :half, 0], moved[half:, half:, 0] = steps[2], steps[3]
    distance = np.linalg.norm(moved.astype(float)) / 255
    assert 0.97 * radius < distance <= radius

    def on_canvas(pixels):
        return canvas.apply(pixels) / 2**16

    normal = on_canvas(moved) - on_canvas(start)
    depth = rules.sigma * float(quantile(floor)) - 1e-12
    model = HalfSpaceUpstream.at_distance([on_canvas(start)], normal, depth)
    assert model.harmless_probability([on_canvas(start)], rules.sigma) < floor
    q = model.harmless_probability([on_canvas(moved)], rules.sigma)
    assert sum(mass for _, mass in masses(plan, q)) <= Fraction(rules.alpha)
    farther = HalfSpaceUpstream.at_distance([on_canvas(start)], normal, depth + 0.05)
    assert plan.power_at(farther.harmless_probability([on_canvas(moved)], 0.5)) > rules.alpha


def test_an_earned_radius_is_no_evasion_radius(kit):
    """Within it a request may pass more often than alpha: 0.0017 at alpha 0.001.

    Twenty harmless answers of twenty earn more than the plan required. A request z whose rate lies
    just below that earned rate passes with 0.0017, though harm (q(z₀) < τ) lies within the earned
    radius of it. What is true is the stability statement: with *such a certificate* it passes at
    most once in 1/alpha.
    """
    rules = kit.make_rules(**DENSE)
    plan = plan_for(rules, PLAIN)
    first = next(pass_states(plan))
    assert (first.samples, first.harmful) == (20, 0)
    earned = harmless_lower(plan, first)
    assert earned > plan.q_required
    for floor in FLOORS:
        reach = radius_at(rules, PLAIN, earned, floor)
        promised = radius_at(rules, PLAIN, plan.q_required, floor)
        inside = (1 - 1e-9) * reach
        assert promised < inside < reach
        rate = float(farthest_rate(floor, inside, rules.sigma, PLAIN))
        assert plan.q_required < rate < earned
        passes = dict(masses(plan, rate))
        assert float(sum(passes.values())) == pytest.approx(0.0017, abs=5e-5)
        reaching = sum(m for count, m in passes.items() if harmless_lower(plan, count) > rate)
        assert reaching <= Fraction(rules.alpha)


@pytest.mark.parametrize("where", [PLAIN, ROUGH], ids=["exact", "rough"])
@pytest.mark.parametrize(
    "changes", [DENSE, WAVES, FIXED, LOW], ids=["dense", "waves", "fixed", "low"]
)
def test_a_certificate_that_reaches_a_request_below_its_floor_is_rarer_than_alpha(
    kit, changes, where
):
    """P[pass with a certificate that reaches as far as some z₀ with q(z₀) < τ] <= alpha.

    For any true rate q of z the nearest such z₀ lies just beyond r(τ; q), computed in 60 digits;
    the certificates are all that the plan can give, and their radii those of the product.
    """
    rules = kit.make_rules(**changes)
    plan = plan_for(rules, where)
    earned = {count: harmless_lower(plan, count) for count in pass_states(plan)}
    reaches = {q: radii_by_floor(rules, where, q) for q in {*earned.values()}}
    rates = {q - 1e-9 for q in reaches} | {plan.q_required, 0.3, 0.6, 0.75, 0.9, 0.97}
    worst = 0
    for rate in rates:
        nearest = {floor: exact_radius(floor, rate, rules.sigma, where) for floor in FLOORS}
        wrong = {
            q for q, curve in reaches.items()
            if any(one.radius is not None and one.radius > nearest.get(one.floor, math.inf)
                   for one in curve)
        }  # fmt: skip
        mass = sum(mass for count, mass in masses(plan, rate) if earned[count] in wrong)
        assert mass <= Fraction(rules.alpha)
        worst = max(worst, mass)
    assert worst > Fraction(rules.alpha) / 2  # the bound is nearly met, so the test can fail


def exact_radius(floor, q, sigma, where):
    """r(floor; q) in 60 digits."""
    with mpmath.workdps(60):
        error = mpmath.mpf(where.sampler_error)
        if q - error <= 0:
            return -mpmath.inf
        gap = quantile(q - error) - quantile(floor + error)
        return (mpmath.mpf(sigma) * gap - where.grid_slack) / mpmath.mpf(where.operator_norm)


MISSES = {**DENSE, "claim": Claim.HARMLESSNESS, "miss_rate_upper": 0.277, "delta": 0.001}


@pytest.mark.parametrize("floor", FLOORS)
def test_below_its_floor_and_within_its_misses_a_request_passes_at_most_alpha(kit, floor):
    """The harmlessness claim: any p < τ, any f <= f_U, any rate m of false alarms."""
    rules = kit.make_rules(**MISSES)
    plan = plan_for(rules, PLAIN)
    radius = radius_at(rules, PLAIN, plan.q_required, floor)
    raised, limit = floor_with_misses(floor, rules.miss_rate_upper), Fraction(rules.miss_rate_upper)
    reached = radius is not None
    assert reached == (raised < plan.q_required)
    parts = [Fraction(part, 4) for part in range(5)]
    seen = []
    for p, miss, alarms in itertools.product(parts, parts, parts):
        p, miss = p * Fraction(floor) * (1 - Fraction(1, 10**12)), miss * limit
        observed = p * (1 - alarms) + (1 - p) * miss
        assert observed <= limit + (1 - limit) * p < Fraction(raised)
        if reached:
            far = farthest_rate(max(float(observed), 1e-30), radius, rules.sigma, PLAIN)
            assert passes_at_most(plan, float(observed)) <= rules.alpha
            assert passes_at_most(plan, float(far)) <= rules.alpha
            seen.append(float(far))
    assert not reached or max(seen) == pytest.approx(plan.q_required, abs=1e-9)


def passes_at_most(plan, q):
    """P(pass) at the rate `q`, rounded up."""
    return pass_upper(plan.looks, plan.pass_at_most, plan.block_at_least, q)


def test_one_rate_answers_for_every_false_alarm_and_miss(kit):
    """The raised floor is met with equality where no answer is a false alarm and all misses are."""
    rules = kit.make_rules(**MISSES)
    worst = 0.277 + (1 - 0.277) * rules.floor
    assert floor_with_misses(rules.floor, 0.277) == pytest.approx(worst, abs=1e-15)
    at_verdict = kit.make_rules(**{**DENSE, "floor": floor_with_misses(rules.floor, 0.277)})
    assert required_rate(rules, ROUGH) == required_rate(at_verdict, ROUGH)


@dataclass
class Blind:
    """Misses everything that the model says about its one blind spot, and nothing else."""

    revision: str = "blind"

    async def judge(self, exchanges):
        bad = [e.response.startswith("harm") and e.response != BLIND_SPOT for e in exchanges]
        return [Judgement(Outcome.HARMFUL if b else Outcome.HARMLESS, float(b)) for b in bad]

    async def aclose(self):
        pass


BLIND_SPOT = "harm in words that the oracle does not know"


def test_an_average_bound_on_the_misses_bounds_no_single_request(kit):
    """105 requests, each answered with one harmful text whatever the noise; the oracle misses 14.

    Its average miss rate is 0.134 and keeps to the bound of 0.277. Still those 14 pass every time,
    and not once in a thousand tries: their own miss rate is 1. So the sentence must name the
    condition, and it does: such a request is one of whose harmful answers the oracle misses more.
    """
    misses = [1.0] * 14 + [0.0] * 91
    assert sum(misses) / len(misses) < 0.277
    rules = {**MISSES, "max_parallel": 32}
    plan = plan_for(kit.make_rules(**rules), PLAIN)
    passes = [plan.power_at(miss) for miss in misses]
    assert passes.count(1.0) == 14
    assert sum(passes) / len(passes) > 100 * plan.alpha
    verdicts = [
        kit.decide(kit.make_engine([text], oracle=Blind(), **rules), [kit.make_picture(seed=seed)])
        for seed, text in enumerate((BLIND_SPOT, "harm in plain words"))
    ]
    assert [verdict.action for verdict in verdicts] == [Action.PASS, Action.BLOCK]
    certificate = verdicts[0].certificate
    verify_certificate(certificate)
    assert "or is one of whose harmful answers the oracle misses more than 0.277." in (
        certificate.statement
    )
    assert "it does not bound a single request" in certificate.statement


def test_the_verdict_claim_says_nothing_of_harm(kit):
    """Of the same request it says what is true: the oracle finds its answers harmless."""
    engine = kit.make_engine([BLIND_SPOT], oracle=Blind(), **{**DENSE, "max_parallel": 32})
    statement = kit.decide(engine, 1).certificate.statement
    assert "are found harmless by the oracle with probability" in statement
    assert "truly" not in statement
