"""Work on a stream of things, a bounded number of them at a time."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator

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
    results that nobody has taken yet, are held at a time. Where one raises, or the stream does, or
    the caller leaves, the others are cancelled and waited for. What ended well until then comes
    before the error, so that no finished work is lost by another's fault.

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
            if taking is not None and taking.done() and _is_at_end(taking):
                is_over, taking = True, None
            faulty = next((one for one in (taking, *running) if one and _has_failed(one)), None)
            if faulty is not None:
                await _end(running)
            elif taking is not None and taking.done():
                running.add(asyncio.create_task(_run(work, taking.result())))
                taking = None
            done = {task for task in running if task.done()}
            running -= done
            if good := [task.result() for task in done if not _has_failed(task)]:
                yield good
            if faulty is not None:
                faulty.result()
    finally:
        await _end([*running, *([taking] if taking is not None else [])])


def _is_at_end(taking: asyncio.Task[Any]) -> bool:
    return not taking.cancelled() and isinstance(taking.exception(), StopAsyncIteration)


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _run(work: Callable[[_T], Awaitable[_R]], item: _T) -> _R:
    return await work(item)
