"""Parts that several policies use together, and that live as long as one of them does."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

__all__ = ["Part", "SharedParts"]

_T = TypeVar("_T")
_Close: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Kept:
    value: Any
    close: _Close | None
    users: int = 0


@dataclass(slots=True)
class Part(Generic[_T]):
    """A use of a part; give it back once."""

    value: _T
    _parts: SharedParts = field(repr=False)
    _key: Hashable = field(repr=False)
    _is_held: bool = field(default=True, repr=False)

    async def aclose(self) -> None:
        """Gives the part back, which is closed with its last use."""
        if self._is_held:
            self._is_held = False
            await self._parts.give_back(self._key)


class SharedParts:
    """Makes a part when it is first taken, and closes it when nobody uses it; safe for threads."""

    def __init__(self) -> None:
        self._making = threading.Lock()  # may take seconds: giving back does not wait for it
        self._lock = threading.Lock()
        self._kept: dict[Hashable, _Kept] = {}

    def take(
        self, key: Hashable, make: Callable[[], _T], close: Callable[[_T], _Close] | None = None
    ) -> Part[_T]:
        """The part of this key.

        Args:
            key: what it is made of: equal keys must stand for equal parts.
            make: makes it; may raise.
            close: what closes it.
        """
        with self._making:
            kept = self._use(key)
            if kept is None:
                value = make()
                kept = _Kept(value, None if close is None else close(value), users=1)
                with self._lock:
                    self._kept[key] = kept
            return Part(kept.value, self, key)

    def _use(self, key: Hashable) -> _Kept | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                kept.users += 1
            return kept

    async def give_back(self, key: Hashable) -> None:
        """Ends one use."""
        with self._lock:
            kept = self._kept[key]
            kept.users -= 1
            if kept.users:
                return
            del self._kept[key]
        if kept.close is not None:
            await kept.close()
