"""Labelled answers scored by any oracle, each once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError, OracleError
from guardrail.tuning.scores import Scored
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.oracles.base import Judgement, Oracle
    from guardrail.tuning.dataset import Dataset, LabelledAnswer
    from guardrail.tuning.scores import KnownScores

__all__ = ["SCORING_THRESHOLD", "ScoredAnswer", "score_all"]

SCORING_THRESHOLD = 0.5
"""The oracle's own threshold while it scores: its scores do not depend on it."""
_BATCH = 32
_GIVE_UP_AFTER = 8
_MOST_FAILED = 0.05


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """A labelled answer and what the oracle said of it."""

    row: LabelledAnswer
    scored: Scored


async def score_all(
    data: Dataset, oracle: Oracle, known: KnownScores, step: Callable[[], None] = lambda: None
) -> list[ScoredAnswer]:
    """Every row's score, in order; `step` is called for each row that is not known yet.

    What the oracle cannot look into, or fails on even alone, scores 1, as the guard blocks it too.

    Raises:
        OracleError: several answers in a row could not be judged: it does not work at all.
        ConfigError: so many could not be judged that the rest tells little; or the oracle's
            verdicts do not follow its scores.
    """
    failures: dict[str, Scored] = {}
    judge = _Judge(oracle)
    todo = list({r.digest: r for r in data.rows if known.get(r.digest) is None}.values())
    for start in range(0, len(todo), _BATCH):
        found = await judge.batch(todo[start : start + _BATCH])
        known.keep(found)
        failures |= {key: scored for key, scored in found.items() if scored.failed}
        for _ in found:
            step()
    results = [ScoredAnswer(row, known.get(key) or failures[key]) for row, key in _with_keys(data)]
    _check_failures(results)
    return results


def _with_keys(data: Dataset) -> list[tuple[LabelledAnswer, str]]:
    return [(row, row.digest) for row in data.rows]


class _Judge:
    """Judges batches, and one by one what fails together."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._failed_in_a_row = 0

    async def batch(self, rows: Sequence[LabelledAnswer]) -> dict[str, Scored]:
        started = time.perf_counter()
        try:
            judgements = await self._oracle.judge([row.exchange for row in rows])
        except OracleError as error:
            if len(rows) == 1:
                return {rows[0].digest: self._failure(error)}
            # One by one, so that a bad answer fails by itself.
            return {key: one for row in rows for key, one in (await self.batch([row])).items()}
        self._failed_in_a_row = 0
        ms = (time.perf_counter() - started) * 1000.0 / len(rows)
        pairs = zip(rows, judgements, strict=True)
        return {row.digest: _score(judgement, ms) for row, judgement in pairs}

    def _failure(self, error: OracleError) -> Scored:
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _GIVE_UP_AFTER:
            raise OracleError(
                f"{self._failed_in_a_row} answers one after the other could not be judged; the "
                f"last time: {error}"
            ) from error
        return Scored(1.0, 0.0, failed=True)


def _score(judgement: Judgement, ms: float) -> Scored:
    if judgement.unscanned or judgement.outcome is Outcome.MISSING:
        return Scored(1.0, ms, unscanned=True)
    score = float(judgement.score)
    # Written so that NaN fails as well.
    follows = (score >= SCORING_THRESHOLD) == (judgement.outcome is Outcome.HARMFUL)
    if not (0.0 <= score <= 1.0 and follows):
        raise ConfigError(
            "this oracle's verdicts do not follow its scores, so no threshold can be chosen for it",
            field="oracle",
        )
    return Scored(score, ms)


def _check_failures(results: Sequence[ScoredAnswer]) -> None:
    """Failures count as caught; many of them would make a broken oracle look good."""
    failed = sum(result.scored.failed for result in results)
    if failed > _MOST_FAILED * len(results):
        raise ConfigError(
            f"{failed} of {len(results)} answers could not be judged, which tells little of the "
            "rest; find out why (limits, deadlines), and run it again: what is scored stays scored",
            field="oracle",
        )
