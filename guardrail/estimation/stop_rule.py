"""When an estimate has enough draws, and what is known after each of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.plan import radii_by_floor, radius_at, scale_promise
from guardrail.errors import ConfigError
from guardrail.stats import (
    anytime_lower,
    anytime_upper,
    harmless_rate_lower,
    harmless_rate_upper,
)
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.engine.plan import Geometry
    from guardrail.engine.promise import Reach
    from guardrail.engine.rules import Rules

__all__ = ["RadiusScale", "RateEstimate", "StopRule"]

_DENSE = 128
"""Up to here anytime bounds are computed after every outcome, later after 1 % more each time."""


@dataclass(frozen=True, slots=True)
class RadiusScale:
    """From a harmless rate to a radius, for one picture under one set of rules.

    Attributes:
        rules: noise, claim, floor and radius.
        geometry: how the picture reaches its canvas.
    """

    rules: Rules
    geometry: Geometry

    @property
    def promised_radius(self) -> float:
        """What the policy promises of this picture, in its own pixels."""
        return scale_promise(self.rules, self.geometry).promised_radius

    def radius(self, q: float) -> float | None:
        """ℓ2 radius that the harmless rate `q` certifies, rounded down; None: abstain."""
        return radius_at(self.rules, self.geometry, q, self.rules.floor)

    def radii(self, q: float) -> tuple[Reach, ...]:
        """The same at further floors."""
        return radii_by_floor(self.rules, self.geometry, q)


@dataclass(frozen=True, slots=True)
class RateEstimate:
    """What is known of one picture after its first `samples` variants, in index order.

    `lower` and `upper` bound the observed harmless rate, each with probability 1 - alpha; missing
    outcomes are part of `samples` and count as harmful.
    """

    samples: int = 0
    harmless: int = 0
    missing: int = 0
    lower: float = 0.0
    upper: float = 1.0

    def after(self, outcome: Outcome) -> RateEstimate:
        return dataclasses.replace(
            self,
            samples=self.samples + 1,
            harmless=self.harmless + outcome.counts_as_harmless,
            missing=self.missing + (outcome is Outcome.MISSING),
        )


@dataclass(frozen=True, slots=True)
class StopRule:
    """How long to draw.

    Fixed (the default): exactly `n` draws, then Clopper–Pearson. Anytime: until the bounds, valid
    at all times at once, say enough, and `n` at most.

    Attributes:
        n: draws; an upper limit in anytime mode.
        alpha: failure probability of each bound.
        anytime: whether stopping may depend on the outcomes.
        radius: enough is known once this radius is certified, or once no number of draws would
            certify it.
        promised: the same for the radius that the policy promises of the picture.
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
    promised: bool = False

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigError("at least one draw is needed", field="n")
        aims = self.promised or self.radius is not None or self.width is not None
        if self.anytime != aims:
            raise ConfigError(
                "a target radius or width is for anytime estimates, which need one; the number "
                "of draws of a fixed one must not depend on what they bring",
                field="anytime",
            )

    def update_bounds(self, estimate: RateEstimate) -> RateEstimate:
        """The estimate with its bounds brought up to date, where it is time to look."""
        k, n = estimate.harmless, estimate.samples
        if self.anytime:
            return self._tighten_bounds(estimate) if n == self.n or _is_look(n) else estimate
        if n < self.n:
            return estimate
        return dataclasses.replace(
            estimate,
            lower=harmless_rate_lower(k, n, self.alpha),
            upper=harmless_rate_upper(k, n, self.alpha),
        )

    def is_reached(self, estimate: RateEstimate, scale: RadiusScale) -> bool:
        """Whether to stop; in fixed mode the outcomes never matter."""
        if estimate.samples >= self.n:
            return True
        return self.anytime and _is_look(estimate.samples) and self._is_enough(estimate, scale)

    def _tighten_bounds(self, estimate: RateEstimate) -> RateEstimate:
        """The tightest bounds so far: they hold at all times together."""
        k, n = estimate.harmless, estimate.samples
        return dataclasses.replace(
            estimate,
            lower=max(estimate.lower, anytime_lower(k, n, self.alpha)),
            upper=min(estimate.upper, anytime_upper(k, n, self.alpha)),
        )

    def _is_enough(self, estimate: RateEstimate, scale: RadiusScale) -> bool:
        farthest = scale.radius(estimate.upper)
        if farthest is None:
            return True  # no number of draws would certify anything
        reached = scale.radius(estimate.lower)
        for target in self._targets(scale):
            if farthest < target or (reached is not None and reached >= target):
                return True
        return self.width is not None and farthest - (reached or 0.0) <= self.width

    def _targets(self, scale: RadiusScale) -> Iterator[float]:
        if self.radius is not None:
            yield self.radius
        if self.promised:
            yield scale.promised_radius


def _is_look(n: int) -> bool:
    """Whether bounds are computed after draw `n`; this must not depend on outcomes.

    After every draw up to 255, then after 256, 258, …, 384, 387, …: about every hundredth draw.
    """
    return n > 0 and n % max(1, n // _DENSE) == 0
