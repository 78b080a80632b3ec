"""What is costly to count is counted once for all readers, and again when it is old."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

__all__ = ["KeptResults"]

_T = TypeVar("_T")
_LEAST_S = 5.0
_FACTOR = 20.0
_MOST = 32


@dataclass(frozen=True, slots=True)
class _Kept(Generic[_T]):
    value: _T
    until: float


class KeptResults(Generic[_T]):
    """Results by name; used from one event loop.

    A result is kept for five seconds, or for twenty times as long as it took: however long a query
    is, all readers together keep the database busy for at most a twentieth of the time.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept[_T]] = {}
        self._counting = asyncio.Lock()

    async def get(self, name: Hashable, count: Callable[[], Awaitable[_T]]) -> _T:
        """The result of this name, counted anew where it is old."""
        async with self._counting:
            kept, began = self._kept.get(name), time.monotonic()
            if kept is not None and began < kept.until:
                return kept.value
            value = await count()
            ended = time.monotonic()
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[name] = _Kept(value, ended + max(_LEAST_S, _FACTOR * (ended - began)))
            return value
