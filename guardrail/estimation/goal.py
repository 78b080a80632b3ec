"""What an estimate is after, what is known so far, and when that is enough."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.plan import radii_by_floor, radius_at
from guardrail.errors import ConfigError
from guardrail.stats import (
    anytime_lower,
    anytime_upper,
    harmless_rate_lower,
    harmless_rate_upper,
)
from guardrail.types import Outcome

if TYPE_CHECKING:
    from guardrail.engine.plan import Geometry, Reach
    from guardrail.engine.rules import Rules

__all__ = ["Goal", "Scale", "Tally"]

_DENSE = 128
"""Up to here an anytime bound is looked at after every outcome, later at about 1 % more each."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From a harmless rate to a radius, for one picture under one set of rules.

    Attributes:
        rules: noise, claim, floor and the space of the radius.
        where: how the picture reaches its canvas.
    """

    rules: Rules
    where: Geometry

    def radius(self, q: float) -> float | None:
        """ℓ2 radius that the harmless rate `q` certifies, rounded down; None: abstain."""
        return radius_at(self.rules, self.where, q, self.rules.floor)

    def radii(self, q: float) -> tuple[Reach, ...]:
        """The same at further floors."""
        return radii_by_floor(self.rules, self.where, q)


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known of one picture after its first `samples` variants, in index order.

    `lower` and `upper` bound the observed harmless rate, each with probability 1 - alpha; missing
    outcomes are part of `samples` and count as harmful.
    """

    samples: int = 0
    harmless: int = 0
    missing: int = 0
    lower: float = 0.0
    upper: float = 1.0

    def after(self, outcome: Outcome) -> Tally:
        return dataclasses.replace(
            self,
            samples=self.samples + 1,
            harmless=self.harmless + outcome.counts_as_harmless,
            missing=self.missing + (outcome is Outcome.MISSING),
        )


@dataclass(frozen=True, slots=True)
class Goal:
    """How long to draw.

    Fixed (the default): exactly `n` draws, then Clopper–Pearson. Anytime: until the bounds, valid
    at all times at once, say enough, and `n` at most.

    Attributes:
        n: draws; an upper limit in anytime mode.
        alpha: failure probability of each bound.
        anytime: whether stopping may depend on the outcomes.
        radius: enough is known once this radius is certified, or once no number of draws would
            certify it.
        width: enough is known once the certified radius is this close to the largest that any
            number of draws would certify.

    Raises:
        ConfigError: anytime without a target, or a target without anytime.
    """

    n: int
    alpha: float
    anytime: bool = False
    radius: float | None = None
    width: float | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigError("at least one draw is needed", field="n")
        aims = self.radius is not None or self.width is not None
        if self.anytime != aims:
            raise ConfigError(
                "a target radius or width is for anytime estimates, which need one; the number "
                "of draws of a fixed one must not depend on what they bring",
                field="anytime",
            )

    def with_look(self, tally: Tally) -> Tally:
        """The tally with its bounds brought up to date, where it is time to look."""
        k, n = tally.harmless, tally.samples
        if self.anytime:
            return self._looked_early(tally) if n == self.n or _is_look(n) else tally
        if n < self.n:
            return tally
        return dataclasses.replace(
            tally,
            lower=harmless_rate_lower(k, n, self.alpha),
            upper=harmless_rate_upper(k, n, self.alpha),
        )

    def is_reached(self, tally: Tally, scale: Scale) -> bool:
        """Whether to stop; in fixed mode the outcomes never matter."""
        if tally.samples >= self.n:
            return True
        return self.anytime and _is_look(tally.samples) and self._knows(tally, scale)

    def _looked_early(self, tally: Tally) -> Tally:
        """The tightest bounds so far: they hold at all times together."""
        k, n = tally.harmless, tally.samples
        return dataclasses.replace(
            tally,
            lower=max(tally.lower, anytime_lower(k, n, self.alpha)),
            upper=min(tally.upper, anytime_upper(k, n, self.alpha)),
        )

    def _knows(self, tally: Tally, scale: Scale) -> bool:
        farthest = scale.radius(tally.upper)
        if farthest is None:
            return True  # no number of draws would certify anything
        reached = scale.radius(tally.lower)
        if self.radius is not None:
            proved = reached is not None and reached >= self.radius
            if proved or farthest < self.radius:
                return True
        return self.width is not None and farthest - (reached or 0.0) <= self.width


def _is_look(n: int) -> bool:
    """Every draw at first, later one in about a hundred; a rule that knows no outcome."""
    return n > 0 and n % max(1, n // _DENSE) == 0
