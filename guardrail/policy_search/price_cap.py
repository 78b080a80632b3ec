"""The most that a request can cost, fixed before any call is seen.

A bound of a mean needs the largest number that can come. The dearest call of a sample is not that:
the next one may be dearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guardrail.errors import ConfigError
from guardrail.policy.goals import GoalKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from guardrail.policy.goals import Goal

__all__ = ["PriceCap"]

_ROUNDING = 1.0 + 1e-9


@dataclass(frozen=True, slots=True)
class PriceCap:
    """What is stated of prices; None for what is not.

    Attributes:
        request_usd: `advanced.limits.max_cost_usd_per_request`; a decision ends at it.
        call_usd: the most that a call costs, by the provider's prices.
    """

    request_usd: float | None = None
    call_usd: float | None = None

    def check_goals(self, goals: Iterable[Goal]) -> None:
        """Raises ConfigError where one is about the price and nothing is stated."""
        has_cap = self.request_usd is not None or self.call_usd is not None
        if has_cap or all(goal.kind is not GoalKind.PRICE_USD for goal in goals):
            return
        raise ConfigError(
            "a bound of the price needs the most that a request can cost, stated before any call "
            "is seen, since a call that comes may be dearer than all that came; set "
            "advanced.limits.max_cost_usd_per_request in the policy, or give --price-per-call",
            field="goals.price_usd",
        )

    def most_usd(self, most_calls: int) -> float | None:
        """The most that a request of so many calls can cost; None where nothing is stated."""
        stated = [] if self.request_usd is None else [self.request_usd]
        if self.call_usd is not None:
            stated.append(most_calls * self.call_usd * _ROUNDING)
        return min(stated, default=None)

    def price_calls(self, call_cost_usd: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each request's price of a call; the stated one where it was not measured.

        Raises:
            ConfigError: one costs more than is stated.
        """
        if self.call_usd is None:
            return call_cost_usd
        dearest = float(np.nanmax(call_cost_usd, initial=0.0))
        if dearest > self.call_usd * _ROUNDING:
            raise ConfigError(
                f"a call costs at most {self.call_usd:g} US dollars as it is stated, but the calls "
                f"of one request cost {dearest:.6g} each; state the most that a call can cost",
                field="price-per-call",
            )
        return np.where(np.isnan(call_cost_usd), self.call_usd, call_cost_usd)
