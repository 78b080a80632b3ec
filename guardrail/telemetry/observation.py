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
            self._log_follow_up(verdict, tally)

        try:
            yield note
        finally:
            if self._follow_up == "open":
                self._follow_up = "none"
            if self._uncounted is not None:
                self._count(self._uncounted, self._first)
                self._uncounted = None

    def _log_follow_up(self, verdict: Verdict, tally: _Tally) -> None:
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
                "decision_ms": round(verdict.elapsed_s * 1e3, 2),
                "calls": tally.calls,
            },
        )

    def times(self) -> DecisionTimes:
        """Where the time of the decision went, or of the answer where that left before."""
        return self._first.times(self.verdict)

    @contextmanager
    def observe_decision(self, rules: Rules, upstream: str, chat: Chat) -> Iterator[NoteVerdict]:
        self.policy, self.mode = rules.name, rules.mode.value
        self.upstream = upstream
        self.model = self._models.label(chat.model)
        if self._spans is None:
            yield _ignore
            return
        with self._spans.decision(rules, upstream, self.model, self.request_id) as note:
            yield note

    @contextmanager
    def observe_wave(self, number: int, first: int, stop: int) -> Iterator[None]:
        if self._metrics is not None:
            self._metrics.count_wave(self.policy)
        with _NO_SPAN if self._spans is None else self._spans.wave(number, first, stop):
            yield

    def observe_line(self) -> AbstractContextManager[None]:
        return _Both(self._now.busy_clock, self._now.line_clock)

    @contextmanager
    def observe_call(self, call: ObservedCall) -> Iterator[NoteAnswer]:
        answers: list[Answer] = []
        tally = self._now
        tally.calls += 1
        started, result = time.monotonic(), "fault"
        try:
            with tally.busy_clock, tally.upstream_clock, self._call_span(call) as note:

                def note_answer(answer: Answer) -> None:
                    answers.append(answer)
                    if note is not None:
                        note(answer)

                yield note_answer
            result = "answered"
        except asyncio.CancelledError:
            result = "cancelled"
            raise
        finally:
            for answer in answers:
                tally.usage = tally.usage + answer.usage
            if self._metrics is not None:
                elapsed_s = time.monotonic() - started
                self._metrics.count_call(call, result, elapsed_s, answers)

    def _call_span(self, call: ObservedCall) -> AbstractContextManager[NoteAnswer | None]:
        if self._spans is None:
            return _NO_SPAN
        return self._spans.call(call, self._models.label(call.model, call.provider_model))

    @contextmanager
    def observe_judging(self, answers: int) -> Iterator[None]:
        started, result = time.monotonic(), "fault"
        try:
            with self._now.busy_clock, self._now.oracle_clock:
                yield
            result = "judged"
        except asyncio.CancelledError:
            result = "cancelled"
            raise
        finally:
            if self._metrics is not None:
                self._metrics.count_judging(answers, result, time.monotonic() - started)

    def note_cost(self, call: ObservedCall, cost_usd: float | None) -> None:
        tally = self._now
        known = tally.cost_usd is not None and cost_usd is not None
        tally.cost_usd = (tally.cost_usd or 0.0) + (cost_usd or 0.0) if known else None
        if self._metrics is not None and cost_usd:
            self._metrics.count_cost(call, cost_usd)
