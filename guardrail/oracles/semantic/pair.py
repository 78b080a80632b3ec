"""Tells whether two answers say the same to their question.

"Yellow.", "it is yellow" and "the background is yellow" are one answer to "which colour is the
background?", and another one to "which colour is the car?". So an answer is read against its
question (`reading.py`), two readings become features (`features.py`), and a model with one hidden
layer weighs those (`pair_head.py`). What is read is English.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from guardrail.batching import Batch, ThreadBatcher
from guardrail.canonical import short_digest
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.rescale import rescale
from guardrail.oracles.semantic.features import excludes, pair_features, words_to_encode
from guardrail.oracles.semantic.reading import read_answer, read_question
from guardrail.oracles.worker import as_oracle_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from guardrail.oracles.semantic.pair_head import PairHead
    from guardrail.oracles.text.sentences import SentenceEncoder

__all__ = ["PairComparer"]

_MOST_KEPT = 8192  # vectors, of 1.5 kB each


class _Asked(NamedTuple):
    question: str
    reference: str
    text: str


class PairComparer:
    """Compares answers given their question, in a thread of its own.

    Args:
        encoder: makes vectors of words; of the model that the head was trained with.
        head: the trained weights.
        max_batch: most pairs compared at once.
        max_queue: most pairs that wait; more wait for room.
        deadline_s: longest that one comparison may take.
    """

    by_text = True

    def __init__(
        self,
        encoder: SentenceEncoder,
        head: PairHead,
        *,
        max_batch: int = 64,
        max_queue: int = 4096,
        deadline_s: float = 30.0,
    ) -> None:
        self._encoder = encoder
        self._head = head
        self._deadline_s = deadline_s
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._worker = ThreadBatcher[_Asked, float](
            self._compare_batch,
            max_batch=max_batch,
            max_queue=max_queue,
            name="semantic",
            closed=lambda: OracleError("the semantic oracle is closed; make a new one"),
            failed=partial(as_oracle_error, what="the comparison of answers"),
            merge_equal=True,
        )

    @property
    def revision(self) -> str:
        """Loads the sentence model. Raises ConfigError where it is not the head's."""
        digest = self._encoder.weights_digest
        if digest != self._head.encoder:
            raise ConfigError(
                "the method 'pair' knows the vectors of its own sentence model only; leave 'model' "
                "out, or use the method 'embedding'",
                field="oracle.model",
            )
        return f"pair-{short_digest(f'{self._encoder.revision} {self._head.digest}', 12)}"

    async def differences(
        self, reference: str, texts: Sequence[str], question: str = ""
    ) -> list[float]:
        """See `Comparer`; the very same text is no difference."""
        others = [text for text in dict.fromkeys(texts) if text != reference]
        asked = [_Asked(question, reference, text) for text in others]
        try:
            async with asyncio.timeout(self._deadline_s):
                found = dict(zip(others, await self._worker.run_all(asked), strict=True))
        except TimeoutError as error:
            raise OracleError(
                f"answers were not compared within {self._deadline_s:g} s; raise deadline_s or "
                "lower the load"
            ) from error
        return [found.get(text, 0.0) for text in texts]

    async def aclose(self) -> None:
        if not await self._worker.aclose(self._deadline_s):
            raise OracleError("the comparison of answers hangs; its thread could not be ended")

    def _compare_batch(self, batch: Batch[_Asked]) -> list[float]:
        read = [
            (read_question(one.question), read_answer(one.reference), read_answer(one.text))
            for one in batch.items
        ]
        self._encode({
            text for question, *answers in read for text in words_to_encode(question, answers)
        })  # fmt: skip
        rows = np.stack([pair_features(*one, self._similarity) for one in read])
        same = self._head.probabilities(rows)
        return [
            1.0 if excludes(row) else rescale(1.0 - float(one), 1.0 - self._head.threshold)
            for row, one in zip(rows, same, strict=True)
        ]

    def _similarity(self, first: str, second: str) -> float:
        return float(self._vectors[first] @ self._vectors[second])

    def _encode(self, texts: set[str]) -> None:
        if len(self._vectors) + len(texts) > _MOST_KEPT:
            self._vectors.clear()
        new = sorted(texts - self._vectors.keys())
        if new:
            self._vectors |= dict(zip(new, self._encoder.encode(new), strict=True))
