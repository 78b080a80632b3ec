"""One worker thread that gathers the calls of many coroutines into batches.

While one batch is in work the next one fills, so batches form under load and an idle worker
answers at once. Only items of the same group share a batch. Every fault reaches exactly the
callers it concerns; the items of a cancelled caller are dropped.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from guardrail.semaphore import FifoSemaphore

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

__all__ = ["Batch", "ThreadBatcher"]

_ENDING_S = 30.0
"""How long a process that ends waits for batches that are in work."""
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(slots=True, eq=False)
class _Job(Generic[ItemT, ResultT]):
    """`wanted` turns False when the caller has left: a running future cannot be cancelled."""

    item: ItemT
    group: Hashable
    result: Future[ResultT] = field(default_factory=Future)
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Batch(Generic[ItemT]):
    """Items of one group, and a way to ask whether a caller still waits for them."""

    items: tuple[ItemT, ...]
    wanted: Callable[[], bool]


class ThreadBatcher(Generic[ItemT, ResultT]):
    """Runs `work` on batches in a thread of its own.

    Args:
        work: returns one result for each item of the batch, in order; may raise.
        max_batch: most items of one batch; equal ones count once where `merge_equal`.
        max_queue: most items that wait to be worked on.
        name: the thread's name.
        closed: makes the error for an item that comes too late.
        failed: makes the error that a caller sees of what `work` raised; called for each caller,
            so that no two share an exception, whose traceback would grow with every raise.
        full: makes the error for an item that finds no room; without it callers wait for room,
            in order.
        group: items with equal groups may share a batch; without it all may.
        merge_equal: whether `work` does equal items at once, for the price of one.
        max_wait_s: how long a batch that is not full waits for more items; 0: not at all.
    """

    def __init__(
        self,
        work: Callable[[Batch[ItemT]], Sequence[ResultT]],
        *,
        max_batch: int,
        max_queue: int,
        name: str,
        closed: Callable[[], Exception],
        failed: Callable[[BaseException], Exception],
        full: Callable[[], Exception] | None = None,
        group: Callable[[ItemT], Hashable] = lambda _: None,
        merge_equal: bool = False,
        max_wait_s: float = 0.0,
    ) -> None:
        self._work = work
        self._max_batch = max_batch
        self._name = name
        self._closed = closed
        self._failed = failed
        self._group = group
        self._merge_equal = merge_equal
        self._max_wait_s = max_wait_s
        self._room = FifoSemaphore(max_queue, max_waiting=None if full is None else 0, full=full)
        self._jobs: deque[_Job[ItemT, ResultT]] = deque()
        self._open = True
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        _open.add(self)

    async def run(self, item: ItemT) -> ResultT:
        """The item's result; raises `failed` of what `work` raised, or `full()` or `closed()`."""
        (result,) = await self.run_all([item])
        return result

    async def run_all(self, items: Sequence[ItemT]) -> list[ResultT]:
        """One result for each item, in order; the first fault ends the wait for all of them."""
        jobs = [_Job[ItemT, ResultT](item, self._group(item)) for item in items]
        try:
            for job in jobs:
                await self._enter(job)
            return await asyncio.gather(*(asyncio.wrap_future(job.result) for job in jobs))
        finally:
            for job in jobs:
                self._leave(job)

    async def aclose(self, timeout_s: float = 30.0) -> bool:
        """Refuses waiting items, lets the running batch finish and ends the thread.

        False if the work did not come back in time; its thread is then left behind.
        """
        self._refuse()
        return self._thread is None or await asyncio.to_thread(self._join, timeout_s)

    def _refuse(self) -> None:
        with self._changed:
            self._open = False
            waiting = list(self._jobs)
            self._jobs.clear()
            self._changed.notify()
        self._room.release(len(waiting))  # callers that wait for room then get `closed`
        for job in waiting:
            if job.result.set_running_or_notify_cancel():
                job.result.set_exception(self._closed())

    def _join(self, timeout_s: float) -> bool:
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    async def _enter(self, job: _Job[ItemT, ResultT]) -> None:
        """Puts the job into the queue once there is room. Raises `full()` or `closed()`."""
        await self._room.acquire()
        if not self._put(job):
            self._room.release()
            raise self._closed()

    def _put(self, job: _Job[ItemT, ResultT]) -> bool:
        """False when the worker is closed."""
        with self._changed:
            if self._open:
                self._jobs.append(job)
                self._ensure_thread()
                self._changed.notify()
            return self._open

    def _leave(self, job: _Job[ItemT, ResultT]) -> None:
        """Frees the place of a job at once when its caller no longer waits for it."""
        job.wanted = False
        if job.result.cancel():
            with self._changed:
                queued = job in self._jobs
                if queued:
                    self._jobs.remove(job)
            self._room.release(int(queued))

    def _ensure_thread(self) -> None:
        if self._thread is None:
            # A daemon: work that hangs must not keep the process from ending.
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        while jobs := self._take():
            self._room.release(len(jobs))
            running = [job for job in jobs if job.result.set_running_or_notify_cancel()]
            if running:
                self._run_batch(running)

    def _run_batch(self, jobs: list[_Job[ItemT, ResultT]]) -> None:
        batch = Batch(tuple(job.item for job in jobs), lambda: any(job.wanted for job in jobs))
        try:
            results = list(self._work(batch))
            if len(results) != len(jobs):
                raise RuntimeError(f"{len(results)} results for {len(jobs)} items")  # noqa: TRY301
        except BaseException as error:  # noqa: BLE001 (the thread's outermost frame)
            for job in jobs:
                job.result.set_exception(self._failed(error))
            return
        for job, result in zip(jobs, results, strict=True):
            job.result.set_result(result)

    def _take(self) -> list[_Job[ItemT, ResultT]]:
        """Waits for work; the first job's group fills the batch. Empty only when closed."""
        with self._changed:
            while self._open:
                self._changed.wait_for(lambda: self._jobs or not self._open)
                self._wait_for_more()
                if self._jobs:  # else their callers have left in the meantime
                    return self._pop_batch()
            return []

    def _wait_for_more(self) -> None:
        end = time.monotonic() + self._max_wait_s
        while self._open and len(self._jobs) < self._max_batch:
            left_s = end - time.monotonic()
            if left_s <= 0.0:
                return
            self._changed.wait(left_s)

    def _pop_batch(self) -> list[_Job[ItemT, ResultT]]:
        batch: list[_Job[ItemT, ResultT]] = []
        counted: set[Hashable] = set()
        for job in self._jobs:
            if job.group == self._jobs[0].group:
                counted.add(job.item if self._merge_equal else job)
                if len(counted) > self._max_batch:
                    break
                batch.append(job)
        for job in batch:
            self._jobs.remove(job)
        return batch


_open: weakref.WeakSet[ThreadBatcher[Any, Any]] = weakref.WeakSet()


def _end_all() -> None:
    """Lets every batch in work come back before Python takes its threads away.

    A thread that is inside compiled code then (a model's, an oracle's) would end the whole process
    as it is unwound: "terminate called without an active exception".
    """
    until = time.monotonic() + _ENDING_S
    for batcher in list(_open):
        batcher._refuse()  # noqa: SLF001 (of this module)
        batcher._join(max(0.0, until - time.monotonic()))  # noqa: SLF001 (as above)


atexit.register(_end_all)
