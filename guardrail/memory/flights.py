"""Equal work that is asked for while it is under way is done once.

The work belongs to all that wait for it and to none of them: it goes on when the one that began it
leaves, and is cancelled when the last one does.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from guardrail.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Hashable

__all__ = ["Flight", "Flights"]

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class Flight(Generic[_T]):
    """One piece of work and those who wait for it.

    Attributes:
        task: does it.
        held: closed once nobody waits any more and the work has ended.
        waiting: how many are waiting.
    """

    task: asyncio.Task[_T]
    held: AsyncExitStack
    waiting: int = field(default=0)

    async def result(self) -> _T:
        """What the work brought, or raises what it raised.

        Raises:
            UpstreamError: it was ended from outside.
        """
        await asyncio.wait({self.task})
        if self.task.cancelled():
            raise UpstreamError("the guard is shutting down; retry later", status=503)
        return self.task.result()


class Flights(Generic[_T]):
    """The work under way, by key; used from one event loop."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, Flight[_T]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    @asynccontextmanager
    async def joined(
        self, key: Hashable, begin: Callable[[AsyncExitStack], Coroutine[Any, Any, _T]]
    ) -> AsyncIterator[Flight[_T]]:
        """The work with this key as long as one waits for it.

        `begin` is called at once, and only where there is none under way; what the work needs for
        as long as it lasts goes into the stack that it is given.

        Whoever leaves last before the end cancels the work and waits until it has ended.
        """
        flight = self._under_way.get(key) or self._started(key, begin)
        flight.waiting += 1
        try:
            yield flight
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                await self._end(key, flight)

    async def aclose(self) -> None:
        """Cancels all work, and waits until it has ended."""
        tasks = [flight.task for flight in self._under_way.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _started(
        self, key: Hashable, begin: Callable[[AsyncExitStack], Coroutine[Any, Any, _T]]
    ) -> Flight[_T]:
        held = AsyncExitStack()
        flight = Flight(asyncio.create_task(begin(held)), held)
        self._under_way[key] = flight
        flight.task.add_done_callback(lambda task: self._landed(key, flight, task))
        return flight

    def _landed(self, key: Hashable, flight: Flight[_T], task: asyncio.Task[_T]) -> None:
        self._forget(key, flight)
        if not task.cancelled():
            task.exception()  # asked for, else it would be logged where all have left

    async def _end(self, key: Hashable, flight: Flight[_T]) -> None:
        """Nobody waits any more. Who comes from now on begins anew."""
        self._forget(key, flight)
        try:
            if not flight.task.done():
                flight.task.cancel()
                await asyncio.wait({flight.task})
        finally:
            await flight.held.aclose()

    def _forget(self, key: Hashable, flight: Flight[_T]) -> None:
        if self._under_way.get(key) is flight:
            del self._under_way[key]
