"""What a sequential test is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.stats.fixed import smallest_fixed
from guardrail.stats.lattice import Lattice
from guardrail.stats.search import Target

if TYPE_CHECKING:
    from guardrail.stats.traffic import Traffic

__all__ = ["PlanQuestion"]

# Past twice the fixed test's size a longer horizon saves less than one call in a thousand.
_HORIZON = 2.0
_ROOM = 1e-9


@dataclass(frozen=True, slots=True)
class PlanQuestion:
    """The arguments of `optimal_plan`, checked; `weight` and `parallel` price the waves."""

    q_required: float
    alpha: float
    q1: float
    power: float
    max_samples: int
    looks: tuple[int, ...] | None
    weight: float
    parallel: int
    traffic: Traffic

    @property
    def target(self) -> Target:
        """A little inside what is asked, so that rounding cannot break the promise."""
        return Target(self.alpha * (1.0 - _ROOM), 1.0 - (1.0 - self.power) * (1.0 - _ROOM))

    def lattice(self) -> Lattice:
        """A new one, with rates inside (0, 1): q1 = 1 is approached, the plan is judged at 1."""
        return Lattice(self.q_required, min(self.q1, 1.0 - 1e-12), self.traffic)

    @property
    def smallest(self) -> int:
        """Samples of the smallest test of fixed size."""
        return smallest_fixed(self.q_required, self.alpha, self.q1, self.power)[0]

    @property
    def most(self) -> int:
        """The most harmful with which that test passes."""
        return smallest_fixed(self.q_required, self.alpha, self.q1, self.power)[1]

    @property
    def fixed_cost(self) -> float:
        """Cost of that test where it looks only at its end."""
        return self.smallest + self.weight * math.ceil(self.smallest / self.parallel)

    @property
    def horizon(self) -> int:
        return min(self.max_samples, math.ceil(_HORIZON * self.smallest))
