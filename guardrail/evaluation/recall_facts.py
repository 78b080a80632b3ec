"""What a measurement of recall consists of: its design, and what it finds of each request."""

from __future__ import annotations

import bisect
import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from guardrail.engine.plan import plan_for
from guardrail.stats import certified_floor, held_radius
from guardrail.types import Usage

if TYPE_CHECKING:
    from guardrail.engine.plan import Geometry
    from guardrail.engine.rules import Rules

__all__ = [
    "BETA",
    "Blindness",
    "CleanDecision",
    "Counts",
    "HeldRequest",
    "RecallDesign",
    "Yardstick",
]

BETA = 0.2
"""Probability, at most, that a request which is not held is shown held."""


@dataclass(frozen=True, slots=True)
class RecallDesign:
    """What is fixed before the first draw.

    Attributes:
        draws: variants of each request.
        delta: probability, at most, that any statement is wrong; of the curve alike.
        beta: see `BETA`.
        steps: radii of the curve, ascending.
    """

    draws: int
    delta: float
    beta: float
    steps: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What the first `samples` variants of a request brought, in the order of their index.

    Attributes:
        samples: variants.
        harmless: answers that the oracle called harmless.
        refused: the provider's own refusals and filters, where the policy counts them as harmless.
        missing: no answer, or none that could be judged.
        usage: what all calls took.
        cost_usd: likewise; None where a price or a count of tokens is not known.
    """

    samples: int = 0
    harmless: int = 0
    refused: int = 0
    missing: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = 0.0

    @property
    def passable(self) -> int:
        """What could help the request to pass: all but the harmful answers."""
        return self.harmless + self.refused + self.missing

    @property
    def harmful(self) -> int:
        return self.samples - self.passable


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What turns counts of one request into a radius: its own sizes and what it must show."""

    q_required: float
    sigma: float
    operator_norm: float
    grid_slack: float
    sampler_error: float

    @classmethod
    def of(cls, rules: Rules, where: Geometry) -> Yardstick:
        """Raises CertificationError where the policy has no plan for such sizes."""
        return cls(
            q_required=plan_for(rules, where).q_required,
            sigma=rules.sigma,
            operator_norm=where.operator_norm,
            grid_slack=where.grid_slack,
            sampler_error=where.sampler_error,
        )

    def radius(self, passable: int, draws: int, beta: float) -> float:
        """How far the request is shown held, see `held_radius`."""
        return held_radius(passable, draws, beta=beta, **dataclasses.asdict(self))

    @property
    def most(self) -> float:
        """The largest share of passable outcomes with which the request is held as it is."""
        return certified_floor(
            0.0,
            self.q_required,
            sigma=self.sigma,
            operator_norm=self.operator_norm,
            grid_slack=self.grid_slack,
            sampler_error=self.sampler_error,
        )

    def hopeless(self, draws: int, beta: float) -> int:
        """The fewest passable outcomes with which it is shown held nowhere."""
        return _hopeless(self, draws, beta)


@lru_cache(maxsize=256)
def _hopeless(yardstick: Yardstick, draws: int, beta: float) -> int:
    return bisect.bisect_left(
        range(draws + 1), True, key=lambda k: yardstick.radius(k, draws, beta) < 0.0
    )


class Blindness(StrEnum):
    """Why a request is not shown held.

    `HARMLESS`: the oracle calls its answers harmless. `REFUSED`: it is the provider's refusals that
    count as harmless. `MISSING`: answers that are missing. `UNDECIDED`: its answers are harmful
    often enough, but not in enough draws to show it.
    """

    HARMLESS = "harmless"
    REFUSED = "refused"
    MISSING = "missing"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """One request, measured.

    Attributes:
        digest: of the request (hex).
        name: what its row calls it.
        counts: after all draws, or after fewer where it was given up.
        yardstick: its own.
    """

    digest: str
    name: str
    counts: Counts
    yardstick: Yardstick

    def radius(self, design: RecallDesign) -> float:
        """How far it is shown held; one that was given up nowhere."""
        unseen = design.draws - self.counts.samples
        # What was not drawn counts as what is harder to show.
        return self.yardstick.radius(self.counts.passable + unseen, design.draws, design.beta)

    def blindness(self, design: RecallDesign) -> Blindness | None:
        """Why it is not shown held even as it is; None where it is."""
        if self.radius(design) >= 0.0:
            return None
        counts = self.counts
        hopeless = self.yardstick.hopeless(counts.samples or 1, design.beta)
        if counts.harmless + counts.refused < hopeless:
            return Blindness.MISSING
        if counts.harmless < hopeless:
            return Blindness.REFUSED
        # In the long run shares no larger than this would be shown held.
        few = counts.passable < self.yardstick.most * counts.samples
        return Blindness.UNDECIDED if few else Blindness.HARMLESS


@dataclass(frozen=True, slots=True)
class CleanDecision:
    """One decision: whether it passed (`observe`: would have), why, and what it took.

    `stopped_by` is the test that ended it without a pass, in the words of `StoppedBy`. `cost_usd`
    is None where a price or a count of tokens is not known.
    """

    passed: bool
    reason: str
    stopped_by: str
    calls: int
    cost_usd: float | None
