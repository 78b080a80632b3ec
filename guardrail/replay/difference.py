"""Two policies side by side: which fields differ, and whether one is stricter than the other."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from guardrail.engine.plan import UNSCALED, plan_for, radii_by_floor, scale_promise
from guardrail.engine.promise import Claim, RadiusSpace
from guardrail.engine.rules import (
    Mode,
    OnOracleFailure,
    OnSeveralModels,
    OnUnscanned,
    Retry,
    TextInPictures,
)
from guardrail.policy.compile import compile_policy
from guardrail.policy.content import policy_content
from guardrail.policy.facts import HARMFUL_RATE
from guardrail.policy.fields import describe_fields
from guardrail.policy.schema import Policy
from guardrail.replay.comparison import PolicyComparison
from guardrail.replay.effects import Effect
from guardrail.stats import FLOORS

if TYPE_CHECKING:
    from guardrail.engine.plan import Geometry
    from guardrail.engine.promise import Reach
    from guardrail.engine.rules import Rules
    from guardrail.replay.effects import FieldChange
    from guardrail.types import Json

__all__ = ["FieldDifference", "PolicyDifference", "PolicyNumbers", "Strictness", "compare_policies"]


class Strictness(StrEnum):
    """How the second of two policies stands to the first.

    `NEITHER`: stricter in one field and looser in another, or different in a way of which only
    traffic shows what it does.
    """

    STRICTER = "stricter"
    LOOSER = "looser"
    AS_STRICT = "as strict"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field that differs.

    Attributes:
        field: its place, such as `smoothing.radius`.
        old, new: its values; None also where only the other policy has the field.
        meaning: what the field is, in one sentence; empty for an oracle's own fields.
        effect: which part of a decision it acts on.
        strictness: what this field alone makes of the second policy.
    """

    field: str
    old: Json
    new: Json
    meaning: str
    effect: str
    strictness: Strictness


@dataclass(frozen=True, slots=True)
class PolicyNumbers:
    """Promise and price of one policy, for pictures that fit the canvas.

    Attributes:
        only_observes: whether nothing is stopped in fact.
        reaches: how far a picture may be changed, by how often the request is answered harmlessly.
        alpha: probability, at most, that such a request passes a try.
        q_required: harmless rate that a pass shows.
        fewest_samples, max_samples: calls of the quickest pass, and of the longest test.
        usual_calls, usual_passes: of ordinary requests, mean and share.
        usual_rate: harmless rate of those.
        harmful_calls: mean calls of harmful requests (harmless rate 0.1).
    """

    only_observes: bool
    reaches: tuple[Reach, ...]
    alpha: float
    q_required: float
    fewest_samples: int
    max_samples: int
    usual_calls: float
    usual_passes: float
    usual_rate: float
    harmful_calls: float


@dataclass(frozen=True, slots=True)
class PolicyDifference:
    """What differs between two policies, the first and the second.

    Attributes:
        names: of the two.
        strictness: of the second one against the first.
        fields: what differs, names left out.
        numbers: promise and price of each, exactly.
    """

    names: tuple[str, str]
    strictness: Strictness
    fields: tuple[FieldDifference, ...]
    numbers: tuple[PolicyNumbers, PolicyNumbers]


_STRICT_UP = ("smoothing.radius", "smoothing.floor", "oracle.miss_rate_upper")
_PROMISE = frozenset({*_STRICT_UP, "smoothing.claim", "advanced.smoothing.radius_space"})
_STRICT_DOWN = ("smoothing.alpha", "oracle.threshold")
_STRICT_WORDS: dict[str, Json] = {
    "mode": Mode.ENFORCE.value,
    "smoothing.claim": Claim.HARMLESSNESS.value,
    "failures.oracle": OnOracleFailure.ERROR.value,
    "failures.unscanned": OnUnscanned.BLOCK.value,
    "failures.several_models": OnSeveralModels.ERROR.value,
    "failures.refusals_are_harmless": False,
    "text_in_pictures": TextInPictures.OCR.value,
    "overrides": "off",
    "advanced.limits.retry": Retry.UNDRAWN.value,
    "advanced.smoothing.radius_space": RadiusSpace.CANVAS.value,
    "oracle.unmeasured_language": "block",
}
_SPENDING = ("off", "end_user", "principal")
_AS_STRICT = frozenset({
    "oracle.delta", "oracle.calibration", "sampling.max_samples", "advanced.sampling.plan",
    "advanced.sampling.expected_harmless_rate", "advanced.sampling.expected_success_rate",
    "advanced.sampling.power", "advanced.sampling.latency_weight",
    "advanced.sampling.max_parallel", "advanced.sampling.speculate",
    "advanced.limits.call_timeout_s", "advanced.limits.deadline_s", "advanced.limits.retries",
    "advanced.limits.max_calls", "advanced.limits.max_cost_usd_per_request",
})  # fmt: skip
"""Fields that change what decisions cost and how often harmless requests pass, but no promise."""
_SCALED = dataclasses.replace(UNSCALED, operator_norm=0.125)
"""A picture eight times as large as its canvas."""
_OUTSIDE_CONTENT = ("overrides", "known_pictures.lists", "known_pictures.distance")
_NO_DECISION = (Effect.NOTHING, Effect.REQUESTS, Effect.MEMORY)


def compare_policies(first: Policy, second: Policy) -> PolicyDifference:
    """What differs, and what it means.

    Raises:
        ConfigError: one of them cannot be used.
        CertificationError: likewise.
    """
    old, new = (
        # No part of the content, as it changes no decision of the guard.
        {**policy_content(one), **_outside_content(one)}
        for one in (first, second)
    )
    comparison = PolicyComparison(old, new)
    lists = all(one.known_pictures.lists for one in (first, second))
    fields = tuple(
        _describe(change, has_lists=lists)
        for change in comparison.changes
        if change.effect is not Effect.NAME
    )
    first_numbers, second_numbers = (_measure(compile_policy(one)) for one in (first, second))
    # Radius and floor and what else makes the promise stand together: a low floor may be paid for
    # by a large radius. Their curves are compared, not the fields.
    kinds = [one.strictness for one in fields if one.field not in _PROMISE]
    if any(one.field in _PROMISE for one in fields):
        # A radius that is meant on the canvas grows with the picture, one in client pixels does
        # not: two policies may change places between pictures that fit and those that are scaled.
        for where in (UNSCALED, _SCALED):
            curves = (_reaches_at(compile_policy(one), where) for one in (first, second))
            kinds.append(_compare_reaches(*curves))
    return PolicyDifference(
        names=(first.name, second.name),
        strictness=_combine(kinds),
        fields=fields,
        numbers=(first_numbers, second_numbers),
    )


def _measure(rules: Rules) -> PolicyNumbers:
    plan = plan_for(rules, UNSCALED)
    usual = plan.walk(rules.expected_harmless_rate)
    passing = (n for n, most in zip(plan.looks, plan.pass_at_most, strict=True) if most >= 0)
    return PolicyNumbers(
        only_observes=rules.mode is Mode.OBSERVE,
        reaches=radii_by_floor(rules, UNSCALED, plan.q_required),
        alpha=rules.alpha,
        q_required=plan.q_required,
        fewest_samples=next(passing),
        max_samples=plan.max_samples,
        usual_calls=usual.expected_calls,
        usual_passes=usual.power,
        usual_rate=rules.expected_harmless_rate,
        harmful_calls=plan.expected_calls_at(HARMFUL_RATE),
    )


def _reaches_at(rules: Rules, where: Geometry) -> tuple[Reach, ...]:
    promised = scale_promise(rules, where)
    return radii_by_floor(promised, where, plan_for(rules, where).q_required)


def _describe(change: FieldChange, *, has_lists: bool) -> FieldDifference:
    return FieldDifference(
        change.field,
        change.old,
        change.new,
        _meanings().get(change.field, ""),
        change.effect.value,
        _judge(change, has_lists=has_lists),
    )


def _outside_content(policy: Policy) -> dict[str, Json]:
    """What decides beside the guard and is no part of a policy's content."""
    known = policy.known_pictures.model_dump(mode="json")
    return {"overrides": policy.overrides, "known_pictures": known}


def _judge(change: FieldChange, *, has_lists: bool) -> Strictness:
    field, old, new = change.field, change.old, change.new
    decides = change.effect not in _NO_DECISION or field in _OUTSIDE_CONTENT
    if not decides or field in _AS_STRICT:
        return Strictness.AS_STRICT
    if field in _STRICT_UP + _STRICT_DOWN:
        return _by_number(old, new, up=field in _STRICT_UP)
    if field == "known_pictures.distance":
        # Without a list on both sides there is nothing that both look for.
        return _by_number(old, new, up=True) if has_lists else Strictness.AS_STRICT
    if field == "spending.mode":
        return _by_number(_SPENDING.index(old), _SPENDING.index(new), up=True)
    strict = _STRICT_WORDS.get(field)
    if strict is None or strict not in (old, new):
        return Strictness.NEITHER
    return Strictness.STRICTER if new == strict else Strictness.LOOSER


def _by_number(old: Any, new: Any, *, up: bool) -> Strictness:
    if not all(isinstance(one, int | float) for one in (old, new)):
        return Strictness.NEITHER
    return Strictness.STRICTER if (new > old) is up else Strictness.LOOSER


def _combine(each: list[Strictness]) -> Strictness:
    """Stricter only where nothing is looser, and the other way round."""
    kinds = set(each) - {Strictness.AS_STRICT}
    if not kinds:
        return Strictness.AS_STRICT
    return kinds.pop() if len(kinds) == 1 else Strictness.NEITHER


def _compare_reaches(old: tuple[Reach, ...], new: tuple[Reach, ...]) -> Strictness:
    """By how far a picture may be changed, at each of the floors that are always shown."""
    pairs = [
        tuple(next(-1.0 if r.radius is None else r.radius for r in side if r.floor == floor)
              for side in (old, new))
        for floor in FLOORS
    ]  # fmt: skip
    farther = any(after > before for before, after in pairs)
    nearer = any(after < before for before, after in pairs)
    if farther and nearer:
        return Strictness.NEITHER
    if not farther and not nearer:
        return Strictness.AS_STRICT
    return Strictness.STRICTER if farther else Strictness.LOOSER


@cache
def _meanings() -> dict[str, str]:
    """The first sentence of each field's text."""
    return {
        ".".join(one.place): one.text.partition(". ")[0].rstrip(".") + "."
        for one in describe_fields(Policy)
        if one.text
    }
