"""Whether traces are wanted, and where they go: an OTLP endpoint, by the standard variables."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from guardrail.distribution import install_command
from guardrail.errors import ConfigError
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.telemetry.spans import Spans

__all__ = ["asks_for_traces", "open_spans"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def asks_for_traces(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables ask for traces: an OTLP endpoint, and nothing against it."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "otlp":
        return False
    return any(environment.get(name, "").strip() for name in _ENDPOINTS)


def open_spans(*, drafted: bool = False) -> Spans:
    """Spans and events that are sent in batches by OTLP over HTTP, from threads of their own.

    Endpoint, headers, sampler, batches and resource are what the variables `OTEL_…` say.

    Args:
        drafted: see `Spans`.

    Raises:
        ConfigError: the packages of the extra `otel` are not installed.
    """
    if not _is_installed():
        raise ConfigError(
            f"traces need the OpenTelemetry SDK; {install_command('otel')}, or leave out --otel "
            "and the variables OTEL_EXPORTER_OTLP_…",
            field="otel",
        )
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from guardrail.telemetry.spans import Spans

    given = {SERVICE_VERSION: __version__}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        given[SERVICE_NAME] = "guardrail"
    resource = Resource.create(given)
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    return Spans(tracers, loggers, drafted=drafted)


def _is_installed() -> bool:
    try:
        return all(map(find_spec, ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")))
    except ModuleNotFoundError:
        return False
