"""How much each key may still ask: requests, calls, places and dollars."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from guardrail.keys.limit_errors import (
    DAY_S,
    ROUNDING_USD,
    RequestRate,
    calls_error,
    check_most_calls,
    places_error,
    requests_error,
    usd_error,
)
from guardrail.keys.minute_window import MinuteWindow
from guardrail.memory.allowance import Reservation

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.keys.api_key import KeyLimits

__all__ = ["KeyAllowance", "Limits", "LocalLimits"]

_DECISIONS_A_DAY = 20
_MOST_KNOWN = 200_000


class Limits(Protocol):
    """Counts what keys use, in this process or for several servers together.

    An implementation that must ask another machine keeps what was taken in case of doubt: an
    answer that is lost, a `settle` that is cancelled.
    """

    async def enter(self, key_id: str, limits: KeyLimits) -> RequestRate | None:
        """Counts a request, and takes one of the key's places until `leave`.

        The rate is None where the key's requests a minute are not limited.

        Raises:
            RequestError: 429, and nothing was taken.
        """

    def leave(self, key_id: str) -> None:
        """Gives the place back; at once, or in the background."""

    async def reserve(
        self, key_id: str, limits: KeyLimits, calls: int | None, usd: float | None
    ) -> Reservation:
        """Sets calls and dollars aside for one decision; None for what is not limited.

        Raises:
            RequestError: 429, less than that is left, and nothing was set aside.
        """

    async def settle(self, reservation: Reservation, calls: int, usd: float | None) -> None:
        """Counts what was used; as much as was set aside, where the cost is not known (None)."""


@dataclass(slots=True)
class _Used:
    """What one key has used.

    Attributes:
        places: requests that have entered and not left.
        requests, calls: of the last minute; calls count from the end of their decision.
        reserved_calls: of decisions under way. They count in full, so that no calls of theirs can
            fall into a minute that does not know of them.
        day: number of the UTC day that `usd` is about.
        usd: used on that day, decisions that ended on it included.
        reserved_usd: of decisions under way, on whichever day they began.
    """

    places: int = 0
    requests: MinuteWindow = field(default_factory=MinuteWindow)
    calls: MinuteWindow = field(default_factory=MinuteWindow)
    reserved_calls: int = 0
    day: int = 0
    usd: float = 0.0
    reserved_usd: float = 0.0

    def is_idle(self, now: float, day: int) -> bool:
        under_way = self.places or self.reserved_calls or self.reserved_usd
        counted = self.requests.count(now) or self.calls.count(now)
        return not under_way and not counted and (self.day < day or not self.usd)


class LocalLimits:
    """Limits in this process, for callers in any thread; what was used is lost when it ends.

    Args:
        clock: seconds that never run backwards; for tests.
        wall_clock: seconds of Unix time, for the days; for tests.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Used] = OrderedDict()

    async def enter(self, key_id: str, limits: KeyLimits) -> RequestRate | None:
        with self._lock:
            used, now = self._usage_of(key_id), self._clock()
            _check_places(used, limits)
            most = limits.requests_per_minute
            if most is not None:
                _check_requests(used, most, now)
                used.requests.add(1, now)
            used.places += 1
            return None if most is None else _rate(used, most, now)

    def leave(self, key_id: str) -> None:
        with self._lock:
            self._usage_of(key_id).places -= 1

    async def reserve(
        self, key_id: str, limits: KeyLimits, calls: int | None, usd: float | None
    ) -> Reservation:
        with self._lock:
            used = self._usage_of(key_id)
            if calls is not None and limits.calls_per_minute is not None:
                _check_calls(used, limits.calls_per_minute, calls, self._clock())
            if usd is not None and limits.usd_per_day is not None:
                wall = self._wall_clock()
                self._begin_day(used, wall)
                _check_usd(used, limits.usd_per_day, usd, wall)
            used.reserved_calls += calls or 0
            used.reserved_usd += usd or 0.0
            return Reservation(key_id, calls, usd)

    async def settle(self, reservation: Reservation, calls: int, usd: float | None) -> None:
        with self._lock:
            used = self._usage_of(reservation.owner)
            if reservation.calls is not None:
                used.reserved_calls -= reservation.calls
                used.calls.add(calls, self._clock())
            if reservation.usd is not None:
                self._begin_day(used, self._wall_clock())
                left = used.reserved_usd - reservation.usd
                used.reserved_usd = left if left > ROUNDING_USD else 0.0
                used.usd += reservation.usd if usd is None else usd

    def _begin_day(self, used: _Used, wall: float) -> None:
        day = math.floor(wall / DAY_S)
        if day > used.day:
            used.day, used.usd = day, 0.0

    def _usage_of(self, key_id: str) -> _Used:
        """What a key has used; keys of which nothing counts any more are forgotten in time."""
        used = self._known.get(key_id)
        if used is None:
            if len(self._known) >= _MOST_KNOWN:
                self._forget_idle()
            used = self._known[key_id] = _Used()
        return used

    def _forget_idle(self) -> None:
        now, day = self._clock(), math.floor(self._wall_clock() / DAY_S)
        for key_id in [one for one, used in self._known.items() if used.is_idle(now, day)]:
            del self._known[key_id]


@dataclass(frozen=True, slots=True)
class KeyAllowance:
    """What one key may still spend, as decisions ask for it; see `Allowance`."""

    limits: Limits
    key_id: str
    key_limits: KeyLimits
    caller: str

    @property
    def limits_calls(self) -> bool:
        return self.key_limits.calls_per_minute is not None

    async def reserve(self, calls: int | None, max_cost_usd: float | None) -> Reservation:
        usd = self._most_usd(max_cost_usd)
        if calls is None and usd is None:
            return Reservation(self.key_id)
        return await self.limits.reserve(self.key_id, self.key_limits, calls, usd)

    async def settle(self, reservation: Reservation, calls: int, usd: float | None) -> None:
        if reservation.calls is not None or reservation.usd is not None:
            await self.limits.settle(reservation, calls, usd)

    def _most_usd(self, max_cost_usd: float | None) -> float | None:
        """What one decision may cost.

        What calls will cost is not known before they are answered. Where the policy sets no limit
        for a decision, it is a twentieth of the key's day: 0.50 of 10.00 US dollars. A larger
        share would let fewer decisions run side by side, a smaller one would cut more of them off.
        """
        per_day = self.key_limits.usd_per_day
        if per_day is None:
            return None
        return per_day / _DECISIONS_A_DAY if max_cost_usd is None else max_cost_usd


def _check_places(used: _Used, limits: KeyLimits) -> None:
    if limits.max_concurrency is not None and used.places >= limits.max_concurrency:
        raise places_error(limits.max_concurrency)


def _check_requests(used: _Used, most: int, now: float) -> None:
    made = used.requests.count(now)
    if made >= most:
        wait_s = used.requests.wait_s(made - most + 1, now)
        raise requests_error(_rate(used, most, now), wait_s)


def _rate(used: _Used, most: int, now: float) -> RequestRate:
    made = used.requests.count(now)
    return RequestRate(most, max(0, most - made), used.requests.wait_s(made, now))


def _check_calls(used: _Used, most: int, calls: int, now: float) -> None:
    check_most_calls(most, calls)
    counted = used.calls.count(now)
    excess = counted + used.reserved_calls + calls - most
    if excess > 0:
        wait_s = used.calls.wait_s(excess, now) if excess <= counted else 1.0
        raise calls_error(most, calls, wait_s)


def _check_usd(used: _Used, most: float, usd: float, wall: float) -> None:
    if used.usd + used.reserved_usd + usd > most + ROUNDING_USD:
        # What is under way may give enough back.
        passes = used.usd + usd <= most + ROUNDING_USD
        raise usd_error(most, usd, None if passes else DAY_S - wall % DAY_S)
