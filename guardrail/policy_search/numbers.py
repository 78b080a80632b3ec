"""The numbers of a policy that are searched, as one candidate, and their way into a policy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.policy.schema import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.engine.rules import Rules

__all__ = ["FIELDS", "NOISE", "Numbers", "change_policy"]

FIELDS: Mapping[str, str] = {
    "sigma": "smoothing.sigma",
    "canvas": "advanced.smoothing.canvas_max_side_px",
    "threshold": "oracle.threshold",
    "radius": "smoothing.radius",
    "floor": "smoothing.floor",
    "alpha": "smoothing.alpha",
    "max_samples": "sampling.max_samples",
}
"""Where each number stands in a policy."""

NOISE = frozenset({"sigma", "canvas"})
"""The numbers that take draws of their own."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """One candidate.

    Attributes:
        sigma, canvas: of the noise that the draws were made with; others take new draws.
        threshold: of the oracle; None where its verdicts do not follow from one score.
        radius, floor, alpha, max_samples: of the test.
    """

    sigma: float
    canvas: int | None
    threshold: float | None
    radius: float
    floor: float
    alpha: float
    max_samples: int

    @classmethod
    def of(cls, policy: Policy, *, cuts_scores: bool) -> Numbers:
        """Those of a policy.

        Args:
            policy: the policy.
            cuts_scores: whether answers are judged by one score and a threshold.
        """
        return cls(
            sigma=policy.smoothing.sigma,
            canvas=policy.advanced.smoothing.canvas_max_side_px,
            threshold=float(getattr(policy.oracle, "threshold", 0.5)) if cuts_scores else None,
            radius=policy.smoothing.radius,
            floor=policy.smoothing.floor,
            alpha=policy.smoothing.alpha,
            max_samples=policy.sampling.max_samples,
        )

    def changes(self, base: Numbers) -> dict[str, tuple[Any, Any]]:
        """Old and new value of each number that differs, by its name here."""
        return {
            name: (getattr(base, name), getattr(self, name))
            for name in FIELDS
            if getattr(base, name) != getattr(self, name)
        }

    def apply(self, policy: Policy) -> Policy:
        """The policy with these numbers, checked. Raises ValueError where one is out of range."""
        base = Numbers.of(policy, cuts_scores=self.threshold is not None)
        return change_policy(
            policy, {FIELDS[name]: new for name, (_, new) in self.changes(base).items()}
        )

    def apply_to_rules(self, rules: Rules) -> Rules:
        """The rules of a policy with another test; noise and threshold stay."""
        return dataclasses.replace(
            rules,
            promised_radius=self.radius,
            floor=self.floor,
            alpha=self.alpha,
            max_samples=self.max_samples,
        )


def change_policy(policy: Policy, fields: Mapping[str, Any]) -> Policy:
    """The policy with other values at some places such as `smoothing.radius`.

    Raises:
        ValueError: a value is out of its range.
    """
    content = policy.model_dump(mode="json", by_alias=True)
    for place, value in fields.items():
        *sections, name = place.split(".")
        section = content
        for part in sections:
            section = section[part]
        section[name] = value
    return Policy.model_validate(content).with_source(policy._source)  # noqa: SLF001 (its own files)
