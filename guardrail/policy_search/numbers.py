"""The numbers of a policy that are searched, as one candidate, and their way into a policy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from guardrail.oracles.kinds.default import DefaultOptions
from guardrail.policy.schema import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.engine.rules import Rules, Side

__all__ = ["FIELDS", "NOISE", "OF_ORACLE", "Numbers", "View", "change_policy", "find_band"]

View: TypeAlias = "tuple[float, Side | None, str, float | None, float | None]"
"""What draws and verdicts follow from: sigma, canvas, oracle, low and high."""

FIELDS: Mapping[str, str] = {
    "sigma": "smoothing.sigma",
    "canvas": "advanced.smoothing.canvas_max_side_px",
    "oracle": "oracle.kind",
    "low": "oracle.low",
    "high": "oracle.high",
    "threshold": "oracle.threshold",
    "radius": "smoothing.radius",
    "floor": "smoothing.floor",
    "alpha": "smoothing.alpha",
    "max_samples": "sampling.max_samples",
}
"""Where each number stands in a policy."""

NOISE = frozenset({"sigma", "canvas"})
"""The numbers that take draws of their own."""

OF_ORACLE = ("low", "high", "threshold")
"""The numbers that belong to an oracle; another kind has its own."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """One candidate.

    Attributes:
        sigma, canvas: of the noise that the draws were made with; others take new draws.
        threshold: of the oracle; None where its verdicts do not follow from one score.
        radius, floor, alpha, max_samples: of the test.
        oracle: the kind of oracle.
        low, high: limits of the default oracle's cascade; None where there is none.
    """

    sigma: float
    canvas: Side | None
    threshold: float | None
    radius: float
    floor: float
    alpha: float
    max_samples: int
    oracle: str = "default"
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, policy: Policy, *, cuts_scores: bool) -> Numbers:
        """Those of a policy.

        Args:
            policy: the policy.
            cuts_scores: whether answers are judged by one score and a threshold.
        """
        low, high = find_band(policy)
        return cls(
            oracle=policy.oracle.kind,
            low=low,
            high=high,
            sigma=policy.smoothing.sigma,
            canvas=policy.advanced.smoothing.canvas_max_side_px,
            threshold=float(getattr(policy.oracle, "threshold", 0.5)) if cuts_scores else None,
            radius=policy.smoothing.radius,
            floor=policy.smoothing.floor,
            alpha=policy.smoothing.alpha,
            max_samples=policy.sampling.max_samples,
        )

    @property
    def view(self) -> View:
        """What its draws and verdicts follow from."""
        return self.sigma, self.canvas, self.oracle, self.low, self.high

    def changes(self, base: Numbers) -> dict[str, tuple[Any, Any]]:
        """Old and new value of each number that differs, by its name here.

        Of another oracle also those that it has of its own, which its policy must state.
        """
        found = {name: (getattr(base, name), getattr(self, name)) for name in FIELDS}
        if self.oracle == base.oracle:
            return {name: pair for name, pair in found.items() if pair[0] != pair[1]}
        return {
            name: (old, new)
            for name, (old, new) in found.items()
            if (new is not None if name in OF_ORACLE else old != new)
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


def find_band(policy: Policy) -> tuple[float, float] | tuple[None, None]:
    """The limits of the default oracle's cascade; None where there is none."""
    options = policy.oracle
    if isinstance(options, DefaultOptions) and options.uses_encoder:
        return options.low, options.high
    return None, None


def change_policy(policy: Policy, fields: Mapping[str, Any]) -> Policy:
    """The policy with other values at some places such as `smoothing.radius`.

    Raises:
        ValueError: a value is out of its range.
    """
    content = policy.model_dump(mode="json", by_alias=True)
    if fields.get("oracle.kind", policy.oracle.kind) != policy.oracle.kind:
        content["oracle"] = {}  # the fields of one kind are not those of another
    for place, value in fields.items():
        *sections, name = place.split(".")
        section = content
        for part in sections:
            section = section[part]
        section[name] = value
    return Policy.model_validate(content).with_source(policy._source)  # noqa: SLF001 (its own files)
