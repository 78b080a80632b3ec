"""Where remembered verdicts are kept; `VerdictStore` is the whole interface of theirs."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.memory.rules import MemoryRules

__all__ = ["BoundedStore", "LocalVerdictStore", "VerdictStore"]

_ENTRY_BYTES = 256
"""What an entry takes beside its value: key, time and bookkeeping, rounded up."""


class VerdictStore(Protocol):
    """Values by keys, each for a limited time; used from one event loop.

    A store may forget anything at any time: what is forgotten is decided anew.
    """

    async def get(self, key: bytes) -> bytes | None:
        """The value, None where there is none any more."""

    async def put(self, key: bytes, value: bytes) -> None:
        """Keeps a value in place of any other one."""


class BoundedStore:
    """Keeps values in this process, within bounds; the least recently used go first.

    Used from any thread.

    Args:
        rules: for how long, how many and how much; a value larger than all that may be kept is
            not kept.
        clock: tells seconds that only grow.
    """

    def __init__(self, rules: MemoryRules, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """What all entries take together, expired ones that nobody asked for included."""
        return self._size_bytes

    def look_up(self, key: bytes) -> bytes | None:
        """The value, None where there is none any more."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            expires, value = entry
            if self._clock() >= expires:
                self._forget(key)
                return None
            self._entries.move_to_end(key)
            return value

    def keep(self, key: bytes, value: bytes) -> None:
        """Keeps a value in place of any other one."""
        with self._lock:
            self._forget(key)
            rules = self._rules
            if _size(value) > rules.max_bytes:
                return
            self._entries[key] = (self._clock() + rules.ttl_s, value)
            self._size_bytes += _size(value)
            while len(self._entries) > rules.max_entries or self._size_bytes > rules.max_bytes:
                self._forget(next(iter(self._entries)))

    def _forget(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size_bytes -= _size(entry[1])


class LocalVerdictStore(BoundedStore):
    """Verdicts in this process."""

    async def get(self, key: bytes) -> bytes | None:
        return self.look_up(key)

    async def put(self, key: bytes, value: bytes) -> None:
        self.keep(key, value)


def _size(value: bytes) -> int:
    return len(value) + _ENTRY_BYTES
