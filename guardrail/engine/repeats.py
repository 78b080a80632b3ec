"""Answers that repeat within one decision: read once, and judged once where that is the same.

Every answer is looked at in three places (does it say anything, what does the oracle see, which one
is delivered), and models that draw greedily give one and the same answer to many variants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from guardrail.engine.judged import judged_aside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from guardrail.engine.judged import Judged
    from guardrail.oracles.base import Exchange, Judgement
    from guardrail.types import Answer

__all__ = ["Repeats"]

_Pairs: TypeAlias = tuple[tuple[str, str | None], ...]
_MOST = 1024  # of either kind; later ones are read and judged each time


class Repeats:
    """What the answers of one decision say, and how they were judged; both as if asked anew."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, _Pairs, _Pairs], Judged] = {}
        self._judgements: dict[tuple[str, str], Judgement] = {}  # no exchange: those hold pictures

    async def judged(self, answer: Answer) -> Judged:
        """What `judged` says of an answer."""
        plain = _plain(answer)
        if plain is None:
            return await judged_aside(answer)
        known = self._read.get(plain)
        if known is None:
            known = await judged_aside(answer)
            if len(self._read) < _MOST:
                self._read[plain] = known
        return known

    async def judgement(
        self, exchange: Exchange, judge: Callable[[Exchange], Awaitable[Judgement]]
    ) -> Judgement:
        """What `judge` says, which must go by the texts alone. A judgement that fails is no one."""
        texts = exchange.prompt, exchange.response
        known = self._judgements.get(texts)
        if known is None:
            known = await judge(exchange)
            if len(self._judgements) < _MOST:
                self._judgements[texts] = known
        return known


def _plain(answer: Answer) -> tuple[str, _Pairs, _Pairs] | None:
    """All that `judged` looks at, where it is nothing but texts."""
    said = tuple((name, value) for name, value in answer.message.items() if value)
    beside = tuple(answer.extra.items())
    if all(value is None or isinstance(value, str) for _, value in (*said, *beside)):
        return answer.finish_reason, said, beside
    return None
