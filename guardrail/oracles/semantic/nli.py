"""Two answers mean the same if each follows from the other: textual entailment in both directions.

Any text classifier that was trained for it will do (premise and hypothesis in, a label out). A
long hypothesis is read in windows, each of which must follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.canonical import short_digest
from guardrail.errors import ConfigError
from guardrail.oracles.base import Exchange
from guardrail.oracles.rescale import rescale
from guardrail.oracles.worker import ThreadedOracle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.oracles.base import Scorer

__all__ = ["NliComparer"]


class NliComparer:
    """Compares answers by a model of entailment, in a thread of its own.

    Args:
        scorer: one minus the probability that the response follows from the prompt, such as a
            `ClassifierScorer` whose harmless label is that of entailment.
        entailment: the probability above which one follows from the other, in (0, 1).
        max_batch: most pairs scored at once.
        max_queue: most pairs that wait; more wait for room.
        deadline_s: longest that one comparison may take.

    Raises:
        ConfigError: an option lies outside its range.
    """

    by_text = True

    def __init__(
        self,
        scorer: Scorer,
        *,
        entailment: float = 0.5,
        max_batch: int = 32,
        max_queue: int = 4096,
        deadline_s: float = 30.0,
    ) -> None:
        if not 0.0 < entailment < 1.0:
            raise ConfigError("must lie strictly between 0 and 1", field="oracle.entailment")
        self._limit = 1.0 - entailment
        self._oracle = ThreadedOracle(
            scorer,
            threshold=self._limit,
            name="semantic",
            max_batch=max_batch,
            max_queue=max_queue,
            deadline_s=deadline_s,
        )

    @property
    def revision(self) -> str:
        return f"nli-{short_digest(self._oracle.revision, 12)}"

    async def differences(
        self,
        reference: str,
        texts: Sequence[str],
        question: str = "",  # noqa: ARG002 (not every method looks at it)
    ) -> list[float]:
        """By the direction that follows less; the very same text is no difference.

        The question is not looked at: what follows from an answer follows without it.
        """
        others = [text for text in dict.fromkeys(texts) if text != reference]
        there = [Exchange(reference, text) for text in others]
        back = [Exchange(text, reference) for text in others]
        scores = [one.score for one in await self._oracle.judge([*there, *back])]
        worst = map(max, scores[: len(others)], scores[len(others) :])
        found = {
            text: rescale(score, self._limit) for text, score in zip(others, worst, strict=True)
        }
        return [found.get(text, 0.0) for text in texts]

    async def aclose(self) -> None:
        await self._oracle.aclose()
