"""What one request causes: calls, tokens, cost, and where its time goes."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

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


class RequestObservation:
    """The observer of one request (see `guardrail.engine.observer.DecisionObserver`).

    It counts for the request's line in the log, and hands everything on to metrics and traces where
    there are any. Equal requests that share a decision share its calls: the one that began it has
    them, the others have none.

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
        self.calls = 0
        self.usage = Usage()
        self.cost_usd: float | None = 0.0
        self.model = ""
        self.upstream = ""
        self._upstream_clock = BusyClock()
        self._oracle_clock = BusyClock()
        self._line_clock = BusyClock()
        self._busy_clock = BusyClock()
        self._models = models
        self._spikes = spikes
        self._metrics = metrics
        self._spans = spans

    def note_verdict(self, verdict: Verdict, record_id: str | None) -> None:
        """The request's verdict, once it is recorded and before its answer leaves."""
        self.verdict, self.record_id = verdict, record_id
        if verdict.action is Action.FAULT:
            self.fault = verdict.failure
        self._count(verdict)

    def _count(self, verdict: Verdict) -> None:
        if verdict.action is not Action.FAULT and verdict.reason is not Reason.NOT_DECIDED:
            blocked = verdict.action is Action.BLOCK or verdict.would_block
            self._spikes.record(time.monotonic(), blocked=blocked)
        if self._metrics is not None:
            self._metrics.count_decision(verdict, self.times(), self.policy, self.mode)

    def note_fault(self, fault: Exception) -> None:
        """What the request ended with in place of a verdict."""
        self.fault = fault

    def _note_later(self, verdict: Verdict) -> None:
        """A decision that was made when its request had been answered already."""
        self._count(verdict)
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
                "calls": self.calls,
            },
        )

    def times(self) -> DecisionTimes:
        """Where the time of the decision went so far."""
        return DecisionTimes(
            upstream_s=self._upstream_clock.busy_s,
            oracle_s=self._oracle_clock.busy_s,
            queue_s=self._line_clock.busy_s,
            own_s=self._own_s(),
        )

    def _own_s(self) -> float:
        if self.verdict is None:
            return 0.0
        if self.verdict.remembered:
            return self.verdict.overhead_s  # it may have waited for another request's calls
        return max(0.0, self.verdict.elapsed_s - self._busy_clock.busy_s)

    @contextmanager
    def observe_decision(self, rules: Rules, upstream: str, chat: Chat) -> Iterator[NoteVerdict]:
        self.policy, self.mode = rules.name, rules.mode.value
        self.upstream = upstream
        self.model = self._models.label(chat.model)
        with ExitStack() as stack:
            told = None
            if self._spans is not None:
                span = self._spans.decision(rules, upstream, self.model, self.request_id)
                told = stack.enter_context(span)

            def note(verdict: Verdict) -> None:
                if told is not None:
                    told(verdict)
                if self.verdict is not None and self.verdict.reason is Reason.NOT_DECIDED:
                    self._note_later(verdict)

            yield note

    @contextmanager
    def observe_wave(self, number: int, first: int, stop: int) -> Iterator[None]:
        if self._metrics is not None:
            self._metrics.count_wave(self.policy)
        with ExitStack() as stack:
            if self._spans is not None:
                stack.enter_context(self._spans.wave(number, first, stop))
            yield

    @contextmanager
    def observe_line(self) -> Iterator[None]:
        with self._busy_clock.running(), self._line_clock.running():
            yield

    @contextmanager
    def observe_call(self, call: ObservedCall) -> Iterator[NoteAnswer]:
        answers: list[Answer] = []
        self.calls += 1
        started, result = time.monotonic(), "fault"
        try:
            with self._busy_clock.running(), self._upstream_clock.running(), ExitStack() as stack:
                note = None
                if self._spans is not None:
                    model = self._models.label(call.model, call.provider_model)
                    note = stack.enter_context(self._spans.call(call, model))

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
                self.usage = self.usage + answer.usage
            if self._metrics is not None:
                elapsed_s = time.monotonic() - started
                self._metrics.count_call(call, result, elapsed_s, answers)

    @contextmanager
    def observe_judging(self, answers: int) -> Iterator[None]:
        started, result = time.monotonic(), "fault"
        try:
            with self._busy_clock.running(), self._oracle_clock.running():
                yield
            result = "judged"
        except asyncio.CancelledError:
            result = "cancelled"
            raise
        finally:
            if self._metrics is not None:
                self._metrics.count_judging(answers, result, time.monotonic() - started)

    def note_cost(self, call: ObservedCall, cost_usd: float | None) -> None:
        known = self.cost_usd is not None and cost_usd is not None
        self.cost_usd = (self.cost_usd or 0.0) + (cost_usd or 0.0) if known else None
        if self._metrics is not None and cost_usd:
            self._metrics.count_cost(call, cost_usd)
