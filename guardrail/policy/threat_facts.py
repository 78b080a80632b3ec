"""What each threat that a policy covers is promised and costs, before anything is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.plan import UNSCALED, plan_for, view_plan_for
from guardrail.engine.threat_wording import promise_sentence
from guardrail.engine.threats import Threat, plan_views
from guardrail.stats import combined_power

if TYPE_CHECKING:
    from guardrail.engine.rules import Rules
    from guardrail.engine.threats import Threats
    from guardrail.stats import Plan

__all__ = ["ThreatCost", "ThreatFacts", "describe_threats", "fewest_view_calls"]

_USUAL_SIZE = (480, 640)
"""Height and width of the picture for which views and calls are told, unless that is too small."""


@dataclass(frozen=True, slots=True)
class ThreatCost:
    """One threat, for one picture of the stated size and the longest text that matters.

    Attributes:
        threat: its name in the policy.
        promise: what is promised against it, in one sentence.
        views: how many views are tested for it.
        fewest_calls: that its tests take where all answers are harmless.
        calls: that they take on average for ordinary traffic.
        most_calls: that they take at most.
    """

    threat: str
    promise: str
    views: int
    fewest_calls: int
    calls: float
    most_calls: int


@dataclass(frozen=True, slots=True)
class ThreatFacts:
    """What all of them promise and cost.

    Attributes:
        height_px, width_px: of the picture.
        floor: harmless rate below which a view is held.
        threats: one by one.
        power: of ordinary requests with such a picture at least this share pass all tests, the
            request's own included: 1 - Σ(1 - power), rounded down.
        text_calls: that a request without pictures takes on average, where it is tested.
    """

    height_px: int
    width_px: int
    floor: float
    threats: tuple[ThreatCost, ...]
    power: float
    text_calls: float | None


def describe_threats(
    rules: Rules, size: tuple[int, int] | None = None, *, alpha: float | None = None
) -> ThreatFacts | None:
    """Views and calls of each threat for one picture; None where there is none beside l2.

    Args:
        rules: the policy.
        size: height and width of the picture, in pixels; None for a usual one.
        alpha: of the decision; None for that of the policy.

    Raises:
        CertificationError: the picture is too small for its views, or no test within `max_samples`
            has the wanted power.
    """
    threats = rules.threats
    if threats is None:
        return None
    size = size or _usual_size(threats)
    views = plan_views(threats, [size])
    plan = view_plan_for(rules, threats, len(views), alpha=alpha)
    rate = threats.expected_harmless_rate * rules.expected_success_rate
    own = plan_for(rules, UNSCALED, alpha=alpha)
    powers = [own.power_at(rules.q1), *[plan.power_at(rate)] * len(views)]
    return ThreatFacts(
        height_px=size[0],
        width_px=size[1],
        floor=threats.floor,
        threats=tuple(
            _cost(rules, threats, threat, plan, sum(view.threat is threat for view in views))
            for threat in threats.settings
        ),
        power=combined_power(powers),
        text_calls=_text_calls(rules, threats, alpha),
    )


def fewest_view_calls(rules: Rules, alpha: float | None = None) -> int:
    """Calls that the views of a usual picture take at least; 0 where nothing but l2 is covered.

    Of a suffix one view is reckoned, as a short text has no more.

    Raises:
        CertificationError: as `describe_threats`.
    """
    threats = rules.threats
    if threats is None:
        return 0
    size = _usual_size(threats)
    plan = view_plan_for(rules, threats, len(plan_views(threats, [size])), alpha=alpha)
    return len(plan_views(threats, [size], 1)) * _fewest(plan)


def _usual_size(threats: Threats) -> tuple[int, int]:
    least = 1 if threats.crops is None else threats.crops.sees
    height, width = _USUAL_SIZE
    return max(height, least), max(width, least)


def _cost(rules: Rules, threats: Threats, threat: Threat, plan: Plan, views: int) -> ThreatCost:
    return ThreatCost(
        threat=threat.value,
        promise=promise_sentence(
            threats.settings[threat],
            floor=threats.floor,
            alpha=rules.alpha,
            probe_max_tokens=rules.probe_max_tokens,
            most_asked=rules.retry.most_asked(rules.retries),
            temperature=threats.temperature,
        ),
        views=views,
        fewest_calls=views * _fewest(plan),
        calls=views * plan.expected_calls_at(threats.expected_harmless_rate),
        most_calls=views * plan.max_samples,
    )


def _text_calls(rules: Rules, threats: Threats, alpha: float | None) -> float | None:
    """Of the longest text that matters, the request itself counted as one more view."""
    if threats.suffix is None:
        return None
    tests = len(plan_views(threats, [])) + 1
    plan = view_plan_for(rules, threats, tests, alpha=alpha)
    return tests * plan.expected_calls_at(threats.expected_harmless_rate)


def _fewest(plan: Plan) -> int:
    passing = (n for n, most in zip(plan.looks, plan.pass_at_most, strict=True) if most >= 0)
    return next(passing)
