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
    """

    def __init__(
        self,
        compare: Callable[[Sequence[Exchange]], Awaitable[list[Judgement]]],
        harm: Oracle | None,
        revision: str,
    ) -> None:
        self._compare = compare
        self._harm = harm
        self._revision = revision

    @property
    def revision(self) -> str:
        return self._revision

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange, in order. Raises OracleError."""
        return await then_harm(exchanges, await self._compare(exchanges), self._harm)

    async def aclose(self) -> None:
        """Nothing: what it works with belongs to the oracle that chose the reference."""


async def then_harm(
    exchanges: Sequence[Exchange], judgements: Sequence[Judgement], harm: Oracle | None
) -> list[Judgement]:
    """What is not harmful yet is judged by `harm`, whose word then counts. Raises OracleError."""
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
