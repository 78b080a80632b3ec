"""Keeps records from an event loop: one thread writes them in groups, and nobody else waits."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import GuardrailError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.records.journal import Journal
    from guardrail.records.kept_pictures import NewRecord
    from guardrail.records.record import Record

__all__ = ["RecordWriter"]

_LARGEST_GROUP = 256
"""One wait for the disk serves so many records."""

_ENOUGH = 8
"""So many records are a group: it is written without waiting for more, as whoever asks sixteen
at a time has little else under way then (in SQLite 29 % fewer requests a second without this, 19 %
with groups of 6, which take more of the processor)."""

_GATHER_S = 0.01
"""How long the next group is gathered where the last one had several records: in groups of 4 a
record takes less than half of the processor time that it takes alone (SQLite). At 300 text requests
a second a hundredth of a second brings such groups, a fifth of that brings pairs."""

_FRESH_S = 1.0
"""How long a write that succeeded shows that the next one will."""

_IDLE_S = 2.0
"""How long the thread waits for work before it ends; the next record starts it again."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Entry:
    """A record to be made and kept; without one, only whether records can be kept is asked.

    Attributes:
        make: makes it.
        waits: who waits, and in which loop; None where nobody does.
        is_withdrawn: whether it shall not be kept any more.
        result: the record as it was kept, or what went wrong.
    """

    make: Callable[[], NewRecord] | None
    waits: tuple[asyncio.AbstractEventLoop, asyncio.Future[Record | None]] | None = None
    is_withdrawn: bool = False
    result: Record | Exception | None = None


class RecordWriter:
    """Writes to a journal from a thread of its own; safe for threads and loops.

    Args:
        journal: where records go; its maker closes it, after this.
        wait_s: how long a decision waits for its record; then its answer is withheld.
        max_waiting: most records that wait; further ones fail at once. Requests hold their place
            in the server's admission until their record is kept, so that fewer wait than it admits.
    """

    def __init__(self, journal: Journal, *, wait_s: float = 10.0, max_waiting: int = 4096) -> None:
        self._journal = journal
        self._wait_s = wait_s
        self._max_waiting = max_waiting
        self._waiting: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._is_busy = False  # whether records came faster than they were written
        self._rests = False  # whether the thread must be woken
        self._proved_at = -_FRESH_S

    async def keep(self, make: Callable[[], NewRecord]) -> Record:
        """Keeps a record, and returns it when it is committed.

        A caller that is cancelled meanwhile leaves the record to be kept.

        Args:
            make: makes the record, in the writer's thread.

        Raises:
            StorageError: it was not kept, or not in time.
        """
        record = await self._await(make)
        assert record is not None
        return record

    def keep_soon(self, make: Callable[[], NewRecord]) -> None:
        """Keeps a record for which nobody waits; a failure is only logged."""
        try:
            self._put(_Entry(make))
        except StorageError as error:
            _log.error("a record was not kept: %s", error)

    async def check(self) -> None:
        """Whether records can be kept: by the last write, or where it is old by another one.

        Raises:
            StorageError: they cannot, or it takes too long.
        """
        if time.monotonic() - self._proved_at >= _FRESH_S:
            await self._await(None)

    def close(self) -> None:
        """Writes what waits, at most for the time that a decision waits."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(self._wait_s)

    def _put(self, entry: _Entry) -> None:
        with self._changed:
            if self._closed:
                raise StorageError("the writer of records has been closed; no more are kept")
            if len(self._waiting) >= self._max_waiting:
                raise StorageError(
                    f"{self._max_waiting} records wait to be written; retry later, and check the "
                    "disk or database that they go to"
                )
            self._waiting.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="guardrail-records", daemon=True
                )
                self._thread.start()
            if self._rests or len(self._waiting) == _ENOUGH:
                self._changed.notify()

    async def _await(self, make: Callable[[], NewRecord] | None) -> Record | None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Record | None] = loop.create_future()
        entry = _Entry(make, (loop, done))
        self._put(entry)
        late = loop.call_later(self._wait_s, _give_up, entry)
        try:
            return await done  # a caller that is cancelled leaves the entry alone
        except TimeoutError:
            if not entry.is_withdrawn:  # another one, of whatever keeps records
                raise
            raise StorageError(
                f"the record could not be written within {self._wait_s:g} s; check the disk or "
                "database that records go to, and who holds its lock"
            ) from None
        finally:
            late.cancel()

    def _run(self) -> None:
        while group := self._take():
            entries = [entry for entry in group if not entry.is_withdrawn]
            self._write(entries)
            _tell(entries)

    def _take(self) -> list[_Entry]:
        """The next group; nothing where the thread shall end."""
        with self._changed:
            if not self._waiting and not self._closed:
                self._rests = True
                self._changed.wait(_IDLE_S)
                self._rests = False
        with self._changed:
            if self._is_busy:
                self._changed.wait_for(self._has_enough, _GATHER_S)
            size = min(len(self._waiting), _LARGEST_GROUP)
            self._is_busy = size > 1
            group = [self._waiting.popleft() for _ in range(size)]
            if not group:
                self._thread = None
            return group

    def _has_enough(self) -> bool:
        return self._closed or len(self._waiting) >= _ENOUGH

    def _write(self, group: Sequence[_Entry]) -> None:
        """Keeps a group at once; where one record of it cannot be kept, each by itself."""
        made = [(entry, new) for entry in group for new in self._make(entry)]
        if not made:
            return
        try:
            self._keep_all(made)
        except StorageError as error:
            if error.transient or len(made) < 2:
                _fail(made, error)
            else:
                for one in made:
                    self._write([one[0]])
        except Exception as error:  # noqa: BLE001 (whoever waits must hear of it)
            _fail(made, error)

    def _make(self, entry: _Entry) -> list[NewRecord | None]:
        """The entry's record in a list; nothing where it could not be made."""
        try:
            return [None if entry.make is None else entry.make()]
        except Exception as error:  # noqa: BLE001 (as above)
            entry.result = error
            return []

    def _keep_all(self, made: Sequence[tuple[_Entry, NewRecord | None]]) -> None:
        records = [new.record for _, new in made if new is not None]
        pictures = [picture for _, new in made if new is not None for picture in new.pictures]
        try:
            if records:
                kept = iter(self._journal.append_all(records, pictures))
            else:
                self._journal.check()
                kept = iter(())
        except Exception:
            self._proved_at = -_FRESH_S
            raise
        self._proved_at = time.monotonic()
        for entry, new in made:
            entry.result = None if new is None else next(kept)


def _fail(made: Sequence[tuple[_Entry, NewRecord | None]], error: Exception) -> None:
    for entry, _ in made:
        entry.result = error


def _give_up(entry: _Entry) -> None:
    """Ends the wait for a record; it is withdrawn, unless it is being written right now."""
    entry.is_withdrawn = True
    assert entry.waits is not None  # somebody does
    if not entry.waits[1].done():
        entry.waits[1].set_exception(TimeoutError())


def _tell(entries: Sequence[_Entry]) -> None:
    """Says what became of a group: each loop is woken once for all that wait in it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Entry]] = {}
    for entry in entries:
        entry.make = None  # with its pictures, whose room whoever waits may need at once
        if entry.waits is not None:
            by_loop.setdefault(entry.waits[0], []).append(entry)
        elif isinstance(entry.result, Exception):
            _log_failure(entry.result)
    for loop, waiting in by_loop.items():
        with suppress(RuntimeError):  # the loop was closed, and nobody waits any more
            loop.call_soon_threadsafe(_end_waits, waiting)


def _end_waits(entries: Sequence[_Entry]) -> None:
    for entry in entries:
        assert entry.waits is not None  # see `_tell`
        future = entry.waits[1]
        if future.done():  # cancelled, or too late
            continue
        if isinstance(entry.result, Exception):
            future.set_exception(entry.result)
        else:
            future.set_result(entry.result)


def _log_failure(error: Exception) -> None:
    about = str(error) if isinstance(error, GuardrailError) else type(error).__name__
    _log.error("a record was not kept: %s", about)
