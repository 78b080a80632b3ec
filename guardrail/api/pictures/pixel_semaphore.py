"""How many decoded pixels the requests under way may hold together."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["PixelSemaphore"]


class PixelSemaphore:
    """Room for `most` pixels; who finds too little waits, first come first served.

    A request takes the room of all its pictures at once, so no two can wait for each other.
    """

    def __init__(self, most: int) -> None:
        self._most = self._free = most
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        return self._free

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Room for so many pixels, at most all there is."""
        pixels = min(pixels, self._most)
        await self._enter(pixels)
        try:
            yield
        finally:
            self._leave(pixels)

    async def _enter(self, pixels: int) -> None:
        if not self._queue and pixels <= self._free:
            self._free -= pixels
            return
        turn = (pixels, asyncio.get_running_loop().create_future())
        self._queue.append(turn)
        try:
            await turn[1]
        except asyncio.CancelledError:
            if turn[1].cancelled():
                self._queue.remove(turn)
                self._leave(0)  # those behind may fit now
            else:  # the room was given in the same moment
                self._leave(pixels)
            raise

    def _leave(self, pixels: int) -> None:
        self._free += pixels
        while self._queue and self._queue[0][0] <= self._free:
            wanted, turn = self._queue[0]
            if turn.cancelled():  # it takes itself out and then calls here
                return
            self._queue.popleft()
            self._free -= wanted
            turn.set_result(None)
