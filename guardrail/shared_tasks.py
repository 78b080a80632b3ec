"""Runs equal work once for all who ask for it at the same time.

The task goes on when the caller that began it leaves, and is cancelled when the last one does.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from guardrail.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Hashable

__all__ = ["SharedTask", "SharedTasks"]

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class SharedTask(Generic[_T]):
    """One task and the number of callers that wait for it.

    Attributes:
        task: does the work.
        held: closed once no caller waits any more and the task has ended.
        waiting: how many callers wait.
    """

    task: asyncio.Task[_T]
    held: AsyncExitStack
    waiting: int = field(default=0)

    async def result(self) -> _T:
        """What the task returns; raises what it raises.

        Raises:
            UpstreamError: the task was cancelled from outside.
        """
        await asyncio.wait({self.task})
        if self.task.cancelled():
            raise UpstreamError("the guard is shutting down; retry later", status=503)
        return self.task.result()


class SharedTasks(Generic[_T]):
    """The tasks under way, by key; used from one event loop."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, SharedTask[_T]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    @asynccontextmanager
    async def join(
        self, key: Hashable, begin: Callable[[AsyncExitStack], Coroutine[Any, Any, _T]]
    ) -> AsyncIterator[SharedTask[_T]]:
        """The task with this key, for as long as the caller waits for it.

        Whoever leaves last before the end cancels the task and waits until it has ended.

        Args:
            key: of the work; equal keys share a task.
            begin: called at once where no task is under way. It puts what the task needs for as
                long as it runs into the stack that it is given.
        """
        shared = self._under_way.get(key) or self._start(key, begin)
        shared.waiting += 1
        try:
            yield shared
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                await self._end(key, shared)

    async def aclose(self) -> None:
        """Cancels all tasks, and waits until they have ended."""
        tasks = [shared.task for shared in self._under_way.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(
        self, key: Hashable, begin: Callable[[AsyncExitStack], Coroutine[Any, Any, _T]]
    ) -> SharedTask[_T]:
        held = AsyncExitStack()
        shared = SharedTask(asyncio.create_task(begin(held)), held)
        self._under_way[key] = shared
        shared.task.add_done_callback(lambda task: self._finish(key, shared, task))
        return shared

    def _finish(self, key: Hashable, shared: SharedTask[_T], task: asyncio.Task[_T]) -> None:
        self._forget(key, shared)
        if not task.cancelled():
            task.exception()  # asked for; else it would be logged where all callers have left

    async def _end(self, key: Hashable, shared: SharedTask[_T]) -> None:
        """Ends a task for which nobody waits any more; later callers begin another one."""
        self._forget(key, shared)
        try:
            if not shared.task.done():
                shared.task.cancel()
                await asyncio.wait({shared.task})
        finally:
            await shared.held.aclose()

    def _forget(self, key: Hashable, shared: SharedTask[_T]) -> None:
        if self._under_way.get(key) is shared:
            del self._under_way[key]
