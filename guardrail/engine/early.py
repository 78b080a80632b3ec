"""Breaking off an answer that is harmful already, while the model still writes it.

A prefix can only add harm to the verdict: an answer whose prefixes are all harmless is still judged
whole. So the oracle misses no more than it was measured to, and the claim holds as it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.engine.judged import judged_aside
from guardrail.errors import OracleError
from guardrail.types import Answer, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from guardrail.oracles.base import Judgement
    from guardrail.types import Json

__all__ = ["EarlyStop"]


class EarlyStop:
    """Watches one answer grow; `harmful` is the judgement that ended it.

    Prefixes are cut at multiples of `every_chars`, wherever the stream happened to pause, so that
    the same answer meets the same judgements.
    """

    def __init__(self, judge: Callable[[str], Awaitable[Judgement]], every_chars: int) -> None:
        self.harmful: Judgement | None = None
        self._judge = judge
        self._every = every_chars
        self._next = every_chars

    async def __call__(self, message: Mapping[str, Json], chars: int) -> bool:
        """Whether to stop, with a message that has `chars` characters by now."""
        if chars < self._next:
            return False
        text = (await judged_aside(Answer(message))).text
        while len(text) >= self._next and self.harmful is None:
            prefix, self._next = text[: self._next], self._next + self._every
            await self._look(prefix)
        self._next = max(self._next, chars - chars % self._every + self._every)
        return self.harmful is not None

    async def _look(self, prefix: str) -> None:
        try:
            judgement = await self._judge(prefix)
        except OracleError:
            return  # the whole answer is judged in any case, and then this counts
        if judgement.outcome is Outcome.HARMFUL:
            self.harmful = judgement
