"""Short answers judged where they are asked about; long ones in the oracle's thread.

Waking a thread and being woken by it costs more than a small model needs for a short answer, and
while both run they take the interpreter from each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardrail.offload import SCORE_TEXT, InlineLimit
from guardrail.oracles.worker import ThreadedOracle, score_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.oracles.base import Exchange, Judgement, Scorer

__all__ = ["InlineOracle"]


class InlineOracle(ThreadedOracle):
    """A `ThreadedOracle` that spares the thread for answers of few characters.

    For scorers that take well under a millisecond for so many, and whose calls may overlap: the
    thread may be scoring a long answer meanwhile.

    Args:
        scorer: computes the scores.
        inline: most characters, of all answers of one call together, judged at once.
        options: see `ThreadedOracle`.
    """

    def __init__(self, scorer: Scorer, *, inline: InlineLimit = SCORE_TEXT, **options: Any) -> None:
        super().__init__(scorer, **options)
        self._inline = inline
        self._closed = False

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """See `ThreadedOracle.judge`."""
        chars = sum(len(exchange.response) for exchange in exchanges)
        if self._closed or not self._inline.allows(chars):
            return await super().judge(exchanges)  # the worker says that it is closed
        return [self._judgement(score) for score in score_all(self._scorer, exchanges)]

    async def aclose(self) -> None:
        self._closed = True
        await super().aclose()
