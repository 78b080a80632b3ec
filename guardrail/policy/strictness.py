"""Which of two policies is the stricter one, as far as that can be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.engine.promise import RadiusSpace
from guardrail.engine.rules import Mode, OnOracleFailure, OnSeveralModels, OnUnscanned

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
        "known_pictures.lists": bool(policy.known_pictures.lists),
        "overrides": policy.overrides == "off",
        "failures.oracle": failures.oracle is OnOracleFailure.ERROR,
        "failures.unscanned": failures.unscanned is OnUnscanned.BLOCK,
        "failures.several_models": failures.several_models is OnSeveralModels.ERROR,
    }
