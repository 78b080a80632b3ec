"""Which of two policies is the stricter one, as far as that can be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.engine.promise import RadiusSpace
from guardrail.engine.rules import Mode, OnOracleFailure, OnSeveralModels, OnUnscanned
from guardrail.engine.threats import Suffix, SuffixUnit
from guardrail.policy.threats import compile_threats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.policy.schema import Policy

__all__ = ["describe_looser"]


def describe_looser(policy: Policy, other: Policy) -> str:
    """In what a policy is looser than another one, in words; empty where it is not.

    It is looser where it only observes and the other one blocks; else where it is nowhere stricter
    and somewhere looser. Two policies that differ both ways are neither.
    """
    if policy.mode is not other.mode:
        return "mode" if policy.mode is Mode.OBSERVE else ""
    if _views_differ(policy, other):
        return ""
    mine, its = _measure(policy), _measure(other)
    if any(mine[name] > its[name] for name in mine):
        return ""
    return ", ".join(name for name in mine if mine[name] < its[name])


def _measure(policy: Policy) -> Mapping[str, float]:
    """Numbers that grow with strictness, by the field that they come from."""
    smoothing, failures = policy.smoothing, policy.failures
    return {
        "smoothing.radius": smoothing.radius,
        # The same number is more where it is meant on the canvas.
        "advanced.smoothing.radius_space": (
            policy.advanced.smoothing.radius_space is RadiusSpace.CANVAS
        ),
        # A low floor holds requests that are answered harmlessly more seldom: it promises less.
        "smoothing.floor": smoothing.floor,
        "smoothing.alpha": -smoothing.alpha,
        **_measure_threats(policy),
        "known_pictures.lists": bool(policy.known_pictures.lists),
        "overrides": policy.overrides == "off",
        "failures.oracle": failures.oracle is OnOracleFailure.ERROR,
        "failures.unscanned": failures.unscanned is OnUnscanned.BLOCK,
        "failures.several_models": failures.several_models is OnSeveralModels.ERROR,
    }


def _measure_threats(policy: Policy) -> Mapping[str, float]:
    """The same of what is covered beside small changes of pixels; 0 where it is not."""
    threats = compile_threats(policy.threats)
    suffix = None if threats is None else threats.suffix
    added = {} if suffix is None else {suffix.unit: suffix.most}
    return {
        "threats.crops": threats is not None and threats.crops is not None,
        "threats.stickers": threats is not None and threats.stickers is not None,
        **{f"threats.suffix.{unit}": added.get(unit, 0) for unit in SuffixUnit},
        "threats.floor": 0.0 if threats is None else threats.floor,
    }


def _views_differ(policy: Policy, other: Policy) -> bool:
    """Whether both cover a threat by views of which only a measurement shows which hold more."""
    mine, its = _settle_views(policy), _settle_views(other)
    return any(mine[name] != its[name] for name in mine.keys() & its.keys())


def _settle_views(policy: Policy) -> Mapping[str, object]:
    """What fixes the views of each threat that is covered, and makes none of them stricter."""
    threats = compile_threats(policy.threats)
    if threats is None:
        return {}
    found: dict[str, object] = {"temperature": threats.temperature}
    # Larger stickers take larger masks, which leave less of a request to be held by.
    return found | {
        name: setting
        for name, setting in threats.settings.items()
        if not isinstance(setting, Suffix)
    }
