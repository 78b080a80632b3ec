"""A bounded number of places that callers take in turn, so that none of them can hold all."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FairPlaces"]

_PRESENT_S = 60.0
_SHARE_FOR_OTHERS = 4
_MOST_SEEN = 1024


class FairPlaces:
    """Places for requests, shared between callers. Used from one event loop.

    Callers take turns: of those that wait, the one that was served longest ago is next, and each
    caller's own requests go in order of arrival. While a second caller is about (it waits, holds a
    place, or asked within the last minute), no caller may hold the last quarter of the places, so
    that a request of the other one need not wait for a whole decision. Where the line is full, a
    caller with fewer requests in it takes the last place of the caller with the most.

    For example 64 places and one caller with 200 requests: 64 are decided and 136 wait. A second
    caller's request waits for the first place that gets free; from then on the first caller holds
    48 places at most, as long as the second one is about.

    Why not `FifoSemaphore`, which is for any thread: it knows only the order of arrival. Why not
    `upstreams.limits.FairQueue`: its groups have neither a share nor a limit of what waits.

    Args:
        capacity: places.
        max_waiting: most that wait.
        full: makes the error of a request for which there is no room.
        clock: seconds that never run backwards; for tests.
    """

    def __init__(
        self,
        capacity: int,
        *,
        max_waiting: int,
        full: Callable[[], Exception],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._max_waiting = max_waiting
        self._full = full
        self._clock = clock
        self._held: Counter[str] = Counter()
        self._free = capacity
        # By caller, the one that was served longest ago first; within it by arrival.
        self._lines: OrderedDict[str, OrderedDict[asyncio.Future[None], None]] = OrderedDict()
        self._waiting = 0
        self._seen: OrderedDict[str, float] = OrderedDict()  # the longest ago first

    @property
    def free(self) -> int:
        return self._free

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._waiting

    async def acquire(self, caller: str) -> None:
        """Takes a place, or waits for one. Raises what `full` makes."""
        self._see(caller)
        if caller not in self._lines and self._may_enter(caller):
            self._take(caller)
            return
        self._make_room(caller)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, OrderedDict())[turn] = None
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(caller)  # its turn came in the same moment
            else:
                self._withdraw(caller, turn)
                self._serve()
            raise

    def release(self, caller: str) -> None:
        """Gives a place back; the next in turn gets it."""
        self._held[caller] -= 1
        self._free += 1
        if not self._held[caller]:
            del self._held[caller]
        self._serve()

    def _take(self, caller: str) -> None:
        self._held[caller] += 1
        self._free -= 1

    def _serve(self) -> None:
        while self._lines and self._free:
            caller = next((one for one in self._lines if self._may_enter(one)), None)
            if caller is None:
                return
            turn = next(iter(self._lines[caller]))
            self._withdraw(caller, turn)
            if caller in self._lines:
                self._lines.move_to_end(caller)
            if not turn.done():  # else its request was given up
                self._take(caller)
                turn.set_result(None)

    def _may_enter(self, caller: str) -> bool:
        if not self._free:
            return False
        own_most = self._capacity - self._capacity // _SHARE_FOR_OTHERS
        return self._held[caller] < own_most or not self._is_other_about(caller)

    def _is_other_about(self, caller: str) -> bool:
        oldest = self._clock() - _PRESENT_S
        while self._seen and next(iter(self._seen.values())) < oldest:
            self._seen.popitem(last=False)
        return any(
            one != caller
            for group in (self._seen, self._held, self._lines)
            for one in _first_two(group)
        )

    def _see(self, caller: str) -> None:
        self._seen[caller] = self._clock()
        self._seen.move_to_end(caller)
        if len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)

    def _make_room(self, caller: str) -> None:
        """Lets one more wait. Raises what `full` makes."""
        if self._waiting < self._max_waiting:
            return
        own = len(self._lines.get(caller, ()))
        longest = max(self._lines, key=lambda one: len(self._lines[one]), default=caller)
        if longest == caller or len(self._lines[longest]) <= own + 1:
            raise self._full()
        turn = next(reversed(self._lines[longest]))
        self._withdraw(longest, turn)
        if not turn.done():
            turn.set_exception(self._full())

    def _withdraw(self, caller: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(caller)
        if line is None or turn not in line:
            return
        del line[turn]
        self._waiting -= 1
        if not line:
            del self._lines[caller]


def _first_two(group: Mapping[str, object]) -> list[str]:
    """Two callers are enough to see another one than the one that asks."""
    return [one for _, one in zip(range(2), group, strict=False)]
