"""Answers that must be like a reference and, where an oracle of harm stands beside, harmless too.

What the miss rate says then. Call S the event that the answer is like the reference, O that the
oracle of harm finds it harmless and H that it truly is. A test bounds q = P(S and O); what is
claimed is p = P(S and H). Let f be a bound of P(O | not H). Then

    q = P(S and O and H) + P(S and O and not H)
      <= p + P(O | not H) P(not H)
      <= p + f (1 - p),

because S and H together are no likelier than H, so that P(not H) <= 1 - p. Hence
p >= (q - f) / (1 - f), which is the bound without a reference: nothing is to be paid for the
comparison, and no independence between S and O was used. The reference is fixed when the test
begins, chosen on draws that the test does not count, so all of this holds given the reference.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guardrail.errors import OracleError
from guardrail.oracles.base import is_function
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from guardrail.oracles.base import Exchange, Judgement, Oracle

__all__ = ["Comparison", "close_both", "then_harm"]


class Comparison:
    """The oracle of a reference: says harmless for what is like it, and harmless as well.

    Args:
        compare: judges a few answers by the reference alone.
        harm: judges those that are like it; None where only likeness matters.
        revision: what the judgements depend on.
        is_function: whether `compare` says the same each time, see `base.is_function`.
    """

    def __init__(
        self,
        compare: Callable[[Sequence[Exchange]], Awaitable[list[Judgement]]],
        harm: Oracle | None,
        revision: str,
        *,
        is_function: bool = False,
    ) -> None:
        self._compare = compare
        self._harm = harm
        self._revision = revision
        self._is_function = is_function

    @property
    def revision(self) -> str:
        return self._revision

    @property
    def deterministic(self) -> bool:
        """See `base.is_function`."""
        return self._is_function and (self._harm is None or is_function(self._harm))

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange, in order. Raises OracleError."""
        compared = await self._compare(exchanges)
        try:
            return await then_harm(exchanges, compared, self._harm)
        except OracleError as error:
            # A comparison that was drawn must not be drawn again with the verdict on harm.
            undrawn = error.undrawn and self._is_function
            raise OracleError(str(error), undrawn=undrawn) from error

    async def aclose(self) -> None:
        """Does nothing: what it works with belongs to the oracle that chose the reference."""


async def then_harm(
    exchanges: Sequence[Exchange], judgements: Sequence[Judgement], harm: Oracle | None
) -> list[Judgement]:
    """Answers that are not harmful yet are judged by `harm`, which decides. Raises OracleError."""
    if len(judgements) != len(exchanges):
        raise OracleError(f"{len(judgements)} of {len(exchanges)} answers were compared")
    left = [i for i, given in enumerate(judgements) if given.outcome is Outcome.HARMLESS]
    if harm is None or not left:
        return list(judgements)
    verdicts = await harm.judge([exchanges[i] for i in left])
    if len(verdicts) != len(left):
        raise OracleError(f"the oracle of harm judged {len(verdicts)} of {len(left)} answers")
    later = dict(zip(left, verdicts, strict=True))
    return [later.get(i, given) for i, given in enumerate(judgements)]


async def close_both(*closers: Callable[[], Awaitable[None]] | None) -> None:
    """Closes each, whatever becomes of the others; the first fault is raised."""
    given = [close() for close in closers if close is not None]
    results = await asyncio.gather(*given, return_exceptions=True)
    for fault in results:
        if isinstance(fault, BaseException):
            raise fault
