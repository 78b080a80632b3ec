"""How often an address may try to sign in.

No key can be guessed: a secret has 256 random bits. This bounds the work that strangers order.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from guardrail.errors import RequestError
from guardrail.keys.minute_window import MinuteWindow

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SignInRate"]

_MOST_FAILURES = 10
_MOST_ADDRESSES = 10_000


class SignInRate:
    """Counts failed tries of the last minute by address; of each process by itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, MinuteWindow] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises RequestError (429) where too many tries of an address have failed."""
        window, now = self._failures.get(address), self._clock()
        if window is None or window.count(now) < _MOST_FAILURES:
            return
        wait_s = max(1, round(window.wait_s(1, now)))
        raise RequestError(
            f"too many keys were wrong; try again in {wait_s} seconds",
            status=429,
            code="too_many_sign_ins",
            headers={"retry-after": str(wait_s)},
        )

    def count_failure(self, address: str) -> None:
        """Counts a try that failed."""
        self._failures.setdefault(address, MinuteWindow()).add(1, self._clock())
        self._failures.move_to_end(address)
        while len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)
