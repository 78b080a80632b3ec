"""Counts what was taken in the last minute, never too little."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["MinuteWindow"]

_MINUTE_S = 60


class MinuteWindow:
    """A sliding window of 60 seconds that needs room for 61 numbers, whatever is counted.

    Amounts are added up by the second. Counted are those of the present second and of the 60
    before it, which cover any 60 seconds that end now: what was taken at 0.9 s stands in second 0
    and counts until 61.0 s, 0.1 s longer than it must. So if nothing is added that would bring
    `count` above a limit, no 60 seconds hold more than the limit.

    `now` is handed in, in seconds that never run backwards.
    """

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()
        self._count = 0

    def count(self, now: float) -> int:
        """What counts at this time."""
        self._forget(now)
        return self._count

    def add(self, amount: int, now: float) -> None:
        """Takes an amount."""
        self._forget(now)
        second = math.floor(now)
        if self._seconds and self._seconds[-1][0] == second:
            amount_before = self._seconds.pop()[1]
        else:
            amount_before = 0
        self._seconds.append((second, amount_before + amount))
        self._count += amount

    def wait_s(self, amount: int, now: float) -> float:
        """Seconds until so much of what counts now counts no more; all of it, if it is less."""
        self._forget(now)
        if self._seconds and amount >= self._count:  # all of it, which is asked most often
            return self._seconds[-1][0] + _MINUTE_S + 1 - now
        left = amount
        wait_s = 0.0
        for second, taken in self._seconds:
            if left <= 0:
                break
            left -= taken
            wait_s = second + _MINUTE_S + 1 - now
        return wait_s

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] + _MINUTE_S < math.floor(now):
            self._count -= self._seconds.popleft()[1]
