"""Limits of the calls to one upstream: how many at once and a minute, and in which order.

Places and rates are the upstream's. Pauses and health belong to one model of it: a model that is
down, or whose quota is used up, keeps nobody from another one.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, assert_never

from guardrail.upstreams.limits.breaker import BreakerState
from guardrail.upstreams.limits.calls import CallEnd, Grant
from guardrail.upstreams.limits.fair_queue import FairQueue
from guardrail.upstreams.limits.lanes import Lanes
from guardrail.upstreams.limits.rate import CallRates
from guardrail.upstreams.limits.stops import Stop, StopKind
from guardrail.upstreams.limits.unsent import (
    closed_error,
    down_error,
    overloaded_error,
    pause_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.errors import UpstreamError
    from guardrail.upstreams.limits.call_limits import CallLimits
    from guardrail.upstreams.limits.lanes import Lane

__all__ = ["Clock", "Limiter"]

_SHORT_PAUSE_S = 5.0  # a decision had better wait that long than go to another model
_MOST_PROVEN = 1024  # of models that took a call; one that is forgotten costs a short wait
_T = TypeVar("_T")


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """The part of an event loop that tells the time and wakes; tests hand in their own."""

    def time(self) -> float: ...
    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A call that waits, and what it waits for."""

    turn: asyncio.Future[Grant]
    lane: Lane
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
        self._lanes = Lanes(limits)
        self._rates = CallRates(limits.requests_per_minute, limits.tokens_per_minute)
        self._proven: OrderedDict[str, None] = OrderedDict()
        self._answered_at: OrderedDict[str, float] = OrderedDict()
        self._queue = FairQueue[_Waiting]()
        self._in_flight = 0
        self._timer: Timer | None = None
        self._closed = False
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
        states = {lane.health.common_state(now) for lane in self._lanes}
        worst = (BreakerState.OPEN, BreakerState.HALF_OPEN)
        return next((state for state in worst if state in states), BreakerState.CLOSED)

    def count_breakers(self) -> Counter[BreakerState]:
        """How many models' breakers are in each state, of the models of which anything is known."""
        now = self._clock.time()
        return Counter(lane.health.state(now) for lane in self._lanes)

    def count_paused(self) -> int:
        """How many models get no calls for now because their provider asked for a pause."""
        now = self._clock.time()
        return sum(lane.paused_until > now for lane in self._lanes)

    def is_available(self, model: str = "", caller: str = "") -> bool:
        """Whether a new decision of a caller that asks this model could be served here soon."""
        lane, now = self._lanes.find(model), self._clock.time()
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
        lane = self._lanes.open(model)
        try:
            self._refuse(lane, caller, now, deadline)
            self._rates.begin(now)
            if not self._queue and self._is_free(now) and lane.may_start(now, caller):
                return self._start(lane, cause, caller, now)
            waiting = _Waiting(_new_turn(), lane, cause, deadline, caller)
            return await self._wait(waiting, decision, order)
        finally:
            self._lanes.forget(lane, self._clock.time())

    def leave(self, start: Grant, end: CallEnd) -> None:
        """Reports how a call ended, and lets the next one through."""
        now, lane = self._clock.time(), self._lanes.open(start.model)
        self._in_flight -= 1
        lane.in_flight -= 1
        self._rates.settle(start.tokens, end.tokens, now)
        if end.pause_s is not None:
            kind = StopKind.RATE_LIMIT if end.is_rate_limit else StopKind.PAUSE
            stop = Stop(start.model, kind, min(end.pause_s, self._limits.longest_pause_s))
            self._pause(lane, now + stop.wait_s, is_rate_limit=end.is_rate_limit)
            self.on_stop(stop)
        self._tell_breaker(lane, start, end, now)
        self._note_proof(lane, start, end, now)
        self._lanes.forget(lane, self._clock.time())
        if self._queue:
            self._serve()

    def heed(self, stop: Stop) -> None:
        """Gives a model no calls by what another process has met; `on_stop` is not told of it.

        A model that has answered here since the other process met it is not stopped as down.
        """
        now, lane, limits = self._clock.time(), self._lanes.open(stop.model), self._limits
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
        self._lanes.forget(lane, self._clock.time())
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

    def _refuse(self, lane: Lane, caller: str, now: float, deadline: float) -> None:
        """Raises UpstreamError where waiting is of no use."""
        is_open = lane.health.state(now, caller) is BreakerState.OPEN
        if self._closed or is_open or lane.paused_until > max(now, deadline):
            raise self._error_for(lane, caller, now)
        if len(self._queue) >= self._limits.max_queue:
            raise overloaded_error()

    def _pause(self, lane: Lane, until: float, *, is_rate_limit: bool) -> None:
        """Calls wait until then; those for which that is too late fail at once."""
        if until <= lane.paused_until:
            return
        lane.paused_until, lane.is_rate_limited = until, is_rate_limit
        self._fail(lambda one: one.lane is lane and one.deadline < until)

    def _tell_breaker(self, lane: Lane, start: Grant, end: CallEnd, now: float) -> None:
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

    def _fail_down(self, lane: Lane, now: float) -> None:
        """Ends the wait of the callers for whom a model is down."""
        health = lane.health
        self._fail(
            lambda one: one.lane is lane and health.state(now, one.caller) is BreakerState.OPEN
        )

    def _note_proof(self, lane: Lane, start: Grant, end: CallEnd, now: float) -> None:
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

    def _end_waits(self, lane: Lane, decision: object, refusal: UpstreamError) -> None:
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
                one.turn.set_exception(self._error_for(one.lane, one.caller, now))

    def _error_for(self, lane: Lane, caller: str, now: float) -> UpstreamError:
        """The error of a call for which nothing that it could wait for is of use."""
        if self._closed:
            return closed_error()
        if lane.health.state(now, caller) is BreakerState.OPEN:
            return down_error(lane.health.wait_s(now, caller))
        return pause_error(lane.paused_until - now, is_rate_limit=lane.is_rate_limited)

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
        waits = [lane.wait_s(now) for lane in self._lanes if lane.needs_clock()]
        if waits:
            wait_s = max(self._rates.wait_s(now), min(waits))
            self._timer = self._clock.call_later(wait_s, self._serve)

    def _is_free(self, now: float) -> bool:
        """Whether the upstream takes a call at once, of whichever model."""
        return self._has_room and self._rates.wait_s(now) == 0.0

    @property
    def _has_room(self) -> bool:
        return self._in_flight < self._limits.max_concurrency

    def _start(self, lane: Lane, decision: object, caller: str, now: float) -> Grant:
        if not lane.in_flight and lane.model not in self._proven:
            lane.alone_until = now + self._limits.first_alone_s
        self._in_flight += 1
        lane.in_flight += 1
        tokens = self._rates.take(now)
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
