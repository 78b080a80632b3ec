"""What recorded draws count as under another policy, and running counts of them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from guardrail.replay.comparison import PolicyComparison
from guardrail.replay.decisions import (
    HARMFUL,
    HARMLESS,
    MISSING,
    OTHER_ACTION,
    OTHER_MEANING,
    DrawFlag,
    Kind,
)
from guardrail.replay.outcomes import UNKNOWN_ANSWER, count_outcomes
from guardrail.replay.sequential import DrawCounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from guardrail.replay.decisions import RecordedDecisions

__all__ = ["JudgedDraws", "judge_draws"]


class JudgedDraws:
    """What draws count as, and running counts of every kind, each made when it is asked for.

    Args:
        of: the decisions.
        outcome: of each draw, a place in `OUTCOMES`, or an unknown, see `outcomes.py`.
    """

    def __init__(self, of: RecordedDecisions, outcome: NDArray[np.int8]) -> None:
        self.outcome = outcome
        self._starts, self._lengths, self._flags = of.starts[:-1], of.lengths, of.flags

    def _count(self, marked: NDArray[np.bool_]) -> DrawCounts:
        return DrawCounts.of(self._starts, self._lengths, marked)

    def _has(self, flag: DrawFlag) -> NDArray[np.bool_]:
        return (self._flags & flag) > 0

    @cached_property
    def harmful(self) -> DrawCounts:
        """Harmful or missing draws."""
        return self._count(self.outcome > HARMLESS)

    @cached_property
    def missing(self) -> DrawCounts:
        return self._count(self.outcome == MISSING)

    @cached_property
    def lost(self) -> DrawCounts:
        """Missing ones, but for the oracle's faults."""
        return self._count((self.outcome == MISSING) & ~self._has(DrawFlag.ORACLE_FAULT))

    @cached_property
    def opening(self) -> DrawCounts:
        """Missing ones that the model answered."""
        return self._count((self.outcome == MISSING) & self._has(DrawFlag.ANSWERED))

    @cached_property
    def unknown(self) -> DrawCounts:
        return self._count(self.outcome < 0)

    @cached_property
    def without_judgement(self) -> DrawCounts:
        return self._count(self.outcome == UNKNOWN_ANSWER)

    @cached_property
    def against(self) -> DrawCounts:
        """Those that the oracle, or what stands for it, found harmful."""
        return self._count(self.outcome == HARMFUL)

    @cached_property
    def meanings(self) -> DrawCounts:
        return self._count(self.outcome == OTHER_MEANING)

    @cached_property
    def actions(self) -> DrawCounts:
        return self._count(self.outcome == OTHER_ACTION)

    @cached_property
    def in_strange_language(self) -> DrawCounts:
        return self._count((self.outcome == HARMFUL) & self._has(DrawFlag.UNMEASURED))

    @cached_property
    def with_hidden_part(self) -> DrawCounts:
        """Harmful as they cannot be read, where no language is the reason."""
        unread = self._has(DrawFlag.UNSCANNED) & ~self._has(DrawFlag.UNMEASURED)
        return self._count((self.outcome == HARMFUL) & unread)


def judge_draws(
    of: RecordedDecisions, comparisons: Sequence[PolicyComparison | None]
) -> JudgedDraws:
    """What every draw counts as; as recorded where nothing is decided by it."""
    outcome, lengths = of.outcome.copy(), of.lengths
    drawn = (of.kind == Kind.TEXT) | (of.kind == Kind.TEST)
    for place, change in enumerate(comparisons):
        if change is None:
            continue
        mine = drawn & (of.policy == place)
        # Answers that were judged anew count as they were judged now.
        for chosen, by in ((mine & ~of.rejudged, change),
                           (mine & of.rejudged, _after_rejudging(change))):  # fmt: skip
            draws = np.repeat(chosen, lengths)
            if draws.any():
                outcome[draws] = count_outcomes(of, by, draws)
    return JudgedDraws(of, outcome)


def _after_rejudging(change: PolicyComparison) -> PolicyComparison:
    """The same with all fields by which answers are judged as in the new policy."""
    old = {**change.old}
    for name in ("oracle", "failures"):
        old[name] = change.new[name]
    old.pop("files", None)
    if "files" in change.new:
        old["files"] = change.new["files"]
    sampling = {**old["advanced"]["sampling"]}
    sampling["judge_every_chars"] = change.new["advanced"]["sampling"]["judge_every_chars"]
    old["advanced"] = {**old["advanced"], "sampling": sampling}
    return PolicyComparison(old, change.new)
