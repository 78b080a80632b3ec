"""What a caller may spend on a decision: reserved before it, and given back as far as unused."""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from guardrail.engine.budget import Budget
from guardrail.offload import FIND_PLAN, offload
from guardrail.upstreams.chain import members

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from guardrail.engine.engine import Engine
    from guardrail.images.codec import Picture

__all__ = ["Allowance", "AnswerSpent", "Reservation", "reserve_answer", "reserve_budget"]


@dataclass(frozen=True, slots=True)
class Reservation:
    """What was set aside for one decision.

    Attributes:
        owner: whose limits it counts against.
        calls: to models; None where they are not limited.
        usd: US dollars; likewise.
        token: tells it from others, where what counts them needs that.
    """

    owner: str
    calls: int | None = None
    usd: float | None = None
    token: str = field(default="", repr=False)


class Allowance(Protocol):
    """What one caller may still spend."""

    @property
    def caller(self) -> str:
        """Whose requests these are, for all that depends on faults of several callers."""

    @property
    def limits_calls(self) -> bool:
        """Whether `reserve` must be told how many calls."""

    async def reserve(self, calls: int | None, max_cost_usd: float | None) -> Reservation:
        """Sets aside what one decision may take.

        Args:
            calls: the most that it makes.
            max_cost_usd: the most that the policy lets it cost; None where it sets no limit.

        Raises:
            RequestError: 429, less than that is left.
        """

    async def settle(self, reservation: Reservation, calls: int, usd: float | None) -> None:
        """Counts what was used and gives the rest back; None where the cost is not known."""


def reserve_budget(
    engine: Engine,
    pictures: Sequence[Picture],
    model: str,
    alpha: float | None,
    allowance: Allowance | None,
) -> AbstractAsyncContextManager[Budget | None]:
    """The budget of one decision, within what its caller has left; None where nothing limits it.

    Calls beyond the budget's, for answers that are not judged, count as made.

    Raises:
        RequestError: 429, before anything was drawn.
    """
    if allowance is None:
        return nullcontext()
    return _reserve_budget(engine, pictures, model, alpha, allowance)


@asynccontextmanager
async def _reserve_budget(
    engine: Engine,
    pictures: Sequence[Picture],
    model: str,
    alpha: float | None,
    allowance: Allowance,
) -> AsyncIterator[Budget]:
    rules = engine.rules
    sizes = [(one.height, one.width) for one in pictures]
    pictures = ()  # not held here during the decision
    unbudgeted = engine.unbudgeted_calls(sizes)
    calls = None
    if allowance.limits_calls:
        most_calls = partial(engine.most_calls, sizes, model, alpha)
        calls = unbudgeted + await offload(FIND_PLAN, len(sizes), most_calls)
    reserved = await allowance.reserve(calls, rules.max_cost_usd)
    most = None
    if reserved.calls is not None:
        most = min(reserved.calls - unbudgeted, rules.max_calls or reserved.calls)
    budget = Budget(rules, caller=allowance.caller, max_calls=most, max_cost_usd=reserved.usd)
    try:
        yield budget
    finally:
        await allowance.settle(reserved, budget.calls + unbudgeted, budget.cost_upper_usd)


class AnswerSpent:
    """What one answer took that is not judged before it leaves.

    Attributes:
        caller: for whom it is asked; empty where that is not known.
    """

    def __init__(self, caller: str, calls: int) -> None:
        self.caller = caller
        self.calls = calls
        self.usd: float | None = None

    def note(self, calls: int, usd: float | None) -> None:
        """Says what it took; until then it counts as all that was set aside."""
        self.calls, self.usd = calls, usd


@asynccontextmanager
async def reserve_answer(engine: Engine, allowance: Allowance | None) -> AsyncIterator[AnswerSpent]:
    """Sets aside what one answer may take, its repeats included. Raises RequestError: 429."""
    calls = (1 + engine.rules.retries) * len(members(engine.upstream))
    if allowance is None:
        yield AnswerSpent("", calls)
        return
    most = calls if allowance.limits_calls else None
    reserved = await allowance.reserve(most, engine.rules.max_cost_usd)
    spent = AnswerSpent(allowance.caller, calls)
    try:
        yield spent
    finally:
        await allowance.settle(reserved, spent.calls, spent.usd)
