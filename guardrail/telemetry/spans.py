"""OpenTelemetry: a span for each decision, wave and call, and an event for each verdict.

Names are those of the semantic conventions for generative AI, which are still in development:
`gen_ai.*` and the event `gen_ai.evaluation.result`. What they have no name for yet is named
`guardrail.*`. The attributes that are drafted there for guardrails (`gen_ai.security.*`) are set
where they are asked for. No attribute holds a text of a request or an answer.

This file needs the extra `otel`; `otel.py` imports it where traces are wanted.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from guardrail.engine.verdict import Action
from guardrail.trace_context import TraceContext, current_trace, use_trace
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from guardrail.engine.observer import NoteAnswer, NoteVerdict, ObservedCall
    from guardrail.engine.rules import Rules
    from guardrail.engine.verdict import Verdict
    from guardrail.types import Answer

__all__ = ["Spans"]

_SCOPE = "guardrail"
_EVALUATION = "gen_ai.evaluation.result"
_VERDICTS = {Action.PASS: "allow", Action.BLOCK: "deny"}


class Spans:
    """Makes spans; used from one event loop.

    Args:
        tracers: where spans go.
        loggers: where events go.
        drafted: whether the drafted attributes `gen_ai.security.*` are set too.
    """

    def __init__(
        self, tracers: TracerProvider, loggers: LoggerProvider, *, drafted: bool = False
    ) -> None:
        self._tracers = tracers
        self._loggers = loggers
        self._tracer = tracers.get_tracer(_SCOPE, __version__)
        self._logger = loggers.get_logger(_SCOPE, __version__)
        self._drafted = drafted

    @contextmanager
    def decision(
        self, rules: Rules, upstream: str, model: str, request_id: str
    ) -> Iterator[NoteVerdict]:
        """The span of a decision; what it is told last becomes its outcome."""
        attributes = {
            "guardrail.policy": rules.name,
            "guardrail.mode": rules.mode.value,
            "guardrail.request_id": request_id,
            "guardrail.upstream": upstream,
            "gen_ai.request.model": model,
        }
        if self._drafted:
            attributes |= {
                "gen_ai.operation.name": "run_guardrail",
                "gen_ai.security.target.type": "llm_output",
                "gen_ai.security.guardrail.name": _SCOPE,
                "gen_ai.security.policy.name": rules.name,
                "gen_ai.security.policy.id": rules.digest,
            }
        with self._span("guardrail.decision", attributes) as span:

            def note_verdict(verdict: Verdict) -> None:
                self._note_verdict(span, verdict)

            yield note_verdict

    @contextmanager
    def wave(self, number: int, first: int, stop: int) -> Iterator[None]:
        """The span of a wave."""
        attributes = {"guardrail.wave": number, "guardrail.wave.draws": stop - first}
        with self._span("guardrail.wave", attributes):
            yield

    @contextmanager
    def call(self, call: ObservedCall, model: str) -> Iterator[NoteAnswer]:
        """The span of a call; the upstream is told it as the parent of its own."""
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _provider(call.upstream),
            "gen_ai.request.model": model,
            "guardrail.variant": call.index if call.variant else -1,
            **_server(call.upstream),
        }
        with self._span(f"chat {model}", attributes, SpanKind.CLIENT) as span:

            def note_answer(answer: Answer) -> None:
                _note_answer(span, answer, model)

            yield note_answer

    def close(self) -> None:
        """Sends what is left, within the time that the SDK allows; blocks."""
        self._tracers.shutdown()
        self._loggers.shutdown()

    @contextmanager
    def _span(
        self, name: str, attributes: Mapping[str, Any], kind: SpanKind = SpanKind.INTERNAL
    ) -> Iterator[Span]:
        """A child of the current trace's span, and the current one meanwhile."""
        parent = _context_of(current_trace())
        span = self._tracer.start_span(name, context=parent, kind=kind, attributes=attributes)
        try:
            with use_trace(_trace_of(span)):
                yield span
        except (Exception, asyncio.CancelledError) as error:
            # Its class alone: the text of an exception may quote a request.
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.end()

    def _note_verdict(self, span: Span, verdict: Verdict) -> None:
        span.set_attributes(_verdict_attributes(verdict))
        if verdict.failure is not None:
            span.set_attribute("error.type", type(verdict.failure).__name__)
        if self._drafted:
            span.set_attributes(_drafted_attributes(verdict))
        self._logger.emit(
            event_name=_EVALUATION,
            context=set_span_in_context(span, Context()),
            attributes={
                "gen_ai.evaluation.name": _SCOPE,
                "gen_ai.evaluation.score.label": verdict.action.value,
                "gen_ai.evaluation.explanation": verdict.reason.value,
                **_rate(verdict),
            },
        )


def _verdict_attributes(verdict: Verdict) -> dict[str, Any]:
    usage = verdict.usage
    return {
        "guardrail.decision": verdict.action.value,
        "guardrail.reason": verdict.reason.value,
        "guardrail.would_block": verdict.would_block,
        "guardrail.stopped_by": verdict.stopped_by.value,
        "guardrail.calls": usage.calls,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        **({} if verdict.cost_usd is None else {"guardrail.cost_usd": verdict.cost_usd}),
    }


def _drafted_attributes(verdict: Verdict) -> dict[str, Any]:
    found = _VERDICTS.get(verdict.action, "unknown")
    enforced = "allow" if verdict.action is Action.PASS else "block"
    return {
        "gen_ai.security.verdict.type": "deny" if verdict.would_block else found,
        "gen_ai.security.verdict.reason": verdict.reason.value,
        "gen_ai.security.action.type": enforced,
    }


def _rate(verdict: Verdict) -> dict[str, float]:
    """The share of harmless samples, where there are any."""
    certificate = verdict.certificate
    if certificate is None or not certificate.samples:
        return {}
    return {"gen_ai.evaluation.score.value": 1.0 - certificate.harmful / certificate.samples}


def _note_answer(span: Span, answer: Answer, model: str) -> None:
    usage = answer.usage
    span.set_attribute("gen_ai.response.finish_reasons", (_known_finish(answer.finish_reason),))
    span.set_attribute("gen_ai.response.model", model)
    if not usage.uncounted:
        span.set_attribute("gen_ai.usage.input_tokens", usage.prompt_tokens)
        span.set_attribute("gen_ai.usage.output_tokens", usage.completion_tokens)


def _known_finish(reason: str) -> str:
    """A provider's word only where it is one of OpenAI's, since others may be any text."""
    words = ("stop", "length", "content_filter", "tool_calls", "function_call")
    return reason if reason in words else "other"


@dataclass(frozen=True, slots=True)
class _Address:
    kind: str
    host: str | None
    port: int | None


@lru_cache(maxsize=64)
def _address(upstream: str) -> _Address:
    """The parts of an upstream's name, such as `openai_compatible:http://127.0.0.1:8000/v1`."""
    kind, _, place = upstream.partition(":")
    parts = urlsplit(place) if "//" in place else None
    if parts is None or parts.hostname is None:
        return _Address(kind, None, None)
    return _Address(kind, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))


def _provider(upstream: str) -> str:
    address = _address(upstream)
    if address.host == "api.openai.com":
        return "openai"
    if address.host is not None and address.host.endswith(".openai.azure.com"):
        return "azure.ai.openai"
    return address.kind


def _server(upstream: str) -> dict[str, Any]:
    address = _address(upstream)
    if address.host is None:
        return {}
    return {"server.address": address.host, "server.port": address.port}


def _trace_of(span: Span) -> TraceContext:
    context = span.get_span_context()
    return TraceContext(
        format_trace_id(context.trace_id),
        format_span_id(context.span_id),
        f"{int(context.trace_flags):02x}",
        context.trace_state.to_header(),
    )


def _context_of(trace: TraceContext | None) -> Context:
    """A trace as the API takes it; an empty one, which begins a trace, where there is none."""
    if trace is None:
        return Context()
    parent = SpanContext(
        int(trace.trace_id, 16),
        int(trace.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(trace.flags, 16)),
        trace_state=TraceState.from_header([trace.state]),
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())
