"""A bulk job: every row of a source decided once, and written down as soon as it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.bulk.flow import read_in_thread, work_through
from guardrail.engine.verdict import Reason
from guardrail.errors import LimitError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from guardrail.bulk.deciding import RowDecider
    from guardrail.bulk.log import OutcomeSink
    from guardrail.bulk.outcome import RowOutcome
    from guardrail.bulk.rows import BulkRow

__all__ = ["MOST_BARREN", "BarrenRows", "BulkJob"]

MOST_BARREN = 32
"""After so many rows in a row that model or oracle let down, the job stops."""

_LET_DOWN = frozenset(
    {Reason.UPSTREAM_FAILED.value, Reason.ORACLE_FAILED.value, Reason.MISCONFIGURED.value}
)


@dataclass(slots=True)
class BarrenRows:
    """Counts rows in a row that model or oracle let down, over the jobs that share it."""

    count: int = 0

    def add(self, outcome: RowOutcome) -> bool:
        """Whether these are too many by now."""
        if outcome.is_decided:
            self.count = 0
        elif outcome.reason in _LET_DOWN:
            self.count += 1
            return self.count >= MOST_BARREN
        return False


@dataclass(slots=True)
class BulkJob:
    """Runs once.

    Attributes:
        decider: decides rows.
        log: where outcomes go; what it holds already is not decided again.
        most: rows that are decided at a time: a kill loses no more of them.
        step: called after each row.
        barren: goes on with the count of an earlier job, if it is that one's.
        stopped: why the job ended before its source did; empty where it did not.
        decided_before: rows that needed nothing.
    """

    decider: RowDecider
    log: OutcomeSink
    most: int
    step: Callable[[], None] = lambda: None
    barren: BarrenRows = field(default_factory=BarrenRows)
    stopped: str = ""
    decided_before: int = 0

    async def run(self, rows: Iterator[BulkRow]) -> None:
        """Decides the rows that are left; where it is stopped, those under way are ended first.

        Raises:
            ConfigError: the source or the set-up is wrong; what is decided is kept.
            StorageError: the log cannot be written.
        """
        async for outcomes in work_through(self._until_stopped(rows), self._decide, most=self.most):
            found = [outcome for outcome in outcomes if outcome is not None]
            if found:
                await asyncio.to_thread(self.log.write, found)
                for outcome in found:
                    self.decider.forget(outcome)
                    self._count_faults(outcome)
            for _ in outcomes:
                self.step()

    async def _until_stopped(self, rows: Iterator[BulkRow]) -> AsyncIterator[BulkRow]:
        async for row in read_in_thread(rows):
            if self.stopped:
                return
            yield row

    async def _decide(self, row: BulkRow) -> RowOutcome | None:
        try:
            outcome = await self.decider.decide(row)
        except LimitError as error:
            self.stopped = self.stopped or str(error)
            return None
        self.decided_before += outcome is None
        return outcome

    def _count_faults(self, outcome: RowOutcome) -> None:
        if self.barren.add(outcome) and not self.stopped:
            self.stopped = (
                f"{MOST_BARREN} rows in a row could not be decided, the last one because: "
                f"{outcome.problem}. Correct this, and the same command goes on"
            )
