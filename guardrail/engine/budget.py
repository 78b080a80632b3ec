"""What one decision may spend on calls, and what it has spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.engine.verdict import Reason
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.engine.rules import Rules
    from guardrail.types import Answer

__all__ = ["Budget", "BudgetSpentError"]


class BudgetSpentError(Exception):
    """The next call would go beyond a limit; the decision ends without it."""


class Budget:
    """Asked before every call of one decision, told of every answer.

    `max_calls` is never exceeded. Of what a call costs nothing is known before the first answer:
    calls in flight are reckoned at the dearest one so far, so the first ones that run side by
    side may together go beyond `max_cost_usd`; nothing is sent after that.
    """

    def __init__(self, rules: Rules, model: str) -> None:
        self.spent: Reason | None = None
        self._rules = rules
        self._model = model
        self._sent = 0
        self._in_flight = 0
        self._dearest_usd = 0.0
        self._counted_usd = 0.0
        self._all_counted = True

    @property
    def cost_usd(self) -> float | None:
        """The cost of all answers so far; None where that of any one is not known."""
        return self._counted_usd if self._all_counted else None

    def open(self) -> None:
        """Before a call.

        Raises:
            BudgetSpentError: it must not be made.
            ConfigError: the cost is limited, and the model has no price.
        """
        self.spent = self.spent or self._limit_reached()
        if self.spent is not None:
            raise BudgetSpentError(self.spent)
        self._sent += 1
        self._in_flight += 1

    def close(self) -> None:
        """After it, however it ended."""
        self._in_flight -= 1

    def charge(self, answer: Answer, *, broken_off: bool = False) -> None:
        """Adds an answer's cost; of one that was broken off nobody counts the tokens."""
        cost = self._rules.prices.cost_usd(answer, self._model)
        if cost is None and broken_off:
            cost = self._dearest_usd or None
        elif cost is None and self._rules.max_cost_usd is not None:
            self.spent = Reason.MAX_COST  # what cannot be counted cannot be limited
        self._dearest_usd = max(self._dearest_usd, cost or 0.0)
        self._counted_usd += cost or 0.0
        self._all_counted &= cost is not None

    def _limit_reached(self) -> Reason | None:
        rules = self._rules
        if rules.max_calls is not None and self._sent >= rules.max_calls:
            return Reason.MAX_CALLS
        if rules.max_cost_usd is None:
            return None
        if rules.prices.find(self._model) is None:
            raise ConfigError(
                "the cost of a request is limited, but the price of the model it asks for is not "
                "known; add the model to 'prices' of the policy",
                field="prices",
            )
        reckoned_usd = self._counted_usd + (self._in_flight + 1) * self._dearest_usd
        return Reason.MAX_COST if reckoned_usd > rules.max_cost_usd else None
