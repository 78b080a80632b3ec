"""What one decision may spend on calls, and what it has spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.engine.verdict import Reason
from guardrail.errors import ConfigError
from guardrail.upstreams.base import known_models, provider_model
from guardrail.upstreams.chain import members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.rules import Rules
    from guardrail.types import Answer
    from guardrail.upstreams.base import Upstream

__all__ = ["Budget", "BudgetSpentError", "check_prices", "has_price"]


class BudgetSpentError(Exception):
    """The next call would go beyond a limit; the decision ends without it."""


class Budget:
    """Limits the calls of one decision and adds up what they cost.

    `max_calls` is never exceeded. What a call costs is not known before its answer comes, so each
    call in flight is reckoned at the highest cost of an answer so far. The first calls, made side
    by side before any answer, may therefore exceed `max_cost_usd` together; nothing is sent after
    that. With a limit of 1.00 USD, 0.70 spent and answers of 0.20 at most, one call may be in
    flight, and no second one.

    Args:
        rules: the limits and prices.
        caller: for whom the calls are made, where that is known; see `Limiter.enter`.
        max_calls, max_cost_usd: limits in place of those of the rules; None for those.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        caller: str = "",
        max_calls: int | None = None,
        max_cost_usd: float | None = None,
    ) -> None:
        self.spent: Reason | None = None
        self.caller = caller
        self._rules = rules
        self._max_calls = rules.max_calls if max_calls is None else max_calls
        self._max_cost_usd = rules.max_cost_usd if max_cost_usd is None else max_cost_usd
        self._sent = 0
        self._charged = 0
        self._in_flight = 0
        self._highest_usd = 0.0
        self._counted_usd = 0.0
        self._all_counted = True

    @property
    def cost_usd(self) -> float | None:
        """The cost of all answers so far; None where that of any one is not known."""
        return self._counted_usd if self._all_counted else None

    @property
    def calls(self) -> int:
        """How many calls were sent."""
        return self._sent

    @property
    def cost_upper_usd(self) -> float | None:
        """As `cost_usd`, with every call that brought no answer reckoned at the highest cost.

        A provider charges for an answer that nobody waited for as well.
        """
        unanswered = max(0, self._sent - self._charged)
        return self._counted_usd + unanswered * self._highest_usd if self._all_counted else None

    def slot(self, *models: str) -> _Slot:
        """A context in which a call counts as open. Entering it raises what `open` raises."""
        return _Slot(self, models)

    def open(self, *models: str) -> None:
        """Asks for a call before it is made.

        Args:
            models: what it asks for, as clients and the provider call it.

        Raises:
            BudgetSpentError: it must not be made.
            ConfigError: the cost is limited, and the model has no price.
        """
        self.spent = self.spent or self._limit_reached(models)
        if self.spent is not None:
            raise BudgetSpentError(self.spent)
        self._sent += 1
        self._in_flight += 1

    def close(self) -> None:
        """Says that a call has ended, in whatever way."""
        self._in_flight -= 1

    def charge(
        self, answer: Answer, *models: str, broken_off: bool = False, share: float = 1.0
    ) -> float | None:
        """Adds an answer's cost, and returns it; None where it is not known.

        The tokens of one that was broken off are not reported. For the meaning of `share` see
        `guardrail.upstreams.base.price_share`.
        """
        cost = self._rules.prices.cost_usd(answer, *models)
        cost = None if cost is None else cost * share
        if cost is None and broken_off:
            cost = self._highest_usd or None
        elif cost is None and self._max_cost_usd is not None:
            self.spent = Reason.MAX_COST  # what cannot be counted cannot be limited
        self._charged += 1
        self._highest_usd = max(self._highest_usd, cost or 0.0)
        self._counted_usd += cost or 0.0
        self._all_counted &= cost is not None
        return cost

    def _limit_reached(self, models: Sequence[str]) -> Reason | None:
        if self._max_calls is not None and self._sent >= self._max_calls:
            return Reason.MAX_CALLS
        if self._max_cost_usd is None:
            return None
        if self._rules.prices.find(*models) is None:
            raise _unpriced_error("the model that the request asks for")
        reckoned_usd = self._counted_usd + (self._in_flight + 1) * self._highest_usd
        return Reason.MAX_COST if reckoned_usd > self._max_cost_usd else None


class _Slot:
    """One call; a generator in its place takes several times as long."""

    __slots__ = ("_budget", "_models")

    def __init__(self, budget: Budget, models: tuple[str, ...]) -> None:
        self._budget = budget
        self._models = models

    def __enter__(self) -> None:
        self._budget.open(*self._models)

    def __exit__(self, *_: object) -> None:
        self._budget.close()


def has_price(rules: Rules, upstream: Upstream, model: str) -> bool:
    """Whether what this model costs is known of every upstream, as far as that matters."""
    if rules.max_cost_usd is None:
        return True
    find = rules.prices.find
    return all(find(provider_model(one, model), model) is not None for one in members(upstream))


def check_prices(rules: Rules, upstream: Upstream) -> None:
    """Raises ConfigError where the cost is limited and a model that is known has no price."""
    if rules.max_cost_usd is None:
        return
    if not rules.prices.own and not rules.prices.known:
        raise _unpriced_error("every model")
    for model in known_models(upstream):
        if not has_price(rules, upstream, model):
            raise _unpriced_error(f"'{model}'")


def _unpriced_error(which: str) -> ConfigError:
    return ConfigError(
        "the cost of a request is limited (by advanced.limits.max_cost_usd_per_request, or its API "
        f"key's dollars a day), but the price of {which} is not known; add it by the client's name "
        "or the provider's, or as '*'",
        field="advanced.prices",
    )
