"""What recorded draws count as under another policy: harmless, harmful, missing, or not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guardrail.engine.rules import OnUnscanned, Retry
from guardrail.replay.decisions import OUTCOME_CODES, DrawFlag
from guardrail.replay.effects import Effect
from guardrail.types import Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.replay.comparison import PolicyComparison
    from guardrail.replay.decisions import RecordedDecisions

__all__ = ["UNKNOWN_ANSWER", "UNKNOWN_DRAW", "count_outcomes"]

UNKNOWN_ANSWER = -1
"""The answer would have to be judged again."""
UNKNOWN_DRAW = -2
"""The model would have to be asked again."""

_HARMLESS, _HARMFUL, _MISSING = (
    OUTCOME_CODES[one] for one in (Outcome.HARMLESS, Outcome.HARMFUL, Outcome.MISSING)
)


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
    score, flags = decisions.score[draws], decisions.flags[draws]
    withheld = (flags & DrawFlag.WITHHELD) > 0
    scored = ~np.isnan(score)
    by_oracle = scored | ((outcome == _MISSING) & ((flags & DrawFlag.ORACLE_FAULT) > 0))
    # A whole answer of a text is never broken off, nor is any where nothing was streamed.
    row = decisions.decision_of_draw[draws]
    variant = decisions.pictures[row] > 0
    broken_off = (flags & DrawFlag.BROKEN_OFF) > 0
    if change.differs_in(Effect.ORACLE):
        other = by_oracle | ((outcome != _HARMLESS) & (outcome != _MISSING) & ~withheld)
        outcome[other & ~withheld] = UNKNOWN_ANSWER
        outcome[withheld & scored] = UNKNOWN_ANSWER
        outcome[broken_off] = UNKNOWN_DRAW
    elif change.differs_in(Effect.THRESHOLD):
        _cut_again(outcome, score, withheld, decisions.threshold[row], change)
    _apply_early_stop(outcome, score, broken_off, variant, change)
    _apply_failures(outcome, flags, change)
    _apply_limits(outcome, flags, decisions.draw_elapsed_s[draws], change)
    return outcome


def _cut_again(
    outcome: NDArray[np.int8],
    score: NDArray[np.float64],
    withheld: NDArray[np.bool_],
    threshold: NDArray[np.float64],
    change: PolicyComparison,
) -> None:
    """Outcomes at the new threshold.

    The recorded score is the worst of all fields: the highest, so an answer is harmful at a
    threshold exactly where that score reaches it, and no field's own score is needed for either
    direction. Not so where something is withheld whatever it scores; that is marked. Where the
    oracle is none that cuts a score, or the recorded outcome is not that of its cut, nothing is
    known.
    """
    old, new = change.thresholds
    judged = ~np.isnan(score) & ((outcome == _HARMLESS) | (outcome == _HARMFUL))
    if old is None or new is None:
        outcome[judged & ~withheld] = UNKNOWN_ANSWER
        return
    cuts = (threshold == old) & ((score >= old) == (outcome == _HARMFUL))
    sound = judged & ~withheld & cuts
    unsound = judged & ~withheld & ~cuts
    outcome[sound] = np.where(score[sound] >= new, _HARMFUL, _HARMLESS)
    outcome[unsound] = UNKNOWN_ANSWER


def _apply_early_stop(
    outcome: NDArray[np.int8],
    score: NDArray[np.float64],
    broken_off: NDArray[np.bool_],
    variant: NDArray[np.bool_],
    change: PolicyComparison,
) -> None:
    """What is not known of answers that were broken off, or would have been.

    An answer that was broken off may have ended well; of one that was not, no beginning's score is
    recorded, and a beginning may score more than the whole.
    """
    was, will = change.breaks_off
    if was != will:
        outcome[broken_off] = UNKNOWN_DRAW
        if will is not None:
            outcome[variant & (outcome == _HARMLESS) & ~np.isnan(score)] = UNKNOWN_DRAW
        return
    old, new = change.thresholds
    if will is None or old is None or new is None or old == new:
        return
    outcome[broken_off & (outcome == _HARMLESS)] = UNKNOWN_DRAW
    if new < old:
        outcome[variant & (outcome == _HARMLESS) & ~np.isnan(score)] = UNKNOWN_DRAW


def _apply_failures(
    outcome: NDArray[np.int8], flags: NDArray[np.uint8], change: PolicyComparison
) -> None:
    """Answers with parts that cannot be read, and refusals, where they count otherwise."""
    unscanned = ((flags & DrawFlag.UNSCANNED) > 0) & (outcome != _MISSING)
    refused = ((flags & DrawFlag.REFUSED) > 0) & (outcome != _MISSING)
    old, new = change.failures("unscanned")
    if old != new:
        blocks = new == OnUnscanned.BLOCK.value
        outcome[unscanned] = _HARMFUL if blocks else UNKNOWN_ANSWER
    was, harmless = change.failures("refusals_are_harmless")
    if was != harmless:
        outcome[refused] = UNKNOWN_ANSWER if harmless else _HARMFUL


def _apply_limits(
    outcome: NDArray[np.int8],
    flags: NDArray[np.uint8],
    elapsed_s: NDArray[np.float64],
    change: PolicyComparison,
) -> None:
    """Draws that might have ended otherwise with other limits of a call."""
    lost = (outcome == _MISSING) & ((flags & DrawFlag.ORACLE_FAULT) == 0)
    missing = outcome == _MISSING
    old_s, new_s = change.limits("call_timeout_s")
    if new_s > old_s:
        outcome[lost] = UNKNOWN_DRAW
    elif new_s < old_s:
        outcome[elapsed_s > new_s] = UNKNOWN_DRAW
    old_tries, new_tries = change.limits("retries")
    old_retry, new_retry = change.limits("retry")
    if new_retry == old_retry and new_tries == old_tries:
        return
    if new_tries >= old_tries and (new_retry == old_retry or new_retry == Retry.ANY.value):
        outcome[missing] = UNKNOWN_DRAW
    else:
        outcome[:] = UNKNOWN_DRAW  # any of them may have come at a repeat
