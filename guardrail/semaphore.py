"""A bounded number of places, taken in order of arrival."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["FifoSemaphore"]


class FifoSemaphore:
    """A weighted semaphore, first come first served, for any thread and any event loop.

    A caller takes all its places at once, so no two callers can wait for each other. Nobody
    overtakes: a caller that needs few places waits behind one that needs many. A caller that is
    cancelled gives back what it was granted, and those behind it are served.

    Args:
        capacity: places in all.
        max_waiting: most callers that wait; None sets no limit.
        full: makes the error for a caller that may not wait; needed with `max_waiting`.
    """

    def __init__(
        self,
        capacity: int,
        *,
        max_waiting: int | None = None,
        full: Callable[[], Exception] | None = None,
    ) -> None:
        if (max_waiting is None) != (full is None):
            raise ValueError("give both max_waiting and full, or neither")
        self._capacity = self._free = capacity
        self._max_waiting = max_waiting
        self._full = full
        self._lock = threading.Lock()
        self._queue: deque[tuple[int, Future[None]]] = deque()

    @property
    def free(self) -> int:
        return self._free

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._queue)

    @asynccontextmanager
    async def hold(self, weight: int = 1) -> AsyncIterator[None]:
        """So many places for as long as the context lasts, at most all there are.

        Raises:
            Exception: what `full` makes, if too many callers wait already.
        """
        weight = min(weight, self._capacity)
        await self.acquire(weight)
        try:
            yield
        finally:
            self.release(weight)

    async def acquire(self, weight: int = 1) -> None:
        """Takes so many places, at most `capacity`, or waits for them. Raises as `hold` does."""
        with self._lock:
            if not self._queue and weight <= self._free:
                self._free -= weight
                return
            if self._full is not None and len(self._queue) >= (self._max_waiting or 0):
                raise self._full()
            granted: Future[None] = Future()
            waiter = (weight, granted)
            self._queue.append(waiter)
        try:
            await asyncio.wrap_future(granted)
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def release(self, weight: int = 1) -> None:
        """Gives places back; those who wait are served in order."""
        with self._lock:
            self._free += weight
            self._grant()

    def _withdraw(self, waiter: tuple[int, Future[None]]) -> None:
        weight, granted = waiter
        with self._lock:
            if not granted.cancel():  # granted in the same moment: those behind get it
                self._free += weight
            elif waiter in self._queue:
                self._queue.remove(waiter)
            self._grant()

    def _grant(self) -> None:
        """Serves the queue from its head as far as the free places go. Needs the lock."""
        while self._queue and self._queue[0][0] <= self._free:
            weight, granted = self._queue.popleft()
            if granted.set_running_or_notify_cancel():  # else its caller has been cancelled
                self._free -= weight
                granted.set_result(None)
