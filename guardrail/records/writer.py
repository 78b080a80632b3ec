"""Keeps records from an event loop: one thread writes them in groups, and nobody else waits."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.errors import GuardrailError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.records.journal import Journal
    from guardrail.records.record import Record

__all__ = ["RecordWriter"]

_LARGEST_GROUP = 256
"""One wait for the disk serves so many records."""

_FRESH_S = 1.0
"""How long a write that succeeded shows that the next one will."""

_IDLE_S = 2.0
"""How long the thread waits for work before it ends; the next record starts it again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record to be made and kept; without one, only whether records can be kept is asked."""

    make: Callable[[], Record] | None
    future: Future[Record | None] = field(default_factory=Future)


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
        self._proved_at = -_FRESH_S

    async def keep(self, make: Callable[[], Record]) -> Record:
        """Keeps a record, and returns it when it is committed.

        A caller that is cancelled meanwhile leaves the record to be kept.

        Args:
            make: makes the record, in the writer's thread.

        Raises:
            StorageError: it was not kept, or not in time.
        """
        record = await self._await(self._put(make))
        assert record is not None
        return record

    def keep_soon(self, make: Callable[[], Record]) -> None:
        """Keeps a record for which nobody waits; a failure is only logged."""
        try:
            self._put(make).future.add_done_callback(_log_failure)
        except StorageError as error:
            _log.error("a record was not kept: %s", error)

    async def check(self) -> None:
        """Whether records can be kept: by the last write, or where it is old by another one.

        Raises:
            StorageError: they cannot, or it takes too long.
        """
        if time.monotonic() - self._proved_at >= _FRESH_S:
            await self._await(self._put(None))

    def close(self) -> None:
        """Writes what waits, at most for the time that a decision waits."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(self._wait_s)

    def _put(self, make: Callable[[], Record] | None) -> _Entry:
        entry = _Entry(make)
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
            self._changed.notify()
        return entry

    async def _await(self, entry: _Entry) -> Record | None:
        waiting = asyncio.wrap_future(entry.future)
        waiting.add_done_callback(_mark_seen)
        # Leaves the entry alone where the caller is cancelled.
        await asyncio.wait({waiting}, timeout=self._wait_s)
        if not waiting.done():
            entry.future.cancel()  # withdrawn, unless it is being written right now
            raise StorageError(
                f"the record could not be written within {self._wait_s:g} s; check the disk or "
                "database that records go to, and who holds its lock"
            )
        return waiting.result()

    def _run(self) -> None:
        while group := self._take():
            self._write([e for e in group if e.future.set_running_or_notify_cancel()])

    def _take(self) -> list[_Entry]:
        """The next group; nothing where the thread shall end."""
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait(_IDLE_S)
            size = min(len(self._waiting), _LARGEST_GROUP)
            group = [self._waiting.popleft() for _ in range(size)]
            if not group:
                self._thread = None
            return group

    def _write(self, group: Sequence[_Entry]) -> None:
        """Keeps a group at once; where one record of it cannot be kept, each by itself."""
        made = [(entry, record) for entry in group for record in self._make(entry)]
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

    def _make(self, entry: _Entry) -> list[Record | None]:
        """The entry's record in a list; nothing where it could not be made."""
        try:
            return [None if entry.make is None else entry.make()]
        except Exception as error:  # noqa: BLE001 (as above)
            entry.future.set_exception(error)
            return []

    def _keep_all(self, made: Sequence[tuple[_Entry, Record | None]]) -> None:
        records = [record for _, record in made if record is not None]
        try:
            if records:
                kept = iter(self._journal.append_all(records))
            else:
                self._journal.check()
                kept = iter(())
        except Exception:
            self._proved_at = -_FRESH_S
            raise
        self._proved_at = time.monotonic()
        for entry, record in made:
            entry.future.set_result(None if record is None else next(kept))


def _fail(made: Sequence[tuple[_Entry, Record | None]], error: Exception) -> None:
    for entry, _ in made:
        entry.future.set_exception(error)


def _mark_seen(future: asyncio.Future[Record | None]) -> None:
    """A failure that nobody waits for any more is no forgotten one."""
    if not future.cancelled():
        future.exception()


def _log_failure(future: Future[Record | None]) -> None:
    error = None if future.cancelled() else future.exception()
    if error is not None:
        about = str(error) if isinstance(error, GuardrailError) else type(error).__name__
        _log.error("a record was not kept: %s", about)
