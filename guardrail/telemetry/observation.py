"""What one request causes: calls, tokens, cost, and where its time goes."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, assert_never

from guardrail.engine.sampler import BusyClock
from guardrail.engine.verdict import Action, Reason
from guardrail.telemetry.log_lines import write_event
from guardrail.telemetry.times import DecisionTimes
from guardrail.types import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from guardrail.engine.observer import NoteAnswer, NoteVerdict, ObservedCall
    from guardrail.engine.rules import Rules
    from guardrail.engine.verdict import Verdict
    from guardrail.telemetry.block_spikes import BlockSpikes
    from guardrail.telemetry.metrics import Metrics
    from guardrail.telemetry.names import KnownNames
    from guardrail.telemetry.spans import Spans
    from guardrail.types import Answer, Chat

__all__ = ["RequestObservation"]

_log = logging.getLogger("guardrail.observed")
_NO_SPAN = nullcontext()


class _Both:
    """Two clocks that run together; a generator in its place takes several times as long."""

    __slots__ = ("_clocks",)

    def __init__(self, *clocks: BusyClock) -> None:
        self._clocks = clocks

    def __enter__(self) -> None:
        for clock in self._clocks:
            clock.__enter__()

    def __exit__(self, *_: object) -> None:
        for clock in self._clocks:
            clock.__exit__()


def _ignore(_: Verdict) -> None:
    """Hears and does nothing: nobody traces the decision."""


_UNTRACED = nullcontext(_ignore)


@dataclass(slots=True)
class _Tally:
    """What one decision, or the answer before it, took so far."""

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = 0.0
    upstream_clock: BusyClock = field(default_factory=BusyClock)
    oracle_clock: BusyClock = field(default_factory=BusyClock)
    line_clock: BusyClock = field(default_factory=BusyClock)
    busy_clock: BusyClock = field(default_factory=BusyClock)

    def times(self, verdict: Verdict | None) -> DecisionTimes:
        """Where the time of the verdict went so far."""
        return DecisionTimes(
            upstream_s=self.upstream_clock.busy_s,
            oracle_s=self.oracle_clock.busy_s,
            queue_s=self.line_clock.busy_s,
            own_s=self._own_s(verdict),
        )

    def _own_s(self, verdict: Verdict | None) -> float:
        if verdict is None:
            return 0.0
        if verdict.remembered:
            return verdict.overhead_s  # it may have waited for another request's calls
        return max(0.0, verdict.elapsed_s - self.busy_clock.busy_s)


class _CallWatch:
    """One call to a model; what it takes is added to a tally and to the metrics, if any."""

    def __init__(
        self,
        call: ObservedCall,
        tally: _Tally,
        span: AbstractContextManager[NoteAnswer | None],
        metrics: Metrics | None,
    ) -> None:
        self._call = call
        self._tally = tally
        self._span = span
        self._metrics = metrics
        self._clocks = _Both(tally.busy_clock, tally.upstream_clock)
        self._answers: list[Answer] = []
        self._note: NoteAnswer | None = None
        self._started = 0.0

    def __enter__(self) -> NoteAnswer:
        self._note = self._span.__enter__()
        self._tally.calls += 1
        self._started = time.monotonic()
        self._clocks.__enter__()
        return self._note_answer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clocks.__exit__()
        tally = self._tally
        for answer in self._answers:
            tally.usage = tally.usage + answer.usage
        if self._metrics is not None:
            elapsed_s = time.monotonic() - self._started
            result = _result(kind, "answered")
            self._metrics.count_call(self._call, result, elapsed_s, self._answers)
        self._span.__exit__(kind, error, trace)

    def _note_answer(self, answer: Answer) -> None:
        self._answers.append(answer)
        if self._note is not None:
            self._note(answer)


class _JudgingWatch:
    """The oracle at work; likewise."""

    def __init__(self, texts: int, tally: _Tally, metrics: Metrics | None) -> None:
        self._texts = texts
        self._metrics = metrics
        self._clocks = _Both(tally.busy_clock, tally.oracle_clock)
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.monotonic()
        self._clocks.__enter__()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._clocks.__exit__()
        if self._metrics is not None:
            elapsed_s = time.monotonic() - self._started
            self._metrics.count_judging(self._texts, _result(kind, "judged"), elapsed_s)


def _result(kind: type[BaseException] | None, done: str) -> str:
    """How what was watched ended, by the exception that ended it."""
    if kind is None:
        return done
    return "cancelled" if issubclass(kind, asyncio.CancelledError) else "fault"


class RequestObservation:
    """The observer of one request (see `guardrail.engine.observer.DecisionObserver`).

    It counts for the request's line in the log, and hands everything on to metrics and traces where
    there are any. Equal requests that share a decision share its calls: the one that began it has
    them, the others have none.

    A request is counted as one decision. Where its answer leaves before it is decided, that is the
    decision that follows; where none follows, or it comes to nothing, `not decided`.

    Args:
        request_id: of the request.
        models: the names that may stand in logs and labels.
        spikes: counts blocks.
        metrics: None where none are counted.
        spans: None where nothing is traced.
    """

    def __init__(
        self,
        request_id: str,
        *,
        models: KnownNames,
        spikes: BlockSpikes,
        metrics: Metrics | None = None,
        spans: Spans | None = None,
    ) -> None:
        self.request_id = request_id
        self.policy = ""  # until it is known which one decides
        self.mode = ""
        self.verdict: Verdict | None = None
        self.record_id: str | None = None
        self.fault: Exception | None = None
        self.model = ""
        self.upstream = ""
        self._first = self._now = _Tally()
        self._follow_up: Literal["none", "open", "decided"] = "none"
        self._uncounted: Verdict | None = None
        self._models = models
        self._spikes = spikes
        self._metrics = metrics
        self._spans = spans

    @property
    def calls(self) -> int:
        """Those before the answer left, as are the tokens, the cost and the times."""
        return self._first.calls

    @property
    def usage(self) -> Usage:
        return self._first.usage

    @property
    def cost_usd(self) -> float | None:
        return self._first.cost_usd

    def note_verdict(self, verdict: Verdict, record_id: str | None) -> None:
        """The request's verdict, once it is recorded and before its answer leaves."""
        self.verdict, self.record_id = verdict, record_id
        if verdict.action is Action.FAULT:
            self.fault = verdict.failure
        match self._follow_up:
            case "none":
                self._count(verdict, self._first)
            case "open":
                self._uncounted = verdict
            case "decided":
                pass  # it was quicker than the record of the answer
            case _:
                assert_never(self._follow_up)

    def _count(self, verdict: Verdict, tally: _Tally) -> None:
        undecided = verdict.reason in (Reason.NOT_DECIDED, Reason.OVERRIDE)
        if verdict.action is not Action.FAULT and not undecided:
            blocked = verdict.action is Action.BLOCK or verdict.would_block
            self._spikes.record(time.monotonic(), blocked=blocked)
        if self._metrics is not None:
            times = tally.times(verdict)
            self._metrics.count_decision(verdict, times, self.policy, self.mode)

    def note_fault(self, fault: Exception) -> None:
        """What the request ended with in place of a verdict."""
        self.fault = fault

    @contextmanager
    def observe_follow_up(self) -> Iterator[NoteVerdict]:
        tally = self._now = _Tally()
        self._follow_up = "open"

        def note(verdict: Verdict) -> None:
            self._follow_up, self._uncounted = "decided", None
            self._count(verdict, tally)
            self._log(verdict, tally)

        try:
            yield note
        finally:
            if self._follow_up == "open":
                self._follow_up = "none"
            if self._uncounted is not None:
                self._count(self._uncounted, self._first)
                self._uncounted = None

    def log_decision(self, verdict: Verdict) -> None:
        """Logs the decision of a request that has no line of its own, as none came by HTTP."""
        self._log(verdict, self._first)

    def _log(self, verdict: Verdict, tally: _Tally) -> None:
        write_event(
            _log,
            logging.INFO,
            "decision",
            {
                "request_id": self.request_id,
                "policy": self.policy,
                "mode": self.mode,
                "decision": verdict.action.value,
                "reason": verdict.reason.value,
                "would_block": verdict.would_block,
                "stopped_by": verdict.stopped_by.value,
                "decision_ms": round(verdict.elapsed_s * 1e3, 2),
                "calls": tally.calls,
            },
        )

    def times(self) -> DecisionTimes:
        """Where the time of the decision went, or of the answer where that left before."""
        return self._first.times(self.verdict)

    def observe_decision(
        self, rules: Rules, upstream: str, chat: Chat
    ) -> AbstractContextManager[NoteVerdict]:
        self.policy, self.mode = rules.name, rules.mode.value
        self.upstream = upstream
        self.model = self._models.label(chat.model)
        if self._spans is None:
            return _UNTRACED
        return self._spans.decision(rules, upstream, self.model, self.request_id)

    @contextmanager
    def observe_wave(self, number: int, first: int, stop: int) -> Iterator[None]:
        if self._metrics is not None:
            self._metrics.count_wave(self.policy)
        with _NO_SPAN if self._spans is None else self._spans.wave(number, first, stop):
            yield

    def observe_line(self) -> AbstractContextManager[None]:
        return _Both(self._now.busy_clock, self._now.line_clock)

    def observe_call(self, call: ObservedCall) -> AbstractContextManager[NoteAnswer]:
        return _CallWatch(call, self._now, self._call_span(call), self._metrics)

    def _call_span(self, call: ObservedCall) -> AbstractContextManager[NoteAnswer | None]:
        if self._spans is None:
            return _NO_SPAN
        return self._spans.call(call, self._models.label(call.model, call.provider_model))

    def observe_judging(self, answers: int) -> AbstractContextManager[None]:
        return _JudgingWatch(answers, self._now, self._metrics)

    def note_cost(self, call: ObservedCall, cost_usd: float | None) -> None:
        tally = self._now
        known = tally.cost_usd is not None and cost_usd is not None
        tally.cost_usd = (tally.cost_usd or 0.0) + (cost_usd or 0.0) if known else None
        if self._metrics is not None and cost_usd:
            self._metrics.count_cost(call, cost_usd)
