"""Limits of the calls to one upstream: how many at once and a minute, and in which order.

Places and rates are the upstream's. Pauses and health belong to one model of it: a model that is
down, or whose quota is used up, keeps nobody from another one.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar, assert_never

from guardrail.errors import UpstreamError
from guardrail.upstreams.limits.breaker import BreakerState
from guardrail.upstreams.limits.fair_queue import FairQueue
from guardrail.upstreams.limits.health import ModelHealth
from guardrail.upstreams.limits.rate import Bucket, TokenBudget

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "NOT_SENT",
    "OVERLOADED",
    "RATE_LIMITED",
    "UNAVAILABLE",
    "CallEnd",
    "CallLimits",
    "Clock",
    "Grant",
    "Limiter",
    "Stop",
    "StopKind",
]

OVERLOADED = "upstream_overloaded"
"""The code of a call that found the queue full."""

UNAVAILABLE = "upstream_unavailable"
"""The code of a call that was not sent because the upstream is down, or asked for a pause."""

RATE_LIMITED = "upstream_rate_limited"
"""The code of a call that was not sent because the provider said 429 and when to come back."""

NOT_SENT = frozenset({OVERLOADED, UNAVAILABLE, RATE_LIMITED})
"""The codes of calls that were not sent, by which an upstream lets a decision down."""

_OVERLOADED_RETRY_S = 5.0
_SHORT_PAUSE_S = 5.0  # a decision had better wait that long than go to another model
_MOST_LANES = 1024  # of models; only those are kept of which anything is known
_MOST_PROVEN = 1024  # of models that took a call; one that is forgotten costs a short wait
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How an upstream may be used.

    Attributes:
        max_concurrency: most calls in flight.
        max_queue: most calls that wait; further ones are refused.
        requests_per_minute, tokens_per_minute: None for as many as the upstream takes.
        longest_pause_s: longest that a provider's `Retry-After` is obeyed.
        breaker_faults, breaker_after_s, breaker_open_s: see `Breaker` and `ModelHealth`.
        first_alone_s: how long all other calls to a model wait for the first one, which may show
            that the key, the address or the model's name is refused; 0 for not at all.
    """

    max_concurrency: int = 64
    max_queue: int = 4096
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    longest_pause_s: float = 60.0
    breaker_faults: int = 10
    breaker_after_s: float = 1.0
    breaker_open_s: float = 10.0
    first_alone_s: float = 0.0


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """The part of an event loop that tells the time and wakes; tests hand in their own."""

    def time(self) -> float: ...
    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer: ...


@dataclass(frozen=True, slots=True)
class Grant:
    """A call that was let through.

    Attributes:
        at: since when.
        tokens: reserved for it.
        probe: whether it decides for a breaker.
        model: which one it asks.
        decision: a fault of it counts once, however many of its calls fail.
        caller: for whom it was made.
    """

    at: float
    tokens: float
    probe: bool
    model: str = ""
    decision: object = None
    caller: str = ""


@dataclass(frozen=True, slots=True)
class CallEnd:
    """What became of it.

    Attributes:
        alive: whether the model is up; None where the call says nothing about that.
        tokens: what it used; None where that is not known.
        pause_s: how long the provider asks callers to wait.
        is_rate_limit: whether that pause is for too many requests.
        refusal: of the guard's access or of the model's name, which holds for every call to this
            model; None where the call met none.
    """

    alive: bool | None = None
    tokens: int | None = None
    pause_s: float | None = None
    is_rate_limit: bool = False
    refusal: UpstreamError | None = None


class StopKind(StrEnum):
    """Why a model gets no calls."""

    PAUSE = "pause"
    """Its provider asked for a pause."""
    RATE_LIMIT = "rate_limit"
    """The same, for too many requests."""
    DOWN = "down"
    """Its breaker is open for all callers."""
    DOWN_FOR_CALLER = "down_for_caller"
    """It is open for one of them."""


@dataclass(frozen=True, slots=True)
class Stop:
    """What one process has met of a model, and others should heed.

    Attributes:
        model: its name.
        kind: why it gets no calls.
        wait_s: for how long from now.
        caller: whom it concerns, where it concerns one.
        age_s: how long ago it was met, where another process has met it.
    """

    model: str
    kind: StopKind
    wait_s: float
    caller: str = ""
    age_s: float = 0.0


@dataclass(slots=True, eq=False)
class _Lane:
    """What is known of one model.

    Attributes:
        model: its name.
        health: what faults say of it.
        paused_until: when its provider takes calls again.
        is_rate_limited: whether the pause is for too many requests.
        alone_until: until when its other calls wait for the one in flight.
        in_flight: calls to it.
        waiting: calls to it that wait, by caller.
    """

    model: str
    health: ModelHealth
    paused_until: float = -math.inf
    is_rate_limited: bool = False
    alone_until: float = -math.inf
    in_flight: int = 0
    waiting: Counter[str] = field(default_factory=Counter)

    @property
    def is_idle(self) -> bool:
        return not self.in_flight and not self.waiting

    def may_start(self, now: float, caller: str) -> bool:
        """Whether neither its pause, its first call nor its health is against a call."""
        half_open = self.health.state(now, caller) is BreakerState.HALF_OPEN
        return self.wait_s(now) == 0.0 and not (half_open and self.health.is_probing(caller))

    def wait_s(self, now: float) -> float:
        """How long a call waits for its pause, or at most for the call that goes alone."""
        alone_until = self.alone_until if self.in_flight else -math.inf
        return max(0.0, self.paused_until - now, alone_until - now)

    def needs_clock(self) -> bool:
        """Whether a call waits for a time, and not for the end of one that decides for it."""
        return any(not self.health.is_probing(caller) for caller in self.waiting)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A call that waits, and what it waits for."""

    turn: asyncio.Future[Grant]
    lane: _Lane
    decision: object
    deadline: float
    caller: str


class Limiter:
    """Lets calls through in turn; used from one event loop.

    Calls are let through one by one, by the rule of `FairQueue`. A call that finds the queue full,
    its model down, or a pause that will outlast its deadline, fails at once and for good: repeated
    by every variant of every decision, it would be the load that the limiter is there to keep off.
    """

    def __init__(self, limits: CallLimits, *, clock: Clock | None = None) -> None:
        self._limits = limits
        self._given_clock = clock
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._proven: OrderedDict[str, None] = OrderedDict()
        self._answered_at: OrderedDict[str, float] = OrderedDict()
        self._queue = FairQueue[_Waiting]()
        self._in_flight = 0
        self._requests: Bucket | None = None
        self._tokens: TokenBudget | None = None
        self._timer: Timer | None = None
        self._closed = False
        self._begun = False
        self.on_stop: Callable[[Stop], None] = lambda _stop: None
        """Told of every pause, and of every breaker that opens, by the calls of this limiter."""

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def state(self) -> BreakerState:
        """That of the model which is worst off, as all callers meet it."""
        now = self._clock.time()
        states = {lane.health.common_state(now) for lane in self._lanes.values()}
        worst = (BreakerState.OPEN, BreakerState.HALF_OPEN)
        return next((state for state in worst if state in states), BreakerState.CLOSED)

    def count_breakers(self) -> Counter[BreakerState]:
        """How many models' breakers are in each state, of the models of which anything is known."""
        now = self._clock.time()
        return Counter(lane.health.state(now) for lane in self._lanes.values())

    def count_paused(self) -> int:
        """How many models get no calls for now because their provider asked for a pause."""
        now = self._clock.time()
        return sum(lane.paused_until > now for lane in self._lanes.values())

    def is_available(self, model: str = "", caller: str = "") -> bool:
        """Whether a new decision of a caller that asks this model could be served here soon."""
        lane, now = self._lanes.get(model), self._clock.time()
        if lane is None:
            return True
        is_open = lane.health.state(now, caller) is BreakerState.OPEN
        is_short = lane.paused_until - now <= _SHORT_PAUSE_S
        return is_short and not is_open and not lane.health.is_probing(caller)

    async def enter(
        self,
        decision: object,
        order: int = 0,
        *,
        model: str = "",
        deadline: float = math.inf,
        fault_of: object = None,
        caller: str = "",
    ) -> Grant:
        """Waits for a turn; a caller that gets one must `leave`.

        Args:
            decision: what the call belongs to; decisions take turns.
            order: its number in the decision; the lowest goes first.
            model: which one it asks.
            deadline: when its answer is of no use any more, on the clock.
            fault_of: what a fault of this call counts once for; the decision where it is None.
            caller: for whom the call is made, see `ModelHealth`; empty where that is not known.

        Raises:
            UpstreamError: `OVERLOADED`, `UNAVAILABLE`, `RATE_LIMITED`, or the limiter was closed.
        """
        now = self._clock.time()
        cause = decision if fault_of is None else fault_of
        lane = self._lane(model)
        try:
            self._refuse(lane, caller, now, deadline)
            self._open_buckets(now)
            if not self._queue and self._is_free(now) and lane.may_start(now, caller):
                return self._start(lane, cause, caller, now)
            waiting = _Waiting(_new_turn(), lane, cause, deadline, caller)
            return await self._wait(waiting, decision, order)
        finally:
            self._forget(lane)

    def leave(self, start: Grant, end: CallEnd) -> None:
        """Reports how a call ended, and lets the next one through."""
        now, lane = self._clock.time(), self._lane(start.model)
        self._in_flight -= 1
        lane.in_flight -= 1
        if self._tokens is not None:
            self._tokens.settle(start.tokens, end.tokens, now)
        if end.pause_s is not None:
            kind = StopKind.RATE_LIMIT if end.is_rate_limit else StopKind.PAUSE
            stop = Stop(start.model, kind, min(end.pause_s, self._limits.longest_pause_s))
            self._pause(lane, now + stop.wait_s, is_rate_limit=end.is_rate_limit)
            self.on_stop(stop)
        self._tell_breaker(lane, start, end, now)
        self._note_proof(lane, start, end, now)
        self._forget(lane)
        if self._queue:
            self._serve()

    def heed(self, stop: Stop) -> None:
        """Gives a model no calls by what another process has met; `on_stop` is not told of it.

        A model that has answered here since the other process met it is not stopped as down.
        """
        now, lane, limits = self._clock.time(), self._lane(stop.model), self._limits
        match stop.kind:
            case StopKind.PAUSE | StopKind.RATE_LIMIT:
                is_rate_limit = stop.kind is StopKind.RATE_LIMIT
                until = now + min(stop.wait_s, limits.longest_pause_s)
                self._pause(lane, until, is_rate_limit=is_rate_limit)
            case StopKind.DOWN:
                if self._answered_at.get(stop.model, -math.inf) < now - stop.age_s:
                    lane.health.open(now + min(stop.wait_s, limits.breaker_open_s))
            case StopKind.DOWN_FOR_CALLER:
                lane.health.open_own(now + min(stop.wait_s, limits.breaker_open_s), stop.caller)
            case _:
                assert_never(stop.kind)
        self._fail_down(lane, now)
        self._forget(lane)
        if self._queue:
            self._serve()

    def close(self) -> None:
        """Ends the wait of all that wait; nothing is let through any more."""
        self._closed = True
        self._stop_timer()
        self._fail(lambda _: True)

    @property
    def _clock(self) -> Clock:
        return self._given_clock or asyncio.get_running_loop()

    async def _wait(self, waiting: _Waiting, decision: object, order: int) -> Grant:
        turn, lane = waiting.turn, waiting.lane
        place = self._queue.push(decision, order, waiting)
        lane.waiting[waiting.caller] += 1
        try:
            self._serve()
            return await turn
        except asyncio.CancelledError:
            self._queue.discard(place)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(turn.result(), CallEnd(tokens=0))  # the turn came in the same moment
            raise
        finally:
            lane.waiting[waiting.caller] -= 1
            if not lane.waiting[waiting.caller]:
                del lane.waiting[waiting.caller]

    def _lane(self, model: str) -> _Lane:
        """What is known of a model; at most so many are remembered, as clients choose the names."""
        lane = self._lanes.get(model)
        if lane is None:
            if len(self._lanes) >= _MOST_LANES:
                oldest = next((one for one in self._lanes.values() if one.is_idle), None)
                if oldest is not None:
                    del self._lanes[oldest.model]
            limits = self._limits
            health = ModelHealth(
                faults=limits.breaker_faults,
                after_s=limits.breaker_after_s,
                open_s=limits.breaker_open_s,
            )
            lane = self._lanes[model] = _Lane(model, health)
        return lane

    def _forget(self, lane: _Lane) -> None:
        """Drops a lane that nothing uses and that says nothing."""
        is_paused = lane.paused_until > self._clock.time()
        if lane.is_idle and lane.health.is_quiet and not is_paused:
            self._lanes.pop(lane.model, None)

    def _refuse(self, lane: _Lane, caller: str, now: float, deadline: float) -> None:
        """Raises UpstreamError where waiting is of no use."""
        if self._closed or lane.health.state(now, caller) is BreakerState.OPEN:
            raise self._fault(lane, caller)
        if lane.paused_until > max(now, deadline):
            raise _pause_error(lane, now)
        if len(self._queue) >= self._limits.max_queue:
            raise UpstreamError(
                "too many calls wait for the upstream; retry later, or raise its max_concurrency",
                status=503,
                retry_after_s=_OVERLOADED_RETRY_S,
                code=OVERLOADED,
                undrawn=True,
            )

    def _fault(self, lane: _Lane, caller: str) -> UpstreamError:
        if self._closed:
            message = "the upstream was closed; make a new one"
            return UpstreamError(message, status=500, undrawn=True)
        return UpstreamError(
            "this model failed in many requests in a row and gets no calls for some seconds; check "
            "that its upstream runs",
            status=503,
            retry_after_s=lane.health.wait_s(self._clock.time(), caller),
            code=UNAVAILABLE,
            undrawn=True,
        )

    def _pause(self, lane: _Lane, until: float, *, is_rate_limit: bool) -> None:
        """Calls wait until then; those for which that is too late fail at once."""
        if until <= lane.paused_until:
            return
        lane.paused_until, lane.is_rate_limited = until, is_rate_limit
        self._fail(lambda one: one.lane is lane and one.deadline < until)

    def _tell_breaker(self, lane: _Lane, start: Grant, end: CallEnd, now: float) -> None:
        health, caller = lane.health, start.caller
        common_s, own_s = health.wait_common_s(now), health.wait_own_s(now, caller)
        if end.alive is None:
            health.unknown(caller, probe=start.probe)
        elif end.alive:
            health.alive(now, caller, probe=start.probe)
            _remember(self._answered_at, lane.model, now)
        else:
            health.record_fault(start.at, now, caller, probe=start.probe, decision=start.decision)
        if health.wait_common_s(now) > common_s:
            self.on_stop(Stop(lane.model, StopKind.DOWN, health.wait_common_s(now)))
        if health.wait_own_s(now, caller) > own_s:
            wait_s = health.wait_own_s(now, caller)
            self.on_stop(Stop(lane.model, StopKind.DOWN_FOR_CALLER, wait_s, caller))
        if health.state(now, caller) is BreakerState.OPEN:
            self._fail_down(lane, now)

    def _fail_down(self, lane: _Lane, now: float) -> None:
        """Ends the wait of the callers for whom a model is down."""
        health = lane.health
        self._fail(
            lambda one: one.lane is lane and health.state(now, one.caller) is BreakerState.OPEN
        )

    def _note_proof(self, lane: _Lane, start: Grant, end: CallEnd, now: float) -> None:
        """Learns whether a model takes calls under this key.

        Until it has, calls go one by one: a refusal holds for all of them, and a wave that goes out
        at once would meet it dozens of times. Any other end proves it, a fault too, as no later
        call may be worse off for it. One that was given up says nothing.
        """
        if end.refusal is not None:
            self._proven.pop(lane.model, None)
            lane.alone_until = now + self._limits.first_alone_s
            self._end_waits(lane, start.decision, end.refusal)
        elif end.alive is not None:
            _remember(self._proven, lane.model, None)
            lane.alone_until = -math.inf

    def _end_waits(self, lane: _Lane, decision: object, refusal: UpstreamError) -> None:
        """A decision that was refused makes no further call, not even before it hears of it."""
        for one in self._queue.take_out(lambda one: one.lane is lane and one.decision is decision):
            if not one.turn.done():
                # One object for each: a shared one would gather the tracebacks of all.
                one.turn.set_exception(copy.copy(refusal))

    def _fail(self, concerns: Callable[[_Waiting], bool]) -> None:
        """Ends the wait of some calls by the fault that holds for their model now."""
        now = self._clock.time()
        for one in self._queue.take_out(concerns):
            if not one.turn.done():
                state = one.lane.health.state(now, one.caller)
                is_down = self._closed or state is BreakerState.OPEN
                error = (
                    self._fault(one.lane, one.caller) if is_down else _pause_error(one.lane, now)
                )
                one.turn.set_exception(error)

    def _serve(self) -> None:
        """Lets through the calls that may go, and schedules a wake-up for the rest."""
        self._stop_timer()
        now = self._clock.time()
        while self._queue and self._is_free(now):
            one = self._queue.pop(lambda one: one.lane.may_start(now, one.caller))
            if one is None:
                break
            if not one.turn.done():
                one.turn.set_result(self._start(one.lane, one.decision, one.caller, now))
        if self._queue and self._has_room:
            self._wake_up(now)

    def _wake_up(self, now: float) -> None:
        """Serves again when the limits let the next call through.

        A model whose breaker tries one call needs no clock: the end of that call serves the others.
        """
        waits = [lane.wait_s(now) for lane in self._lanes.values() if lane.needs_clock()]
        if waits:
            wait_s = max(self._wait_s(now), min(waits))
            self._timer = self._clock.call_later(wait_s, self._serve)

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
        """Whether the upstream takes a call at once, of whichever model."""
        return self._has_room and self._wait_s(now) == 0.0

    @property
    def _has_room(self) -> bool:
        return self._in_flight < self._limits.max_concurrency

    def _wait_s(self, now: float) -> float:
        """Seconds until the rates let the next call through."""
        return max(
            0.0,
            self._requests.wait_s(1.0, now) if self._requests else 0.0,
            self._tokens.wait_s(now) if self._tokens else 0.0,
        )

    def _start(self, lane: _Lane, decision: object, caller: str, now: float) -> Grant:
        if not lane.in_flight and lane.model not in self._proven:
            lane.alone_until = now + self._limits.first_alone_s
        self._in_flight += 1
        lane.in_flight += 1
        if self._requests is not None:
            self._requests.take(1.0, now)
        tokens = 0.0 if self._tokens is None else self._tokens.reserve(now)
        return Grant(now, tokens, lane.health.start(now, caller), lane.model, decision, caller)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _remember(known: OrderedDict[str, _T], model: str, value: _T) -> None:
    """Keeps a value of a model; that of the one not heard of for longest goes."""
    known[model] = value
    known.move_to_end(model)
    if len(known) > _MOST_PROVEN:
        known.popitem(last=False)


def _new_turn() -> asyncio.Future[Grant]:
    return asyncio.get_running_loop().create_future()


def _pause_error(lane: _Lane, now: float) -> UpstreamError:
    """The error for a call that would have to wait until it is too late."""
    what = "is rate limited" if lane.is_rate_limited else "asked for a pause"
    return UpstreamError(
        f"the upstream {what}, for longer than this request may take; retry after the time in "
        "Retry-After, or raise advanced.limits.deadline_s",
        status=429 if lane.is_rate_limited else 503,
        retry_after_s=lane.paused_until - now,
        code=RATE_LIMITED if lane.is_rate_limited else UNAVAILABLE,
        undrawn=True,
    )
