"""What recorded draws count as under another policy: harmless, harmful, missing, or not known."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from guardrail.engine.rules import OnUnscanned, Retry
from guardrail.replay.decisions import HARMFUL, HARMLESS, MISSING, DrawFlag
from guardrail.replay.effects import Effect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.replay.comparison import PolicyComparison
    from guardrail.replay.decisions import RecordedDecisions

__all__ = ["UNKNOWN_ANSWER", "UNKNOWN_DRAW", "count_outcomes"]

UNKNOWN_ANSWER = -1
"""The answer would have to be judged again."""
UNKNOWN_DRAW = -2
"""The model would have to be asked again."""


def count_outcomes(
    decisions: RecordedDecisions, change: PolicyComparison, draws: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Outcomes of the chosen draws under the new policy: places in `OUTCOMES`, or an unknown.

    Args:
        decisions: what was recorded.
        change: the policy that decided, and the one that is asked about.
        draws: which draws; all of decisions of the old policy that were not judged anew.
    """
    outcome = decisions.outcome[draws].copy()
    if change.is_same:
        return outcome
    some = _Draws(decisions, draws)
    if change.differs_in(Effect.ORACLE):
        _judge_otherwise(outcome, some)
    elif change.differs_in(Effect.THRESHOLD):
        _cut_again(outcome, some, change)
    _apply_early_stop(outcome, some, change)
    _apply_failures(outcome, some, change)
    _apply_limits(outcome, some, change)
    return outcome


class _Draws:
    """What is recorded of the chosen draws, looked up when it is asked for."""

    def __init__(self, decisions: RecordedDecisions, draws: NDArray[np.bool_]) -> None:
        self._decisions, self._draws = decisions, draws

    def has(self, flag: DrawFlag) -> NDArray[np.bool_]:
        return (self._decisions.flags[self._draws] & flag) > 0

    @cached_property
    def score(self) -> NDArray[np.float64]:
        return self._decisions.score[self._draws]

    @property
    def elapsed_s(self) -> NDArray[np.float64]:
        return self._decisions.draw_elapsed_s[self._draws]

    @property
    def threshold(self) -> NDArray[np.float64]:
        return np.repeat(self._decisions.threshold, self._decisions.lengths)[self._draws]

    @property
    def scored_variant(self) -> NDArray[np.bool_]:
        """Scored answers to pictures.

        A whole answer of a text is never broken off, nor is any where nothing was streamed.
        """
        pictured = np.repeat(self._decisions.pictures > 0, self._decisions.lengths)
        return pictured[self._draws] & ~np.isnan(self.score)


def _judge_otherwise(outcome: NDArray[np.int8], some: _Draws) -> None:
    """Outcomes under another oracle: all that it would have to judge is not known."""
    withheld, scored = some.has(DrawFlag.WITHHELD), ~np.isnan(some.score)
    by_oracle = scored | ((outcome == MISSING) & some.has(DrawFlag.ORACLE_FAULT))
    other = by_oracle | ((outcome != HARMLESS) & (outcome != MISSING) & ~withheld)
    outcome[other & ~withheld] = UNKNOWN_ANSWER
    outcome[withheld & scored] = UNKNOWN_ANSWER
    outcome[some.has(DrawFlag.BROKEN_OFF)] = UNKNOWN_DRAW


def _cut_again(outcome: NDArray[np.int8], some: _Draws, change: PolicyComparison) -> None:
    """Outcomes at the new threshold.

    The recorded score is the worst of all fields: the highest, so an answer is harmful at a
    threshold exactly where that score reaches it, and no field's own score is needed for either
    direction. Not so where something is withheld whatever it scores; that is marked. Where the
    oracle is none that cuts a score, or the recorded outcome is not that of its cut, nothing is
    known.
    """
    old, new = change.thresholds
    score = some.score
    judged = ~np.isnan(score) & ((outcome == HARMLESS) | (outcome == HARMFUL))
    judged &= ~some.has(DrawFlag.WITHHELD)
    if old is None or new is None:
        outcome[judged] = UNKNOWN_ANSWER
        return
    cuts = (some.threshold == old) & ((score >= old) == (outcome == HARMFUL))
    found = np.where(score >= new, np.int8(HARMFUL), np.int8(HARMLESS))
    found[~cuts] = UNKNOWN_ANSWER
    outcome[judged] = found[judged]


def _apply_early_stop(outcome: NDArray[np.int8], some: _Draws, change: PolicyComparison) -> None:
    """What is not known of answers that were broken off, or would have been.

    An answer that was broken off may have ended well; of one that was not, no beginning's score is
    recorded, and a beginning may score more than the whole.
    """
    was, will = change.breaks_off
    if was != will:
        outcome[some.has(DrawFlag.BROKEN_OFF)] = UNKNOWN_DRAW
        if will is not None:
            outcome[some.scored_variant & (outcome == HARMLESS)] = UNKNOWN_DRAW
        return
    old, new = change.thresholds
    if will is None or old is None or new is None or old == new:
        return
    outcome[some.has(DrawFlag.BROKEN_OFF) & (outcome == HARMLESS)] = UNKNOWN_DRAW
    if new < old:
        outcome[some.scored_variant & (outcome == HARMLESS)] = UNKNOWN_DRAW


def _apply_failures(outcome: NDArray[np.int8], some: _Draws, change: PolicyComparison) -> None:
    """Answers with parts that cannot be read, and refusals, where they count otherwise."""
    old, new = change.failures("unscanned")
    was, harmless = change.failures("refusals_are_harmless")
    if old == new and was == harmless:
        return
    came = outcome != MISSING
    if old != new:
        blocks = new == OnUnscanned.BLOCK.value
        outcome[some.has(DrawFlag.UNSCANNED) & came] = HARMFUL if blocks else UNKNOWN_ANSWER
    if was != harmless:
        outcome[some.has(DrawFlag.REFUSED) & came] = UNKNOWN_ANSWER if harmless else HARMFUL


def _apply_limits(outcome: NDArray[np.int8], some: _Draws, change: PolicyComparison) -> None:
    """Draws that might have ended otherwise with other limits of a call."""
    old_s, new_s = change.limits("call_timeout_s")
    old_tries, new_tries = change.limits("retries")
    old_retry, new_retry = change.limits("retry")
    same_tries = new_retry == old_retry and new_tries == old_tries
    if new_s == old_s and same_tries:
        return
    missing = outcome == MISSING
    if new_s > old_s:
        outcome[missing & ~some.has(DrawFlag.ORACLE_FAULT)] = UNKNOWN_DRAW
    elif new_s < old_s:
        outcome[some.elapsed_s > new_s] = UNKNOWN_DRAW
    if same_tries:
        return
    if new_tries >= old_tries and (new_retry == old_retry or new_retry == Retry.ANY.value):
        outcome[missing] = UNKNOWN_DRAW
    else:
        outcome[:] = UNKNOWN_DRAW  # any of them may have come at a repeat
