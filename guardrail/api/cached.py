"""A value that is asked for often and may be a few seconds old."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Cached"]

_T = TypeVar("_T")


class Cached(Generic[_T]):
    """Asks `source` at most once in `ttl_s`, and only once at a time; faults are not kept."""

    def __init__(self, source: Callable[[], Awaitable[_T]], ttl_s: float) -> None:
        self._source = source
        self._ttl_s = ttl_s
        self._lock = asyncio.Lock()
        self._kept: tuple[float, _T] | None = None

    async def get(self) -> _T:
        """The value. Raises whatever `source` raises."""
        async with self._lock:
            if self._kept is None or time.monotonic() >= self._kept[0]:
                value = await self._source()
                self._kept = (time.monotonic() + self._ttl_s, value)
            return self._kept[1]
