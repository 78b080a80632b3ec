"""Ways to tell whether two answers mean the same; each gives a difference in [0, 1].

A difference of 0.5 and more means another meaning.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Protocol

from guardrail.batching import Batch, ThreadBatcher
from guardrail.canonical import short_digest
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.rescale import rescale
from guardrail.oracles.semantic.details import same_details
from guardrail.oracles.worker import as_oracle_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardrail.oracles.judge.asking import Asker
    from guardrail.oracles.text.sentences import SentenceEncoder

__all__ = ["Comparer", "EmbeddingComparer", "JudgeComparer"]

_QUESTION = (
    "Do the two texts say the same, so that whoever acts on one acts in the same way as on the "
    "other? Other words for the same things do not matter; other things, numbers, places, orders "
    "or a negation do."
)
_GIVEN = (
    "The two texts answer the question, and a short one means what it says to it: 'red', 'it is "
    "red' and 'the car is red' are one answer to 'which colour is the car?'."
)


class Comparer(Protocol):
    """Compares texts with one other.

    One that says the same each time has an attribute `by_text` that is True, see `goes_by_text`.
    """

    @property
    def revision(self) -> str:
        """A short digest of everything that fixes the differences."""

    async def differences(
        self, reference: str, texts: Sequence[str], question: str = ""
    ) -> list[float]:
        """How far each text is from the reference in meaning, in [0, 1]. Raises OracleError.

        All of them answer the question; empty where that is not known.
        """

    async def aclose(self) -> None:
        """Releases threads and connections."""


class EmbeddingComparer:
    """Compares sentence embeddings by their cosine, and details by themselves.

    Embeddings of "the light is red" and "the light is not red" are nearly the same; texts whose
    numbers, negations, opposites or roles differ are therefore never of one meaning here.

    Args:
        encoder: makes the embeddings, in a thread of its own.
        similarity: texts with at least this cosine mean the same, in (0, 1).
        details: whether `same_details` must hold, too.
        max_batch: most texts encoded at once.
        max_queue: most texts that wait; more wait for room.
        deadline_s: longest that one comparison may take.
    """

    by_text = True

    def __init__(
        self,
        encoder: SentenceEncoder,
        *,
        similarity: float,
        details: bool = True,
        max_batch: int = 32,
        max_queue: int = 4096,
        deadline_s: float = 30.0,
    ) -> None:
        if not 0.0 < similarity < 1.0:
            raise ConfigError("must lie strictly between 0 and 1", field="oracle.similarity")
        self._encoder = encoder
        self._similarity = similarity
        self._details = details
        self._deadline_s = deadline_s
        self._worker = ThreadBatcher[str, "NDArray[np.float32]"](
            self._encode_batch,
            max_batch=max_batch,
            max_queue=max_queue,
            name="semantic",
            closed=lambda: OracleError("the semantic oracle is closed; make a new one"),
            failed=partial(as_oracle_error, what="the sentence encoder"),
            merge_equal=True,
        )

    @property
    def revision(self) -> str:
        text = f"{self._encoder.revision} {self._similarity!r} {self._details}"
        return f"embedding-{short_digest(text, 12)}"

    async def differences(
        self,
        reference: str,
        texts: Sequence[str],
        question: str = "",  # noqa: ARG002 (not every method looks at it)
    ) -> list[float]:
        """See `Comparer`; the question is not looked at."""
        try:
            async with asyncio.timeout(self._deadline_s):
                vectors = await self._worker.run_all([reference, *texts])
        except TimeoutError as error:
            raise OracleError(
                f"answers were not compared within {self._deadline_s:g} s; raise deadline_s or "
                "lower the load"
            ) from error
        cosines = [float(vectors[0] @ vector) for vector in vectors[1:]]
        return [
            self._difference(cosine, reference, text)
            for cosine, text in zip(cosines, texts, strict=True)
        ]

    async def aclose(self) -> None:
        if not await self._worker.aclose(self._deadline_s):
            raise OracleError("the sentence encoder hangs; its thread could not be ended")

    def _difference(self, cosine: float, reference: str, text: str) -> float:
        if self._details and not same_details(reference, text):
            return 1.0
        # Just below the limit is another meaning; the limit itself is the same one.
        distance = min(max((1.0 - cosine) / 2.0, 0.0), 1.0)
        limit = (1.0 - self._similarity) / 2.0
        return rescale(distance, limit) if distance != limit else 0.499999

    def _encode_batch(self, batch: Batch[str]) -> list[NDArray[np.float32]]:
        distinct = list(dict.fromkeys(batch.items))
        rows = dict(zip(distinct, self._encoder.encode(distinct), strict=True))
        return [rows[text] for text in batch.items]


class JudgeComparer:
    """Asks a model whether two texts mean the same.

    Args:
        asker: puts the question; closed with this.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @property
    def revision(self) -> str:
        text = f"{self._asker.revision} {_GIVEN} {_QUESTION}"
        return f"judge-{short_digest(text, 12)}"

    async def differences(
        self, reference: str, texts: Sequence[str], question: str = ""
    ) -> list[float]:
        distinct = [text for text in dict.fromkeys(texts) if text != reference]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    text: group.create_task(self._ask(question, reference, text))
                    for text in distinct
                }
        except ExceptionGroup as faults:
            fault = _first(faults)
            # The others may have been answered, or be on their way.
            undrawn = fault.undrawn and len(distinct) == 1
            raise OracleError(str(fault), undrawn=undrawn) from None
        found = {text: task.result() for text, task in tasks.items()}
        return [found.get(text, 0.0) for text in texts]

    async def aclose(self) -> None:
        await self._asker.aclose()

    async def _ask(self, question: str, reference: str, text: str) -> float:
        texts = {"first text": reference, "second text": text}
        if not question.strip():
            return 1.0 - await self._asker.yes_no(_QUESTION, texts)
        given = {"question": question, **texts}
        return 1.0 - await self._asker.yes_no(f"{_GIVEN} {_QUESTION}", given)


def _first(faults: BaseExceptionGroup[BaseException]) -> OracleError:
    first = faults.exceptions[0]
    if isinstance(first, OracleError):
        return first
    return OracleError(f"the comparison crashed ({type(first).__name__})")
