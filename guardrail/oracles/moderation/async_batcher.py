"""Batches of items for a service that is asked over a network.

Items that arrive before a call is sent are sent with it. While the most calls allowed are in
flight, further items wait and form the next batch. So load makes large batches, and an idle service
is asked at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["AsyncBatcher"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class AsyncBatcher(Generic[ItemT, ResultT]):
    """Runs `work` on batches of items, on one event loop.

    Args:
        work: one result, or the error to raise, for each item in order; does not raise.
        fits: whether an item may join those that a call already holds.
        max_parallel: most calls in flight.
    """

    def __init__(
        self,
        work: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT | Exception]]],
        *,
        fits: Callable[[Sequence[ItemT], ItemT], bool],
        max_parallel: int,
    ) -> None:
        self._work = work
        self._fits = fits
        self._max_parallel = max_parallel
        self._waiting: deque[tuple[ItemT, asyncio.Future[ResultT]]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._leaving = False

    async def run(self, item: ItemT) -> ResultT:
        """The item's result; raises its error. A caller that is cancelled withdraws its item."""
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._start()
        return await future

    async def aclose(self) -> None:
        """Ends all calls; callers that wait are cancelled."""
        running = [*self._running]
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _start(self) -> None:
        """Starts one call at the loop's next turn; items that come until then join it."""
        if self._waiting and not self._leaving and len(self._running) < self._max_parallel:
            self._leaving = True
            task = asyncio.get_running_loop().create_task(self._call())
            self._running.add(task)
            task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen: its callers have been told
        self._start()

    async def _call(self) -> None:
        taken = self._take()
        self._leaving = False
        self._start()
        if taken:
            items, futures = zip(*taken, strict=True)
            self._stop_without_callers(futures)
            try:
                for future, result in zip(futures, await self._work(items), strict=True):
                    _resolve(future, result)
            finally:
                for future in futures:
                    future.cancel()  # a caller without a result would never return

    def _stop_without_callers(self, futures: Sequence[asyncio.Future[ResultT]]) -> None:
        """Cancels the running call once no caller waits for any of its results."""
        task = asyncio.current_task()

        def left(_: object) -> None:
            if task is not None and all(future.done() for future in futures):
                task.cancel()  # does nothing to one that has ended

        for future in futures:
            future.add_done_callback(left)

    def _take(self) -> list[tuple[ItemT, asyncio.Future[ResultT]]]:
        """The first item, and those behind it that fit; items of cancelled callers are dropped."""
        taken: list[tuple[ItemT, asyncio.Future[ResultT]]] = []
        while self._waiting:
            item, future = self._waiting[0]
            if not future.done():
                if taken and not self._fits([item for item, _ in taken], item):
                    break
                taken.append((item, future))
            self._waiting.popleft()
        return taken


def _resolve(future: asyncio.Future[ResultT], result: ResultT | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
