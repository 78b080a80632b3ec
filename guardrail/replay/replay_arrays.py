"""The arrays of a replay while they are filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guardrail.engine.rules import Mode, OnOracleFailure
from guardrail.engine.verdict import Reason
from guardrail.replay.endings import REASON_CODES, Ending, Need
from guardrail.replay.policy_replay import PolicyReplay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.engine.rules import Rules
    from guardrail.replay.comparison import PolicyComparison
    from guardrail.replay.decisions import Ints, RecordedDecisions
    from guardrail.replay.policy_replay import OpenTest

__all__ = ["ReplayArrays"]


class ReplayArrays:
    """How each decision ends, as far as that has been found out; see `PolicyReplay`.

    Args:
        decisions: what was recorded.
        rules: the policy that is asked about.
    """

    def __init__(self, decisions: RecordedDecisions, rules: Rules) -> None:
        count = len(decisions)
        self.of = decisions
        self.rules = rules
        self.after = np.full(count, Ending.UNKNOWN, dtype=np.int8)
        self.reason = decisions.reason.copy()
        self.need = np.zeros(count, dtype=np.int8)
        self.used = np.zeros(count, dtype=np.int64)
        self.open_tests: list[OpenTest] = []

    def finish(self, comparisons: tuple[PolicyComparison | None, ...]) -> PolicyReplay:
        self.after.flags.writeable = self.need.flags.writeable = False
        return PolicyReplay(
            self.of, self.rules, self.after, self.reason, self.need, self.used,
            tuple(self.open_tests), comparisons,
        )  # fmt: skip

    def leave_unknown(self, rows: Ints, need: Need) -> None:
        self.after[rows] = Ending.UNKNOWN
        self.need[rows] = need
        self.used[rows] = 0

    def keep(self, rows: Ints) -> None:
        """The decision as it was recorded."""
        self.after[rows] = self.of.before[rows]
        self.reason[rows] = self.of.reason[rows]
        self.need[rows] = Need.NOTHING

    def end(self, rows: Ints, ending: Ending, reason: Reason) -> None:
        self.after[rows] = ending
        self.reason[rows] = REASON_CODES[reason]
        self.need[rows] = Need.NOTHING

    def fail_oracle(self, rows: Ints, opens: NDArray[np.bool_]) -> None:
        """Answers that were not judged, and nothing harmful beside them."""
        passes = self.rules.on_oracle_failure is OnOracleFailure.PASS_UNSCANNED
        opened = opens & (passes and self.rules.mode is Mode.ENFORCE)
        self.end(rows[~opened], Ending.FAULT, Reason.ORACLE_FAILED)
        self.end(rows[opened], Ending.LET_THROUGH, Reason.ORACLE_FAILED)
