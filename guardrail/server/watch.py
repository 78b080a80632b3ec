"""Waits for a decision while watching whether the client is still connected."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.types import Receive

__all__ = ["wait_for_client"]


async def wait_for_client(
    task: asyncio.Task[Any], receive: Receive, *, timeout_s: float | None = None
) -> bool:
    """Whether `task` is done within `timeout_s`.

    The request's body must have been read: the next message of `receive` is then the disconnect.

    Raises:
        ClientDisconnect: the client went away first; the task was cancelled and has ended. The
            same happens to the task if this coroutine is cancelled.
    """
    watch = asyncio.create_task(_stop_at_disconnect(task, receive))
    try:
        await asyncio.wait((task,), timeout=timeout_s)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait((task,))
        raise
    finally:
        watch.cancel()
    if watch.done() and task.cancelled():
        raise ClientDisconnect
    return task.done()


async def _stop_at_disconnect(task: asyncio.Task[Any], receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()
