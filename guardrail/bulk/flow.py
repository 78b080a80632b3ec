"""Work on a stream of things, a bounded number of them at a time."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

__all__ = ["read_in_thread", "work_through"]

_T = TypeVar("_T")
_R = TypeVar("_R")


async def read_in_thread(items: Iterator[_T], at_a_time: int = 16) -> AsyncIterator[_T]:
    """The items of an iterator that reads files, which is called in a thread."""
    while batch := await asyncio.to_thread(lambda: list(islice(items, at_a_time))):
        for item in batch:
            yield item


async def work_through(
    items: AsyncIterator[_T], work: Callable[[_T], Awaitable[_R]], *, most: int
) -> AsyncIterator[list[_R]]:
    """What `work` makes of each item, as it is done, not in their order.

    No item is taken before there is room for it, so that no more than `most` of them, and of
    results that nobody has taken yet, are held at a time. Where one raises, or the caller leaves,
    the others are cancelled and waited for.

    Args:
        items: the stream.
        work: called for each of them.
        most: how many are worked on at a time, at least 1.

    Yields:
        One result or several that were done at the same time.
    """
    running: set[asyncio.Task[_R]] = set()
    taking: asyncio.Task[_T] | None = None
    is_over = False
    try:
        while running or not is_over:
            if taking is None and not is_over and len(running) < most:
                taking = asyncio.ensure_future(anext(items))
            waiting = running | ({taking} if taking is not None else set())
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if taking is not None and taking.done():
                try:
                    running.add(asyncio.create_task(_run(work, taking.result())))
                except StopAsyncIteration:
                    is_over = True
                taking = None
            if done := {task for task in running if task.done()}:
                running -= done
                yield [task.result() for task in done]
    finally:
        left = [*running, *([taking] if taking is not None else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _run(work: Callable[[_T], Awaitable[_R]], item: _T) -> _R:
    return await work(item)
