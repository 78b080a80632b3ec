"""What is seen of each request: its id, its place in a trace, its line in the log, its metrics."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers

from guardrail.engine.observer import observe_with
from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError, GuardrailError, RequestError
from guardrail.telemetry.log_lines import write_event
from guardrail.telemetry.request_id import HEADER, choose_request_id, use_request_id
from guardrail.trace_context import read_trace, use_trace

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from guardrail.api.service import Service
    from guardrail.engine.verdict import Verdict
    from guardrail.telemetry.observation import RequestObservation
    from guardrail.telemetry.telemetry import Telemetry

__all__ = ["REQUEST_ID", "AccessLog", "note", "note_fault", "note_policy"]

REQUEST_ID = "guardrail.request_id"
"""Where a request's id is in its ASGI scope."""

_log = logging.getLogger("guardrail.access")
_OBSERVATION = "guardrail.observation"
_CALLER = "guardrail.caller"
_HEADER = HEADER.encode("latin-1")
_GONE = 499  # the client closed the connection before there was an answer
_PROBES = ("/healthz", "/readyz")


def note_policy(scope: MutableMapping[str, Any], service: Service) -> None:
    """Says by which policy a request is decided."""
    seen: RequestObservation | None = scope.get(_OBSERVATION)
    if seen is not None:
        seen.policy, seen.mode = service.policy.name, service.engine.rules.mode.value


def note(scope: MutableMapping[str, Any], verdict: Verdict, record_id: str | None) -> None:
    """Adds a verdict to what is told of its request."""
    seen: RequestObservation | None = scope.get(_OBSERVATION)
    if seen is not None:
        seen.note_verdict(verdict, record_id)


def note_fault(scope: MutableMapping[str, Any], fault: Exception) -> None:
    """Adds what a request ended with in place of a verdict."""
    seen: RequestObservation | None = scope.get(_OBSERVATION)
    if seen is not None:
        seen.note_fault(fault)


class AccessLog:
    """ASGI middleware that logs to `guardrail.access`, one line for each request.

    A decision or any other answer is at level INFO, a fault at WARNING, or at ERROR where an
    operator must mend it, a health check at DEBUG. The path is named by its route and never as it
    was sent: some clients put keys into it.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, started = Headers(scope=scope), time.monotonic()
        request_id = choose_request_id(headers.getlist(HEADER))
        trace = read_trace(headers.getlist("traceparent"), headers.getlist("tracestate"))
        seen = self._telemetry.observe(request_id)
        scope[REQUEST_ID], scope[_OBSERVATION] = request_id, seen
        status = _GONE

        async def watch_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_HEADER, request_id.encode("latin-1"))]
            await send(message)

        try:
            with use_request_id(request_id), use_trace(trace), observe_with(seen):
                await self._app(scope, receive, watch_send)
        finally:
            elapsed_s = time.monotonic() - started
            route = getattr(scope.get("route"), "path", None)
            self._telemetry.finish(route, status, elapsed_s)
            event, level = _event(seen, route, status)
            if _log.isEnabledFor(level):
                line: dict[str, object] = {"request_id": request_id}
                if trace is not None:
                    line["trace_id"] = trace.trace_id
                line |= {"method": scope["method"], "route": route, "status": status}
                line["elapsed_ms"] = _ms(elapsed_s)
                key_id = getattr(scope.get(_CALLER), "key_id", None)
                line |= {} if key_id is None else {"key_id": key_id}
                write_event(_log, level, event, line | _facts(seen))


def _event(seen: RequestObservation, route: str | None, status: int) -> tuple[str, int]:
    """What the line is about, and its level."""
    verdict, fault = seen.verdict, seen.fault
    if verdict is not None and verdict.action is not Action.FAULT:
        return "decision", logging.INFO
    if isinstance(fault, RequestError) and fault.status < 500:
        return "refused", logging.INFO
    if verdict is not None or fault is not None or status >= 500:
        unforeseen = fault is not None and not isinstance(fault, GuardrailError)
        mends = unforeseen or isinstance(fault, ConfigError)
        return "fault", logging.ERROR if mends else logging.WARNING
    if 400 <= status < _GONE:
        return "refused", logging.INFO
    return "request", logging.DEBUG if route in _PROBES else logging.INFO


def _facts(seen: RequestObservation) -> dict[str, object]:
    """What is told of a decision and of its fault."""
    facts: dict[str, object] = {}
    verdict, fault, times = seen.verdict, seen.fault, seen.times()
    if seen.policy:
        facts |= {"policy": seen.policy, "mode": seen.mode}
    if verdict is not None:
        certificate = verdict.certificate
        facts |= {
            "decision": verdict.action.value,
            "reason": verdict.reason.value,
            "would_block": verdict.would_block,
            "stopped_by": verdict.stopped_by.value,
            "remembered": verdict.remembered,
            "samples": 0 if certificate is None else certificate.samples,
            "decision_ms": _ms(verdict.elapsed_s),
            "own_ms": _ms(times.own_s),
            "record_id": seen.record_id,
        }
    if verdict is not None or seen.calls:
        facts |= {
            "upstream": seen.upstream,
            "model": seen.model,
            "calls": seen.calls,
            "prompt_tokens": seen.usage.prompt_tokens,
            "completion_tokens": seen.usage.completion_tokens,
            "cost_usd": seen.cost_usd,
            "upstream_ms": _ms(times.upstream_s),
            "oracle_ms": _ms(times.oracle_s),
            "queue_ms": _ms(times.queue_s),
        }
    if fault is not None:
        facts |= {"fault": type(fault).__name__, "code": getattr(fault, "code", None)}
        facts |= {"fault_status": getattr(fault, "status", 500)}
        upstream_status = getattr(fault, "upstream_status", None)
        facts |= {} if upstream_status is None else {"upstream_status": upstream_status}
    return facts


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 2)
