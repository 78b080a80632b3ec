"""What a policy promises and costs, as numbers: the one source of every page that says so."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.plan import UNSCALED, plan_for, radii_by_floor
from guardrail.engine.wording import evasion_sentence
from guardrail.errors import CertificationError
from guardrail.policy.spending import spending_costs
from guardrail.policy.threat_facts import describe_threats
from guardrail.stats import (
    FaultForecast,
    fewest_samples,
    floor_with_misses,
    pass_rates_under_faults,
    required_harmless_rate,
)

if TYPE_CHECKING:
    from guardrail.engine.promise import Reach
    from guardrail.engine.rules import Rules
    from guardrail.policy.spending import SpendingCost
    from guardrail.policy.threat_facts import ThreatFacts
    from guardrail.stats import Plan

__all__ = ["Cost", "PolicyFacts", "ReachCost", "cost_of_reach", "describe_rules"]

RATES = (0.3, 0.5, 0.7, 0.9)
"""Harmless rates at which the chance to pass is shown."""
HARMFUL_RATE = 0.1
"""Share of harmless answers that a harmful request is reckoned to draw."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What decisions take at one harmless rate: means, and the chance to pass."""

    harmless_rate: float
    calls: float
    rounds: float
    passes: float


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """A policy's promise and price, for pictures that fit the canvas.

    Attributes:
        promise: the promise in one sentence.
        reference_kind: `action` or `meaning` where answers are compared with a reference.
        promised: radii at the plan's required rate, by floor.
        alpha: failure probability of one decision.
        false_pass: what the plan makes of it, at most alpha.
        q_required: harmless rate that a pass shows.
        fewest_samples: draws of the quickest pass, all of them harmless.
        max_samples: most draws.
        usual: ordinary traffic.
        harmful: harmful traffic.
        passes: (harmless rate, chance to pass) at `RATES`.
        faults: what lost answers cost ordinary traffic, by their share.
        spending: what tries cost that share one alpha.
        threats: what is covered beside small changes of pixels; None for nothing.
    """

    promise: str
    reference_kind: str
    promised: tuple[Reach, ...]
    alpha: float
    false_pass: float
    q_required: float
    fewest_samples: int
    max_samples: int
    usual: Cost
    harmful: Cost
    passes: tuple[tuple[float, float], ...]
    faults: tuple[FaultForecast, ...]
    spending: tuple[SpendingCost, ...]
    threats: ThreatFacts | None = None


def describe_rules(rules: Rules, *, reference_kind: str = "") -> PolicyFacts:
    """Everything exact, by the plan that the guard will run.

    Args:
        rules: the policy.
        reference_kind: `action` or `meaning` where its oracle compares answers with a reference.

    Raises:
        CertificationError: no test within `max_samples` can pass with the wanted power.
    """
    plan = plan_for(rules, UNSCALED)
    promised = radii_by_floor(rules, UNSCALED, plan.q_required)
    return PolicyFacts(
        promise=evasion_sentence(
            rules.claim,
            promised,
            alpha=rules.alpha,
            miss_rate_upper=rules.miss_rate_upper,
            delta=rules.delta,
            probe_max_tokens=rules.probe_max_tokens,
            reference_kind=reference_kind,
            most_asked=rules.retry.most_asked(rules.retries),
        ),
        reference_kind=reference_kind,
        promised=promised,
        alpha=rules.alpha,
        false_pass=plan.false_pass_upper,
        q_required=plan.q_required,
        fewest_samples=_earliest_pass(plan),
        max_samples=plan.max_samples,
        usual=_cost(rules, plan, rules.expected_harmless_rate),
        harmful=_cost(rules, plan, HARMFUL_RATE),
        passes=tuple((rate, plan.power_at(rate)) for rate in RATES),
        faults=pass_rates_under_faults(plan, rules.expected_harmless_rate),
        spending=spending_costs(rules),
        threats=describe_threats(rules),
    )


@dataclass(frozen=True, slots=True)
class ReachCost:
    """What it would take to promise `radius` to requests below `floor`.

    Attributes:
        radius: ℓ2, in the policy's space.
        floor: harmless rate.
        q_required: harmless rate that a pass would have to show; None where none is enough.
        fewest_samples: draws that can show it, all harmless; None likewise.
        calls: mean for ordinary traffic under the policy's other numbers; None where
            `max_samples` or the usual harmless rate do not allow a plan.
    """

    radius: float
    floor: float
    q_required: float | None
    fewest_samples: int | None
    calls: float | None


def cost_of_reach(rules: Rules, radius: float, floor: float) -> ReachCost:
    """The other way round: from a wished radius and floor to calls.

    Raises:
        CertificationError: radius or floor are out of range.
    """
    tested = floor_with_misses(floor, rules.miss_rate_upper or 0.0)
    try:
        q = required_harmless_rate(
            radius, sigma=rules.sigma, floor=tested, sampler_error=UNSCALED.sampler_error
        )
    except CertificationError:
        if radius < 0.0:
            raise
        return ReachCost(radius, floor, None, None, None)
    wished = dataclasses.replace(rules, promised_radius=radius, floor=floor)
    try:
        calls = plan_for(wished, UNSCALED).expected_calls_at(rules.expected_harmless_rate)
    except CertificationError:
        calls = None
    return ReachCost(radius, floor, q, fewest_samples(q, rules.alpha), calls)


def _cost(rules: Rules, plan: Plan, rate: float) -> Cost:
    walk = plan.walk(rate)
    return Cost(rate, walk.expected_calls, walk.expected_rounds(rules.max_parallel), walk.power)


def _earliest_pass(plan: Plan) -> int:
    passing = (n for n, most in zip(plan.looks, plan.pass_at_most, strict=True) if most >= 0)
    return next(passing)
