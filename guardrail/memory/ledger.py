"""The numbers that a principal's tries hold, for as long as a sliding window.

`spent_alpha` turns a number into the failure probability of a try and proves what a ledger must
keep: two tries never hold the same number at a time, and a number whose try has not passed stays
held until a whole window after that try has ended.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from guardrail.errors import CertificationError, ConfigError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ATTEMPTS_SPENT",
    "LEDGER_FULL",
    "Hold",
    "Ledger",
    "LocalLedger",
    "attempts_spent_error",
    "principal_bytes",
]

ATTEMPTS_SPENT = "attempts_spent"
"""The code of an answer 429: so many tries did not pass that no test at the next alpha exists."""

LEDGER_FULL = "ledger_full"
"""The code of an answer 503: there is no room to keep count of one more try."""

_LONGEST_PRINCIPAL_CHARS = 1024


@dataclass(frozen=True, slots=True)
class Hold:
    """One try's number.

    Attributes:
        principal: a keyed digest of whose try it is.
        number: k, the smallest number that no other try of the principal held when it was taken.
        token: tells the try from others that hold the number before or after it, where the ledger
            needs that.
    """

    principal: bytes
    number: int
    token: str = field(default="", repr=False)


@runtime_checkable
class Ledger(Protocol):
    """Which numbers are held.

    A hold is taken before a try's first draw, and then either given back or kept, once. One that
    is neither stays held. An implementation that has to wait for another machine must hold the
    number in case of doubt: a `take` whose answer is lost, a `give_back` that is cancelled.
    """

    @property
    def window_s(self) -> float:
        """How long a number stays held after a try that did not pass has ended."""

    async def next_number(self, principal: str) -> int:
        """The number that a try would take now. Raises what `take` raises."""

    async def take(self, principal: str) -> Hold:
        """The smallest number that none of the principal's tries holds.

        Raises:
            RequestError: 429, the principal holds as many numbers as it may; 503, there is no room.
        """

    async def give_back(self, hold: Hold) -> None:
        """The try passed, or ended before it drew anything: its number is free at once.

        Raises:
            CertificationError: the hold is not under way.
        """

    async def keep(self, hold: Hold) -> None:
        """The try ended in any other way: its number is free a window from now.

        Raises:
            CertificationError: the hold is not under way.
        """

    async def wait_s(self, principal: str) -> float | None:
        """Until the principal's oldest kept hold leaves; None where none is kept."""


class LocalLedger:
    """A ledger in this process, for callers in any thread; it is lost when the process ends.

    Its memory is bounded. Where a bound is reached it takes no further try; a hold is never
    forgotten before its time, since that would be a number given back without a pass.

    Args:
        window_s: how long a number stays held after a try that did not pass has ended.
        max_principals: most principals that hold numbers at a time.
        max_holds: most numbers held at a time, over all principals.
        max_number: the largest number of a principal, and so the most that it holds at a time.
        clock: seconds that never run backwards; for tests.

    Raises:
        ConfigError: a bound is not positive.
    """

    def __init__(
        self,
        window_s: float = 86_400.0,
        *,
        max_principals: int = 100_000,
        max_holds: int = 1_000_000,
        max_number: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        bounds = {"max_principals": max_principals, "max_holds": max_holds}
        for name, bound in {"window_s": window_s, **bounds, "max_number": max_number}.items():
            if not bound > 0:
                raise ConfigError(f"must be above 0, not {bound!r}", field=name)
        self.window_s = window_s
        self._max_principals = max_principals
        self._max_holds = max_holds
        self._max_number = max_number
        self._clock = clock
        self._lock = threading.Lock()
        self._secret = secrets.token_bytes(32)
        self._held: dict[bytes, _Numbers] = {}
        # All kept holds, the first to leave first: the window is the same for all of them.
        self._kept: deque[tuple[float, Hold]] = deque()
        self._holds = 0

    async def next_number(self, principal: str) -> int:
        with self._lock:
            return self._next(self._digest(principal))

    async def take(self, principal: str) -> Hold:
        with self._lock:
            digest = self._digest(principal)
            hold = Hold(digest, self._next(digest))
            self._held.setdefault(digest, _Numbers()).take(hold.number)
            self._holds += 1
            return hold

    async def give_back(self, hold: Hold) -> None:
        with self._lock:
            self._numbers_of(hold).free(hold.number)
            self._forget(hold)

    async def keep(self, hold: Hold) -> None:
        with self._lock:
            self._numbers_of(hold).kept_until[hold.number] = leaves_at = (
                self._clock() + self.window_s
            )
            self._kept.append((leaves_at, hold))

    async def wait_s(self, principal: str) -> float | None:
        with self._lock:
            self._free_expired()
            numbers = self._held.get(self._digest(principal))
            if numbers is None or not numbers.kept_until:
                return None
            return next(iter(numbers.kept_until.values())) - self._clock()

    def _digest(self, principal: str) -> bytes:
        """Keyed, so that names cannot be guessed from a dump of this process's memory."""
        data = principal_bytes(principal)
        return hashlib.blake2b(data, key=self._secret, digest_size=32).digest()

    def _next(self, digest: bytes) -> int:
        """The smallest number that is free. Raises RequestError where no try may be taken."""
        self._free_expired()
        numbers = self._held.get(digest)
        full = numbers is None and len(self._held) >= self._max_principals
        if full or self._holds >= self._max_holds:
            raise self._full_error()
        smallest = 1 if numbers is None else numbers.smallest_free
        if numbers is not None and smallest > self._max_number:
            oldest = next(iter(numbers.kept_until.values()), None)
            raise attempts_spent_error(None if oldest is None else oldest - self._clock())
        return smallest

    def _full_error(self) -> RequestError:
        return RequestError(
            "no further attempts can be counted for now; retry later, or give the ledger more room",
            status=503,
            code=LEDGER_FULL,
            retry_after_s=self._kept[0][0] - self._clock() if self._kept else None,
        )

    def _numbers_of(self, hold: Hold) -> _Numbers:
        numbers = self._held.get(hold.principal)
        if numbers is None or not numbers.is_under_way(hold.number):
            raise CertificationError("a hold ended twice, or was never taken; report this")
        return numbers

    def _free_expired(self) -> None:
        """Frees the numbers that have been kept for a whole window."""
        now = self._clock()
        while self._kept and self._kept[0][0] <= now:
            _, hold = self._kept.popleft()
            self._held[hold.principal].free(hold.number)
            self._forget(hold)

    def _forget(self, hold: Hold) -> None:
        self._holds -= 1
        if not self._held[hold.principal].bits:
            del self._held[hold.principal]


@dataclass(slots=True)
class _Numbers:
    """What one principal holds.

    Bit k - 1 of `bits` is set while k is held: {1, 2, 4} is 0b1011, and the smallest free number is
    one more than the count of ones at its end, 3. `kept_until` says until when, for those whose
    try has ended, the first to leave first.
    """

    bits: int = 0
    kept_until: dict[int, float] = field(default_factory=dict)

    @property
    def smallest_free(self) -> int:
        return (~self.bits & (self.bits + 1)).bit_length()

    def take(self, number: int) -> None:
        self.bits |= 1 << (number - 1)

    def is_under_way(self, number: int) -> bool:
        return bool(self.bits >> (number - 1) & 1) and number not in self.kept_until

    def free(self, number: int) -> None:
        self.bits &= ~(1 << (number - 1))
        self.kept_until.pop(number, None)


def principal_bytes(principal: str) -> bytes:
    """A principal's name for a keyed digest. Raises ConfigError where it is empty or too long."""
    if not 0 < len(principal) <= _LONGEST_PRINCIPAL_CHARS:
        raise ConfigError(
            f"must have 1 to {_LONGEST_PRINCIPAL_CHARS} characters", field="principal"
        )
    return principal.encode("utf-8", "surrogatepass")


def attempts_spent_error(wait_s: float | None) -> RequestError:
    """The error for a principal that may try again in `wait_s` seconds; None: not known."""
    when = "later" if wait_s is None else f"in {max(1, math.ceil(wait_s))} s"
    return RequestError(
        "too many attempts of this principal ended without a pass for one more to be decided; "
        f"retry {when}",
        status=429,
        code=ATTEMPTS_SPENT,
        retry_after_s=wait_s,
    )
