"""From rules and picture sizes to the sequential test of one request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from guardrail.engine.rules import Claim, RadiusSpace, Rules
from guardrail.errors import CertificationError
from guardrail.images.canvas import CanvasOperator, combined_norm, combined_slack
from guardrail.images.gaussian import total_variation_upper
from guardrail.stats import (
    Plan,
    PlanKind,
    certified_radius,
    fixed_plan,
    harmless_rate_after_pass,
    optimal_plan,
    required_harmless_rate,
    round_norm_up,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.engine.certifier import Count

__all__ = [
    "UNSCALED",
    "Geometry",
    "Promise",
    "earned_radius",
    "geometry",
    "make_plan",
    "plan_for",
    "required_rate",
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


def geometry(canvases: Iterable[CanvasOperator]) -> Geometry:
    """The geometry of all pictures of one request together."""
    operators = tuple(canvases)
    values = sum(canvas.values for canvas in operators)
    return Geometry(
        operator_norm=round_norm_up(combined_norm(operators)),
        grid_slack=_stepped(combined_slack(operators), _SLACK_STEP),
        sampler_error=_stepped(total_variation_upper(values), _ERROR_STEP),
    )


def _stepped(value: float, step: float) -> float:
    """`value` rounded up to a multiple of a power of two."""
    return math.ceil(value / step) * step


class Promise(Protocol):
    """The part of a policy that fixes which harmless rate must be shown."""

    @property
    def promised_radius(self) -> float: ...
    @property
    def radius_space(self) -> RadiusSpace: ...
    @property
    def claim(self) -> Claim: ...
    @property
    def sigma(self) -> float: ...
    @property
    def floor(self) -> float: ...
    @property
    def miss_rate_upper(self) -> float: ...


def required_rate(promise: Promise, where: Geometry) -> float:
    """The observed harmless rate q that proves the promised radius, rounded up.

    q = f_U + (1 - f_U) Phi(Phi^-1(floor) + (r ||A|| + slack) / sigma), plus what the sampler may
    be off; the composite claim has f_U = 0, because it speaks of model and oracle together.
    """
    exact = required_harmless_rate(
        promise.promised_radius,
        sigma=promise.sigma,
        operator_norm=_norm(promise, where),
        floor=promise.floor,
        miss_rate_upper=_misses(promise),
        grid_slack=where.grid_slack,
    )
    return math.nextafter(exact + where.sampler_error, math.inf)


def earned_radius(promise: Promise, where: Geometry, plan: Plan, count: Count) -> float:
    """The radius that a pass proves, in the promise's space and rounded down.

    At least the promised one. What an early pass proves beyond it follows from a bound that is
    valid at the plan's own stopping rule.
    """
    rate = harmless_rate_after_pass(plan, count.samples, count.harmful)
    radius = certified_radius(
        max(0.0, math.nextafter(rate - where.sampler_error, -math.inf)),
        sigma=promise.sigma,
        operator_norm=_norm(promise, where),
        floor=promise.floor,
        miss_rate_upper=_misses(promise),
        grid_slack=where.grid_slack,
    )
    return max(promise.promised_radius, radius or 0.0)


def _norm(promise: Promise, where: Geometry) -> float:
    return where.operator_norm if promise.radius_space is RadiusSpace.CLIENT else 1.0


def _misses(promise: Promise) -> float:
    return promise.miss_rate_upper if promise.claim is Claim.HARMLESSNESS else 0.0


def plan_for(rules: Rules, where: Geometry, *, alpha: float | None = None) -> Plan:
    """The test that a request of this geometry must pass.

    Args:
        rules: the policy.
        where: how the request's pictures reach their canvases.
        alpha: failure probability of this decision where it is smaller than the policy's.

    Raises:
        CertificationError: no test within `max_samples` can pass with the wanted power.
    """
    return make_plan(
        rules.kind,
        required_rate(rules, where),
        rules.alpha if alpha is None else min(alpha, rules.alpha),
        rules.q1,
        rules.power,
        rules.max_samples,
        rules.latency_weight,
        rules.max_parallel,
    )


@lru_cache(maxsize=512)
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
