"""What one decision may spend on calls, and what it has spent."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from guardrail.engine.verdict import Reason
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.engine.rules import Rules
    from guardrail.types import Answer

__all__ = ["Budget", "BudgetSpentError"]


class BudgetSpentError(Exception):
    """The next call would go beyond a limit; the decision ends without it."""


class Budget:
    """Limits the calls of one decision and adds up what they cost.

    `max_calls` is never exceeded. What a call costs is not known before its answer comes, so each
    call in flight is reckoned at the highest cost of an answer so far. The first calls, made side
    by side before any answer, may therefore exceed `max_cost_usd` together; nothing is sent after
    that. With a limit of 1.00 USD, 0.70 spent and answers of 0.20 at most, one call may be in
    flight, and no second one.
    """

    def __init__(self, rules: Rules, model: str) -> None:
        self.spent: Reason | None = None
        self._rules = rules
        self._model = model
        self._sent = 0
        self._in_flight = 0
        self._highest_usd = 0.0
        self._counted_usd = 0.0
        self._all_counted = True

    @property
    def cost_usd(self) -> float | None:
        """The cost of all answers so far; None where that of any one is not known."""
        return self._counted_usd if self._all_counted else None

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Counts a call as open meanwhile. Raises what `open` raises."""
        self.open()
        try:
            yield
        finally:
            self.close()

    def open(self) -> None:
        """Asks for a call before it is made.

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
        """Says that a call has ended, in whatever way."""
        self._in_flight -= 1

    def charge(self, answer: Answer, *, broken_off: bool = False) -> None:
        """Adds an answer's cost; the tokens of one that was broken off are not reported."""
        cost = self._rules.prices.cost_usd(answer, self._model)
        if cost is None and broken_off:
            cost = self._highest_usd or None
        elif cost is None and self._rules.max_cost_usd is not None:
            self.spent = Reason.MAX_COST  # what cannot be counted cannot be limited
        self._highest_usd = max(self._highest_usd, cost or 0.0)
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
        reckoned_usd = self._counted_usd + (self._in_flight + 1) * self._highest_usd
        return Reason.MAX_COST if reckoned_usd > rules.max_cost_usd else None
