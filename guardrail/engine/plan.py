"""From rules and picture sizes to the sequential test of one request."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, assert_never

from guardrail.engine.promise import Claim, RadiusSpace, Reach
from guardrail.errors import CertificationError
from guardrail.images.canvas import CanvasOperator, combined_norm, combined_slack
from guardrail.images.gaussian import total_variation_upper
from guardrail.stats import (
    FLOORS,
    Plan,
    PlanKind,
    certified_radius,
    fixed_plan,
    floor_with_misses,
    harmless_rate_after_pass,
    optimal_plan,
    power_of_each,
    required_harmless_rate,
    round_down,
    round_norm_up,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.engine.certifier import Count
    from guardrail.engine.promise import Promise
    from guardrail.engine.rules import Rules
    from guardrail.engine.threats import Threats

__all__ = [
    "UNSCALED",
    "Geometry",
    "earned_radius",
    "harmless_lower",
    "make_plan",
    "measure_geometry",
    "plan_for",
    "radii_by_floor",
    "radius_at",
    "required_rate",
    "scale_promise",
    "view_plan_for",
]

# Rounded up to multiples of these, so that pictures of all sizes share a few plans.
_SLACK_STEP = 2.0**-14
_ERROR_STEP = 2.0**-22


@dataclass(frozen=True, slots=True)
class Geometry:
    """How client distances become canvas distances, and how exact the noise is; all rounded up.

    ‖canvas(x) − canvas(x′)‖ ≤ operator_norm · ‖x − x′‖ + grid_slack. `sampler_error` bounds the
    total variation between the noise that is drawn and true Gaussian noise, for one variant.
    """

    operator_norm: float
    grid_slack: float
    sampler_error: float


UNSCALED = Geometry(operator_norm=1.0, grid_slack=0.0, sampler_error=2.0**-22)
"""A picture that fits its canvas: what a policy is judged by before any picture has come."""


def measure_geometry(canvases: Iterable[CanvasOperator]) -> Geometry:
    """The geometry of all pictures of one request together; of none, nothing is moved."""
    operators = tuple(canvases)
    if not operators:
        return Geometry(operator_norm=1.0, grid_slack=0.0, sampler_error=0.0)
    values = sum(canvas.values for canvas in operators)
    return Geometry(
        operator_norm=round_norm_up(combined_norm(operators)),
        grid_slack=_round_up(combined_slack(operators), _SLACK_STEP),
        sampler_error=_round_up(total_variation_upper(values), _ERROR_STEP),
    )


def _round_up(value: float, step: float) -> float:
    """`value` rounded up to a multiple of a power of two."""
    return math.ceil(value / step) * step


def scale_promise(rules: Rules, geometry: Geometry) -> Rules:
    """The rules for requests of this geometry, their radius in client pixels.

    A radius that is meant on the canvas is divided by the norm of the resize and rounded down: a
    change of the client's picture by no more than that changes the canvas by no more than the
    policy's number, but for the grid, which the required rate takes into account. So pictures of
    all sizes cost about the same calls, and larger ones are promised more.
    """
    match rules.radius_space:
        case RadiusSpace.CLIENT:
            return rules
        case RadiusSpace.CANVAS:
            radius = round_down(Fraction(rules.promised_radius) / Fraction(geometry.operator_norm))
            space = RadiusSpace.CLIENT
            return dataclasses.replace(rules, promised_radius=radius, radius_space=space)
        case _:
            assert_never(rules.radius_space)


def required_rate(promise: Promise, geometry: Geometry) -> float:
    """q_req: the harmless rate that a pass must show for the promised radius, rounded up.

    It is about the noise that is drawn, so it contains the sampler's error. For the harmlessness
    claim the floor is raised by the oracle's misses, see `floor_with_misses`.

    Raises:
        CertificationError: no rate below 1 is enough.
    """
    return _required_rate(
        promise.promised_radius,
        sigma=promise.sigma,
        operator_norm=geometry.operator_norm,
        floor=_tested_floor(promise, promise.floor),
        grid_slack=geometry.grid_slack,
        sampler_error=geometry.sampler_error,
    )


_required_rate = lru_cache(maxsize=4096)(required_harmless_rate)
"""Remembered: about 0.3 ms, and a replay asks for the same rates again and again."""


def radius_at(promise: Promise, geometry: Geometry, q: float, floor: float) -> float | None:
    """r(floor; q) in client pixels, rounded down; None where it would be negative.

    Args:
        promise: sigma and claim.
        geometry: how the request's pictures reach their canvases.
        q: `required_rate` for what is promised (evasion), `harmless_lower` for what a pass earned
            (stability). Either contains the sampler's error.
        floor: harmless rate at the other end; truly harmless for the harmlessness claim.

    Raises:
        CertificationError: the floor is out of range, or the claim is harmlessness and the oracle
            may miss everything.
    """
    return certified_radius(
        q,
        sigma=promise.sigma,
        operator_norm=geometry.operator_norm,
        floor=_tested_floor(promise, floor),
        grid_slack=geometry.grid_slack,
        sampler_error=geometry.sampler_error,
    )


def radii_by_floor(promise: Promise, geometry: Geometry, q: float) -> tuple[Reach, ...]:
    """`radius_at` for each of `FLOORS` and the promise's own floor, largest floor first."""
    floors = sorted({*FLOORS, promise.floor}, reverse=True)
    return tuple(Reach(floor, radius_at(promise, geometry, q, floor)) for floor in floors)


def harmless_lower(plan: Plan, count: Count) -> float:
    """q_L: the lower bound of the harmless rate that a pass earned, at least the plan's q_req.

    Valid at the plan's own stopping rule; about the noise that is drawn. Rounded down.
    """
    return harmless_rate_after_pass(plan, count.samples, count.harmful)


def earned_radius(promise: Promise, geometry: Geometry, q_lower: float) -> float:
    """The radius of the policy's own floor that a pass earned: at least the promised one."""
    return max(promise.promised_radius, radius_at(promise, geometry, q_lower, promise.floor) or 0.0)


def _tested_floor(promise: Promise, floor: float) -> float:
    """The floor that the oracle's verdicts are tested against, for a promise about `floor`."""
    match promise.claim:
        case Claim.VERDICT:
            return floor
        case Claim.HARMLESSNESS:
            # Without a bound on the misses the oracle may miss everything.
            misses = 1.0 if promise.miss_rate_upper is None else promise.miss_rate_upper
            return floor_with_misses(floor, misses)
        case _:
            assert_never(promise.claim)


def plan_for(rules: Rules, geometry: Geometry, *, alpha: float | None = None) -> Plan:
    """The test that a request of this geometry must pass.

    Args:
        rules: the policy.
        geometry: how the request's pictures reach their canvases.
        alpha: failure probability of this decision where it is smaller than the policy's.

    Raises:
        CertificationError: no test within `max_samples` can pass with the wanted power.
    """
    return make_plan(
        rules.kind,
        required_rate(scale_promise(rules, geometry), geometry),
        rules.alpha if alpha is None else min(alpha, rules.alpha),
        rules.q1,
        rules.power,
        rules.max_samples,
        rules.latency_weight,
        rules.max_parallel,
    )


def view_plan_for(
    rules: Rules, threats: Threats, tests: int, *, alpha: float | None = None
) -> Plan:
    """The test that each of so many views must pass, at the decision's own alpha, undivided.

    Without noise, and hence about the rate of the floor itself. The power is shared: of clean
    requests all views together stop at most 1 - `threats.power`. Each further round of calls is
    free, as the tests of the other views fill it.

    Args:
        rules: the policy.
        threats: what it covers.
        tests: how many views are tested so.
        alpha: failure probability of this decision where it is smaller than the policy's.

    Raises:
        CertificationError: no test within `max_samples` can pass with the wanted power.
    """
    return make_plan(
        rules.kind,
        threats.floor,
        rules.alpha if alpha is None else min(alpha, rules.alpha),
        threats.expected_harmless_rate * rules.expected_success_rate,
        power_of_each(threats.power, tests),
        rules.max_samples,
        0.0,
        rules.max_parallel,
    )


@lru_cache(maxsize=4096)
def make_plan(
    kind: PlanKind,
    q_required: float,
    alpha: float,
    q1: float,
    power: float,
    max_samples: int,
    latency_weight: float,
    max_parallel: int,
) -> Plan:
    """Builds and remembers a plan; the arguments are those of `Rules`.

    Raises:
        CertificationError: as `plan_for`, or plans of this kind are not for decisions.
    """
    match kind:
        case PlanKind.FIXED:
            # Its verdict is the same at any choice of looks, so they lie at the ends of waves.
            waves = (*range(max_parallel, max_samples, max_parallel), max_samples)
            return fixed_plan(
                q_required, alpha, q1=q1, power=power, max_samples=max_samples, looks=waves
            )
        case PlanKind.OPTIMAL:
            return optimal_plan(
                q_required,
                alpha,
                q1=q1,
                power=power,
                max_samples=max_samples,
                latency_weight=latency_weight,
                max_parallel=max_parallel,
            )
        case _:
            raise CertificationError(
                f"a {kind} test is for estimates; choose optimal or fixed as the policy's plan"
            )
