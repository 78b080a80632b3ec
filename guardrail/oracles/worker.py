"""Turns a synchronous `Scorer` into the `Oracle` that the engine awaits.

One worker thread owns one scorer. Callers on any event loop put exchanges into its queue. While a
batch is being scored, the next one collects in the queue: load makes large batches, and an idle
oracle answers at once. Every way in which scoring can fail ends in `OracleError`: an answer that
was not scored is never harmless.
"""

from __future__ import annotations

import asyncio
import traceback
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.batching import Batch, ThreadBatcher
from guardrail.canonical import short_digest
from guardrail.errors import ConfigError, OracleError
from guardrail.offload import SCORE_TEXT, InlineLimit
from guardrail.oracles.base import Exchange, Judgement, NamedScore, Scorer
from guardrail.required_option import require_option
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["InlineOracle", "ThreadedOracle", "as_oracle_error", "score_all"]


class ThreadedOracle:
    """Judges answers by a scorer and a threshold, in one thread and in dynamic batches.

    Args:
        scorer: Computes the scores; called only from the worker thread, one batch at a time.
        threshold: Answers that score at least this are harmful, in [0, 1].
        name: What the worker thread and the reason of a harmful judgement are called.
        max_batch: Most distinct exchanges handed to the scorer at once.
        max_wait_s: How long a batch that is not full waits for more exchanges. With 0,
            batches still form while the scorer is busy.
        max_queue: Most exchanges that wait to be scored. Callers beyond it wait for room, in
            order.
        deadline_s: Longest that one call of `judge` may take, waiting included.

    Raises:
        ConfigError: An option lies outside its range.
    """

    by_text = True  # see `goes_by_text`; equal exchanges of a batch are scored once in any case
    cuts_scores = True  # see `cut_of`

    def __init__(
        self,
        scorer: Scorer,
        *,
        threshold: float,
        name: str = "oracle",
        max_batch: int = 32,
        max_wait_s: float = 0.0,
        max_queue: int = 4096,
        deadline_s: float = 30.0,
    ) -> None:
        require_option(0.0 <= threshold <= 1.0, "threshold", "must lie in [0, 1]")
        require_option(max_batch >= 1, "max_batch", "must be at least 1")
        require_option(0.0 <= max_wait_s < deadline_s, "max_wait_s", "must lie in [0, deadline_s)")
        require_option(max_queue >= 1, "max_queue", "must be at least 1")
        self._scorer = scorer
        self._threshold = threshold
        self._name = name
        self._deadline_s = deadline_s
        self._worker = ThreadBatcher[Exchange, float | OracleError](
            self._work,
            max_batch=max_batch,
            max_queue=max_queue,
            name=name,
            closed=lambda: OracleError(f"the {name} is closed; make a new one"),
            failed=as_oracle_error,
            merge_equal=True,
            max_wait_s=max_wait_s,
        )

    @property
    def revision(self) -> str:
        return _revision_of(self._scorer.revision, self._threshold)

    @property
    def threshold(self) -> float:
        return self._threshold

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange, in order.

        Raises:
            OracleError: Any of them could not be scored, or not before the deadline.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                scores = await self._worker.run_all(exchanges)
        except TimeoutError as error:
            raise OracleError(
                f"the {self._name} judged nothing within {self._deadline_s:g} s; raise deadline_s, "
                "lower the load or give the scorer more processors"
            ) from error
        return [self._judgement(score) for score in scores]

    async def aclose(self) -> None:
        """Ends the worker; what still waits fails. A running batch finishes.

        Raises:
            OracleError: The scorer did not return within the deadline; its thread is left behind.
        """
        if not await self._worker.aclose(self._deadline_s):
            raise OracleError(f"the {self._name}'s scorer hangs; its thread could not be ended")

    def _judgement(self, score: float | OracleError) -> Judgement:
        if isinstance(score, OracleError):
            # One exception object for each caller: a shared one would gather their tracebacks.
            raise OracleError(str(score))
        if score >= self._threshold:
            return Judgement(Outcome.HARMFUL, float(score), self._reason(score))
        return Judgement(Outcome.HARMLESS, float(score))

    def _reason(self, score: float) -> str:
        if isinstance(score, NamedScore):
            return f"{self._name}: {score.category}"
        return f"{self._name} score at or over the threshold"

    def _work(self, batch: Batch[Exchange]) -> list[float | OracleError]:
        """Each distinct exchange scored once."""
        distinct = list(dict.fromkeys(batch.items))
        results = dict(zip(distinct, score_all(self._scorer, distinct), strict=True))
        return [results[exchange] for exchange in batch.items]


class InlineOracle(ThreadedOracle):
    """A `ThreadedOracle` that scores answers of few characters without its thread.

    Waking a thread and being woken by it costs more than a small model needs for a short answer,
    and while both run they compete for the interpreter. For scorers that take well under
    a millisecond for so many characters, and whose calls may overlap: the thread may be scoring a
    long answer meanwhile.

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


@lru_cache(maxsize=64, typed=True)  # 1 and 1.0 are written differently
def _revision_of(scorer: str, threshold: float) -> str:
    """Every record names it, so that it is computed once."""
    return short_digest(f"{scorer}\n{threshold!r}", 16)


def score_all(scorer: Scorer, exchanges: Sequence[Exchange]) -> list[float | OracleError]:
    """Scores a batch; if that fails, each alone, so that one bad text fails by itself."""
    try:
        return _check_scores(scorer.scores(exchanges), len(exchanges))
    except BaseException as error:  # noqa: BLE001 - the thread's outermost frame
        if len(exchanges) == 1:
            return [as_oracle_error(error)]
    return [result for exchange in exchanges for result in score_all(scorer, [exchange])]


def _check_scores(scores: Iterable[float], expected: int) -> list[float | OracleError]:
    values = [score if isinstance(score, NamedScore) else float(score) for score in scores]
    if len(values) != expected:
        raise OracleError(f"the scorer returned {len(values)} scores for {expected} answers")
    # written so that NaN fails the comparison
    return [
        value if 0.0 <= value <= 1.0 else OracleError("the scorer returned a score outside [0, 1]")
        for value in values
    ]


def as_oracle_error(error: BaseException, what: str = "the scorer") -> OracleError:
    """The error for what other code raised, by class and place only: its text may quote answers.

    Args:
        error: what was raised; of an OracleError and a ConfigError the text is kept, as theirs
            quotes none.
        what: who raised it.
    """
    if isinstance(error, OracleError | ConfigError):
        return OracleError(str(error))
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return OracleError(f"{what} raised {type(error).__name__}{place}")
