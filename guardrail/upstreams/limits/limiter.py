"""Limits of the calls to one upstream: how many at once and a minute, and in which order."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from guardrail.errors import UpstreamError
from guardrail.upstreams.limits.breaker import Breaker, BreakerState
from guardrail.upstreams.limits.fair_queue import FairQueue
from guardrail.upstreams.limits.rate import Bucket, TokenBudget

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OVERLOADED", "UNAVAILABLE", "CallEnd", "CallLimits", "Clock", "Grant", "Limiter"]

OVERLOADED = "upstream_overloaded"
"""The code of a call that found the queue full."""

UNAVAILABLE = "upstream_unavailable"
"""The code of a call that was not sent because the upstream is down."""

_OVERLOADED_RETRY_S = 5.0
_SHORT_PAUSE_S = 5.0  # a decision had better wait that long than go to another model


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How an upstream may be used.

    Attributes:
        max_concurrency: most calls in flight.
        max_queue: most calls that wait; further ones are refused.
        requests_per_minute, tokens_per_minute: None for as many as the upstream takes.
        longest_pause_s: longest that a provider's `Retry-After` is obeyed.
        breaker_faults, breaker_after_s, breaker_open_s: see `Breaker`.
    """

    max_concurrency: int = 64
    max_queue: int = 4096
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    longest_pause_s: float = 60.0
    breaker_faults: int = 10
    breaker_after_s: float = 1.0
    breaker_open_s: float = 10.0


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """The part of an event loop that tells the time and wakes; tests hand in their own."""

    def time(self) -> float: ...
    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer: ...


@dataclass(frozen=True, slots=True)
class Grant:
    """A call that was let through: since when, with how many tokens, and whether it decides."""

    at: float
    tokens: float
    probe: bool


@dataclass(frozen=True, slots=True)
class CallEnd:
    """What became of it.

    Attributes:
        alive: whether the upstream is up; None where the call says nothing about that.
        tokens: what it used; None where that is not known.
        pause_s: how long the provider asks callers to wait.
    """

    alive: bool | None = None
    tokens: int | None = None
    pause_s: float | None = None


class Limiter:
    """Lets calls through in turn; used from one event loop.

    Calls are let through one by one, by the rule of `FairQueue`. A call that finds the queue full,
    or the upstream down, fails at once and for good: repeated by every variant of every decision,
    it would be the load that the limiter is there to keep off.
    """

    def __init__(self, limits: CallLimits, *, clock: Clock | None = None) -> None:
        self._limits = limits
        self._given_clock = clock
        self._breaker = Breaker(
            faults=limits.breaker_faults,
            after_s=limits.breaker_after_s,
            open_s=limits.breaker_open_s,
        )
        self._queue = FairQueue[asyncio.Future[Grant]]()
        self._in_flight = 0
        self._paused_until = -math.inf
        self._requests: Bucket | None = None
        self._tokens: TokenBudget | None = None
        self._timer: Timer | None = None
        self._closed = False
        self._begun = False

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def state(self) -> BreakerState:
        return self._breaker.state(self._clock.time())

    @property
    def available(self) -> bool:
        """Whether a new decision could be served here soon."""
        paused = self._paused_until - self._clock.time() > _SHORT_PAUSE_S
        return not paused and self.state is not BreakerState.OPEN and not self._breaker.probing

    async def enter(self, decision: object, order: int = 0) -> Grant:
        """Waits for a turn; a caller that gets one must `leave`.

        Args:
            decision: what the call belongs to; decisions take turns.
            order: its number in the decision; the lowest goes first.

        Raises:
            UpstreamError: `OVERLOADED`, `UNAVAILABLE`, or the limiter was closed.
        """
        now = self._clock.time()
        self._refuse(now)
        self._open_buckets(now)
        if not self._queue and self._is_free(now):
            return self._start(now)
        turn: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        place = self._queue.push(decision, order, turn)
        self._serve()
        try:
            return await turn
        except asyncio.CancelledError:
            self._queue.discard(place)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(turn.result(), CallEnd(tokens=0))  # the turn came in the same moment
            raise

    def leave(self, start: Grant, end: CallEnd) -> None:
        """Reports how a call ended, and lets the next one through."""
        now = self._clock.time()
        self._in_flight -= 1
        if self._tokens is not None:
            self._tokens.settle(start.tokens, end.tokens, now)
        if end.pause_s is not None:
            pause_s = min(end.pause_s, self._limits.longest_pause_s)
            self._paused_until = max(self._paused_until, now + pause_s)
        self._tell_breaker(start, end, now)
        if self._queue:
            self._serve()

    def close(self) -> None:
        """Ends the wait of all that wait; nothing is let through any more."""
        self._closed = True
        self._stop_timer()
        self._fail_all()

    @property
    def _clock(self) -> Clock:
        return self._given_clock or asyncio.get_running_loop()

    def _refuse(self, now: float) -> None:
        """Raises UpstreamError where waiting is of no use."""
        if self._closed or self._breaker.state(now) is BreakerState.OPEN:
            raise self._fault()
        if len(self._queue) >= self._limits.max_queue:
            raise UpstreamError(
                "too many calls wait for the upstream; retry later, or raise its max_concurrency",
                status=503,
                retry_after_s=_OVERLOADED_RETRY_S,
                code=OVERLOADED,
                undrawn=True,
            )

    def _fault(self) -> UpstreamError:
        if self._closed:
            message = "the upstream was closed; make a new one"
            return UpstreamError(message, status=500, undrawn=True)
        return UpstreamError(
            "the upstream failed many times in a row and gets no calls for some seconds; check "
            "that it runs",
            status=503,
            retry_after_s=self._breaker.wait_s(self._clock.time()),
            code=UNAVAILABLE,
            undrawn=True,
        )

    def _tell_breaker(self, start: Grant, end: CallEnd, now: float) -> None:
        if end.alive is None:
            self._breaker.unknown(probe=start.probe)
        elif end.alive:
            self._breaker.alive(now, probe=start.probe)
        else:
            self._breaker.record_fault(start.at, now, probe=start.probe)
        if self._breaker.state(now) is BreakerState.OPEN:
            self._fail_all()

    def _fail_all(self) -> None:
        while self._queue:
            turn = self._queue.pop()
            if not turn.done():
                turn.set_exception(self._fault())

    def _serve(self) -> None:
        """Lets through the calls that may go, and schedules a wake-up for the rest."""
        self._stop_timer()
        now = self._clock.time()
        while self._queue and self._is_free(now):
            turn = self._queue.pop()
            if not turn.done():
                turn.set_result(self._start(now))
        if self._queue and self._has_room(now):
            self._timer = self._clock.call_later(self._wait_s(now), self._serve)

    def _open_buckets(self, now: float) -> None:
        """Fills them at the first call, since a limiter is made before there is a clock."""
        if self._begun:
            return
        self._begun = True
        requests, tokens = self._limits.requests_per_minute, self._limits.tokens_per_minute
        if requests is not None:
            # A second's worth at most, so that calls go out evenly.
            self._requests = Bucket(requests, burst=max(1.0, requests / 60.0), now=now)
        if tokens is not None:
            self._tokens = TokenBudget(tokens, now=now)

    def _is_free(self, now: float) -> bool:
        """Whether a call may go at once."""
        return self._has_room(now) and self._wait_s(now) == 0.0

    def _has_room(self, now: float) -> bool:
        if self._breaker.state(now) is BreakerState.HALF_OPEN:
            return not self._breaker.probing
        return self._in_flight < self._limits.max_concurrency

    def _wait_s(self, now: float) -> float:
        """Seconds until the limits let the next call through."""
        return max(
            0.0,
            self._paused_until - now,
            self._requests.wait_s(1.0, now) if self._requests else 0.0,
            self._tokens.wait_s(now) if self._tokens else 0.0,
        )

    def _start(self, now: float) -> Grant:
        self._in_flight += 1
        if self._requests is not None:
            self._requests.take(1.0, now)
        tokens = 0.0 if self._tokens is None else self._tokens.reserve(now)
        return Grant(now, tokens, self._breaker.start(now))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
