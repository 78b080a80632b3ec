"""What a replay found: how recorded decisions end under another policy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from guardrail.replay.endings import Ending

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.engine.rules import Rules
    from guardrail.replay.comparison import PolicyComparison
    from guardrail.replay.decisions import Ints, RecordedDecisions
    from guardrail.replay.endings import Need
    from guardrail.stats import Plan

__all__ = ["OpenTest", "PolicyReplay"]


@dataclass(frozen=True, slots=True, eq=False)
class OpenTest:
    """Decisions whose test goes on after the recorded draws.

    Attributes:
        plan: the new test.
        rows: the decisions.
        samples: draws that are known.
        harmful: harmful or missing ones among them.
    """

    plan: Plan
    rows: Ints
    samples: Ints
    harmful: Ints


@dataclass(frozen=True, eq=False)
class PolicyReplay:
    """Recorded decisions under another policy, a row of each array for a decision.

    Attributes:
        decisions: what was recorded.
        rules: the policy that was asked about.
        after: how each would have ended, see `Ending`.
        reason: why, as a place in `REASONS`; of a decision that other judging changed the kind of
            harm may be another one.
        need: what is lacking where `after` is `UNKNOWN`, see `Need`.
        used: draws that the new test rests on; 0 where there is none, or it is not known.
        open_tests: those that would go on.
        comparisons: by place in `decisions.policies`: what differs; None where the policy is not
            known.
    """

    decisions: RecordedDecisions
    rules: Rules
    after: NDArray[np.int8]
    reason: NDArray[np.int16]
    need: NDArray[np.int8]
    used: Ints
    open_tests: tuple[OpenTest, ...]
    comparisons: tuple[PolicyComparison | None, ...]

    @property
    def before(self) -> NDArray[np.int8]:
        """How each decision ended."""
        return self.decisions.before

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Whether the new decision is known."""
        return np.not_equal(self.after, Ending.UNKNOWN)

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """Whether it is known to be another one."""
        return np.logical_and(self.known, np.not_equal(self.after, self.before))

    def count(self, before: Ending, after: Ending) -> int:
        """How many decisions went from one ending to another."""
        return int(np.count_nonzero((self.before == before) & (self.after == after)))

    def count_need(self, need: Need) -> int:
        """How many decisions lack this."""
        return int(np.count_nonzero(self.need == need))

    def rows_where(self, before: Ending, after: Ending) -> Ints:
        """The decisions that went from one ending to another."""
        return np.flatnonzero((self.before == before) & (self.after == after))
