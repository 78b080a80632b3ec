"""What the workers of one job share: its log, its money, its records, and who decides what.

A worker works in batches, and everything that it holds here belongs to a batch: contents that it
alone decides about, money that is set aside. Where a worker is lost, its batch is ended for it, and
nothing more is taken from it: what it has not written is decided again elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from guardrail.assembly import open_record_writer
from guardrail.bulk.leases import LeaseTable
from guardrail.bulk.log import DecisionLog
from guardrail.bulk.outcome import RowOutcome
from guardrail.bulk.spending import JobAllowance
from guardrail.errors import GuardrailError, LimitError, StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from guardrail.bulk.index import KnownDecision
    from guardrail.bulk.rows import BulkRow
    from guardrail.memory.allowance import Reservation
    from guardrail.records.kept_pictures import NewRecord
    from guardrail.records.options import RecordOptions
    from guardrail.records.writer import RecordWriter

__all__ = ["Keeper"]

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Batch:
    """A batch under way.

    Attributes:
        watch: waits for the loss of its worker.
        reservations: what is set aside for its decisions, by their tokens.
        writing: what is being written for it.
        ended: set once it is over, or lost.
    """

    watch: asyncio.Task[None]
    reservations: dict[str, Reservation] = field(default_factory=dict)
    writing: set[asyncio.Future[None]] = field(default_factory=set)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Keeper:
    """Serves all workers of a job, on one event loop.

    Args:
        path: of the log.
        settings: of the job.
        most_usd: what all runs of the job may cost; None for no limit.
        records: where records of the decisions go.
        wait_for_loss: waits until a worker is lost that has a batch under way.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        *,
        most_usd: float | None,
        records: RecordOptions,
        wait_for_loss: Callable[[Any], Awaitable[None]],
    ) -> None:
        self._path = path
        self._settings = settings
        self._most_usd = most_usd
        self._records = records
        self._wait_for_loss = wait_for_loss
        self._open_files = ExitStack()
        self._log: DecisionLog
        self._writer: RecordWriter | None = None
        self._allowance: JobAllowance | None = None
        self._batches: dict[str, _Batch] = {}
        self._leases = LeaseTable()
        self._reserved = 0
        self._stopped = ""
        self._fault: GuardrailError | None = None

    async def open(self) -> None:
        """Opens log and records. Raises ConfigError, StorageError."""
        with ExitStack() as stack:
            self._log = stack.enter_context(DecisionLog(self._path, self._settings))
            self._writer = stack.enter_context(open_record_writer(self._records))
            self._open_files = stack.pop_all()
        if self._most_usd is not None:
            self._allowance = JobAllowance(self._most_usd, self._log.cost_usd)

    async def begin(self, batch: str, worker: Any) -> str:
        """Notes that a worker begins a batch; where the job was stopped, returns why instead."""
        if not self._stopped:
            watch = asyncio.create_task(self._watch(batch, worker))
            self._batches[batch] = _Batch(watch)
        return self._stopped

    async def end(
        self,
        batch: str,
        stopped: str,
        fault: GuardrailError | None,
        records: Sequence[NewRecord],
    ) -> None:
        """Notes that a batch is over.

        Args:
            batch: which one.
            stopped: why the job shall stop; empty where it shall not.
            fault: what shall be raised once it has stopped; None for nothing.
            records: of decisions that no outcome came of.
        """
        self._stopped = self._stopped or stopped
        self._fault = self._fault or fault
        under_way = self._batches.get(batch)
        if under_way is None:
            return
        under_way.watch.cancel()
        try:
            await self._keep(records)
        except GuardrailError as error:
            self._fault = self._fault or error
            self._stopped = self._stopped or str(error)
        finally:
            await self.lose(batch)

    async def lose(self, batch: str) -> None:
        """Ends a batch of which nothing more will be heard.

        What was set aside for its decisions counts as spent: the calls may have been made.
        """
        lost = self._batches.pop(batch, None)
        if lost is None:
            return
        while lost.writing:
            await asyncio.wait(lost.writing)  # whoever decides next finds it in the log
        self._leases.free_all(batch)
        for reservation in lost.reservations.values():
            assert self._allowance is not None
            await self._allowance.write_off(reservation)
        lost.ended.set()

    async def drain(self) -> None:
        """Waits until no batch is under way. Raises what ended the job, where that is an error."""
        for batch in list(self._batches.values()):
            await batch.ended.wait()
        if self._fault is not None:
            raise self._fault

    async def take(self, batch: str, key: str) -> None:
        """Waits until no other batch decides about this content, which is then this one's.

        Raises:
            LimitError: the job was stopped.
            StorageError: the batch was given up for lost.
        """
        self._find(batch)
        await self._leases.take(key, batch)
        try:
            self._find(batch)
            if self._stopped:
                raise LimitError(self._stopped)
        except GuardrailError:
            self._leases.free(key, batch)
            raise

    async def free(self, batch: str, key: str) -> None:
        """Says that the outcome about a content is in the log, or that there is none."""
        self._leases.free(key, batch)

    async def find(self, key: str) -> KnownDecision | None:
        """The decision about this content; None where there is none."""
        return await asyncio.to_thread(self._log.find, key)

    async def is_decided(self, row: BulkRow, key: str) -> bool:
        """Whether this row was decided with this content."""
        return await asyncio.to_thread(self._log.is_decided, row, key)

    async def count_failed(self, key: str) -> int:
        """How many lines say that this content could not be decided."""
        return await asyncio.to_thread(self._log.count_failed, key)

    async def reserve(self, batch: str, max_cost_usd: float | None) -> Reservation:
        """Sets aside what one decision may cost; see `JobAllowance.reserve`.

        Raises:
            LimitError: too little is left.
            StorageError: the batch was given up for lost.
        """
        assert self._allowance is not None
        self._find(batch)
        reservation = await self._allowance.reserve(None, max_cost_usd)
        try:
            under_way = self._find(batch)
        except StorageError:
            await self._allowance.settle(reservation, 0, 0.0)
            raise
        self._reserved += 1
        reservation = replace(reservation, token=f"{self._reserved}")
        under_way.reservations[reservation.token] = reservation
        return reservation

    async def settle(self, batch: str, token: str, usd: float | None) -> None:
        """Counts what a decision cost.

        Raises:
            StorageError: the batch was given up for lost; all that was set aside counts as spent.
        """
        assert self._allowance is not None
        reservation = self._find(batch).reservations.pop(token)
        await self._allowance.settle(reservation, 0, usd)

    async def check_records(self) -> None:
        """Raises GuardrailError where a record could not be kept now."""
        if self._writer is not None:
            await self._writer.check()

    async def write(
        self, batch: str, outcomes: Sequence[Mapping[str, Any]], records: Sequence[NewRecord]
    ) -> None:
        """Keeps outcomes and the records of their decisions; they are on a disk when this returns.

        Both come in one call: of a worker that is lost either both are kept or neither is, so that
        no decision has two records.

        Raises:
            ConfigError, StorageError: they cannot be kept, or the batch was given up for lost.
        """
        under_way = self._find(batch)
        writing = asyncio.ensure_future(self._write(outcomes, records))
        under_way.writing.add(writing)
        writing.add_done_callback(under_way.writing.discard)
        await asyncio.shield(writing)

    async def close(self) -> None:
        """Closes log and records."""
        await asyncio.to_thread(self._open_files.close)

    async def _watch(self, batch: str, worker: Any) -> None:
        try:
            await self._wait_for_loss(worker)
        except Exception as error:  # noqa: BLE001 (others would wait for this batch for ever)
            _log.error("a worker cannot be watched any more: %s", type(error).__name__)
        await self.lose(batch)

    async def _write(
        self, outcomes: Sequence[Mapping[str, Any]], records: Sequence[NewRecord]
    ) -> None:
        await self._keep(records)
        await asyncio.to_thread(self._log.write, [RowOutcome.from_dict(one) for one in outcomes])

    async def _keep(self, records: Sequence[NewRecord]) -> None:
        if records:
            assert self._writer is not None
            await asyncio.gather(*(self._writer.keep(partial(_same, new)) for new in records))

    def _find(self, batch: str) -> _Batch:
        found = self._batches.get(batch)
        if found is None:
            raise StorageError(
                "a worker was given up for lost while it was at work, so that what it decides is "
                "not kept; the same command goes on"
            )
        return found


def _same(new: NewRecord) -> NewRecord:
    return new
