"""Labelled answers scored by any oracle, each once.

A text is put before the oracle as it is. A whole message is judged by the engine's own `Judge`:
every field by itself and the whole, refusals and what cannot be read as the policy says. Its score
is the highest of all that was judged of it, so that at every threshold it counts as harmful exactly
where the engine finds it harmful.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.engine.judge import Judge
from guardrail.engine.rules import OnUnscanned, Retry
from guardrail.errors import ConfigError, OracleError
from guardrail.tuning.scores import Scored
from guardrail.types import Chat, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.engine.rules import JudgingRules
    from guardrail.engine.verdict import Sample
    from guardrail.oracles.base import Exchange, Judgement, Oracle
    from guardrail.policy.schema import Policy
    from guardrail.tuning.dataset import Dataset, LabelledAnswer
    from guardrail.tuning.scores import KnownScores

__all__ = ["SCORING_THRESHOLD", "MessageRules", "ScoredAnswer", "answer_key", "score_all"]

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


@dataclass(frozen=True, slots=True)
class MessageRules:
    """How whole messages are judged; the fields are those of `Rules`."""

    on_unscanned: OnUnscanned = OnUnscanned.BLOCK
    refusals_are_harmless: bool = True
    retries: int = 0
    retry: Retry = Retry.UNDRAWN

    @classmethod
    def of(cls, policy: Policy) -> MessageRules:
        failures, limits = policy.failures, policy.advanced.limits
        return cls(
            on_unscanned=failures.unscanned,
            refusals_are_harmless=failures.refusals_are_harmless,
            retries=limits.retries,
            retry=limits.retry,
        )


def answer_key(row: LabelledAnswer, rules: JudgingRules) -> str:
    """The digest under which a score is kept: of all that the score depends on, but the oracle."""
    if row.answer is None:
        return row.digest
    by = f"{row.digest}/{rules.on_unscanned}/{rules.refusals_are_harmless}"
    return hashlib.sha256(by.encode()).hexdigest()


async def score_all(
    data: Dataset,
    oracle: Oracle,
    known: KnownScores,
    step: Callable[[], None] = lambda: None,
    *,
    rules: JudgingRules = MessageRules(),
) -> list[ScoredAnswer]:
    """Every row's score, in order; `step` is called for each row that is not known yet.

    What the oracle cannot look into, or fails on even alone, scores 1, as the guard blocks it too.

    Args:
        data: the rows.
        oracle: what scores them.
        known: scores that are known already; new ones are kept there.
        step: called for each that is not known.
        rules: of whole messages.

    Raises:
        OracleError: several answers in a row could not be judged: it does not work at all.
        ConfigError: so many could not be judged that the rest tells little; or the oracle's
            verdicts do not follow its scores.
    """
    failures: dict[str, Scored] = {}
    judge = _Judge(oracle, rules)
    keys = [answer_key(row, rules) for row in data.rows]
    pairs = zip(keys, data.rows, strict=True)
    todo = list({key: row for key, row in pairs if known.get(key) is None}.items())
    for start in range(0, len(todo), _BATCH):
        part = dict(todo[start : start + _BATCH])
        found = await judge.texts({k: row for k, row in part.items() if row.answer is None})
        found |= await judge.messages({k: row for k, row in part.items() if row.answer is not None})
        known.keep(found)
        failures |= {key: scored for key, scored in found.items() if scored.failed}
        for _ in found:
            step()
    results = [
        ScoredAnswer(row, known.get(key) or failures[key])
        for key, row in zip(keys, data.rows, strict=True)
    ]
    _check_failures(results)
    return results


class _Judge:
    """Judges batches, and one by one what fails together."""

    def __init__(self, oracle: Oracle, rules: JudgingRules) -> None:
        self._oracle, self._rules = oracle, rules
        self._failed_in_a_row = 0

    async def texts(self, rows: dict[str, LabelledAnswer]) -> dict[str, Scored]:
        if not rows:
            return {}
        started = time.perf_counter()
        try:
            judgements = await self._oracle.judge([row.exchange for row in rows.values()])
        except OracleError as error:
            if len(rows) == 1:
                return dict.fromkeys(rows, self._failure(error))
            # One by one, so that a bad answer fails by itself.
            return {
                k: one for key in rows for k, one in (await self.texts({key: rows[key]})).items()
            }
        self._failed_in_a_row = 0
        ms = (time.perf_counter() - started) * 1000.0 / len(rows)
        return {k: _score(one, ms) for k, one in zip(rows, judgements, strict=True)}

    async def messages(self, rows: dict[str, LabelledAnswer]) -> dict[str, Scored]:
        """Together, so that an oracle that batches or waits for others is used well."""
        if not rows:
            return {}
        started = time.perf_counter()
        ends = await asyncio.gather(*map(self._message, rows.values()), return_exceptions=True)
        ms = (time.perf_counter() - started) * 1000.0 / len(rows)
        found: dict[str, Scored] = {}
        for key, end in zip(rows, ends, strict=True):
            if isinstance(end, OracleError):
                found[key] = self._failure(end)
            elif isinstance(end, BaseException):
                raise end
            else:
                self._failed_in_a_row = 0
                found[key] = _score_message(*end, self._rules, ms)
        return found

    async def _message(self, row: LabelledAnswer) -> tuple[Sample, list[Judgement]]:
        assert row.answer is not None
        witness = _Witness(self._oracle)
        chat = Chat(model="", messages=({"role": "user", "content": row.prompt},))
        sample = await Judge(self._rules, witness, chat).judge(0, row.answer, ())
        return sample, witness.judgements

    def _failure(self, error: OracleError) -> Scored:
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _GIVE_UP_AFTER:
            raise OracleError(
                f"{self._failed_in_a_row} answers one after the other could not be judged; the "
                f"last time: {error}"
            ) from error
        return Scored(1.0, 0.0, failed=True)


class _Witness:
    """An oracle whose judgements are kept; all else of it is as it was."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.judgements: list[Judgement] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._oracle, name)

    @property
    def revision(self) -> str:
        return self._oracle.revision

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        found = list(await self._oracle.judge(exchanges))
        self.judgements += found
        return found

    async def aclose(self) -> None:
        await self._oracle.aclose()


def _score(judgement: Judgement, ms: float) -> Scored:
    if judgement.unscanned or judgement.outcome is Outcome.MISSING:
        return Scored(1.0, ms, unscanned=True)
    return Scored(_checked_score(judgement), ms)


def _score_message(
    sample: Sample, judgements: Sequence[Judgement], rules: JudgingRules, ms: float
) -> Scored:
    if not judgements:  # the policy decided by itself
        is_harmful = sample.outcome is Outcome.HARMFUL
        return Scored(float(is_harmful), ms, unscanned=is_harmful and bool(sample.unscanned))
    blocks = rules.on_unscanned is OnUnscanned.BLOCK
    if any(
        one.outcome is Outcome.MISSING or (blocks and bool(one.unscanned)) for one in judgements
    ):
        return Scored(1.0, ms, unscanned=True)
    return Scored(max(map(_checked_score, judgements)), ms)


def _checked_score(judgement: Judgement) -> float:
    """The score. Raises ConfigError where the verdict does not follow from it."""
    score = float(judgement.score)
    # Written so that NaN fails as well.
    follows = (score >= SCORING_THRESHOLD) == (not judgement.outcome.counts_as_harmless)
    if not (0.0 <= score <= 1.0 and follows):
        raise ConfigError(
            "this oracle's verdicts do not follow its scores, so no threshold can be chosen for it",
            field="oracle",
        )
    return score


def _check_failures(results: Sequence[ScoredAnswer]) -> None:
    """Failures count as caught; many of them would make a broken oracle look good."""
    failed = sum(result.scored.failed for result in results)
    if failed > _MOST_FAILED * len(results):
        raise ConfigError(
            f"{failed} of {len(results)} answers could not be judged, which tells little of the "
            "rest; find out why (limits, deadlines), and run it again: what is scored stays scored",
            field="oracle",
        )
