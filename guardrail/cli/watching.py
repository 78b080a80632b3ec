"""Options of what a server shows of itself: log, metrics, traces, canaries."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.telemetry.canary import CanaryText
    from guardrail.telemetry.log_lines import LogFormat
    from guardrail.telemetry.telemetry import Telemetry

__all__ = ["canary_options", "open_watch", "read_canary_texts", "watching_options"]

_F = TypeVar("_F", bound=Callable[..., Any])
_LEVELS = ("debug", "info", "warning", "error")


def canary_options(function: _F) -> _F:
    """--canary-model, --canary-file."""
    for option in (
        click.option(
            "--canary-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="YAML file with answers of your own whose verdicts are known, in place of the "
            "shipped pair: for an oracle that judges something else, or another language.",
        ),
        click.option(
            "--canary-model",
            metavar="NAME",
            help="Ask this model about a harmless picture as well; that costs a whole decision.",
        ),
    ):
        function = option(function)
    return function


def watching_options(function: _F) -> _F:
    """--log-level and all others of what is seen of a server."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_OPTIONS = (
    click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True,
                 help="Least level that is written to stderr."),
    click.option("--log-format", type=click.Choice(["json", "text"]), default="json",
                 show_default=True, help="One JSON object a line, or words."),
    click.option("--metrics-port", type=click.IntRange(0, 65535), metavar="PORT",
                 help="Serve Prometheus' metrics at /metrics on this port of their own; 0 takes a "
                 "free one.  [default: no metrics]"),
    click.option("--metrics-host", default="127.0.0.1", show_default=True,
                 help="Address of that port; it asks nobody for a key."),
    click.option("--no-metrics", is_flag=True,
                 help="No metrics, whatever else says so; wins over --metrics-port."),
    click.option("--metrics-model", "metrics_models", metavar="NAME", multiple=True,
                 help="A model that metrics and logs name; may be given several times. Those of "
                 "the upstreams' maps and of the policy's prices are named anyway, all others are "
                 "'other'."),
    click.option("--otel", is_flag=True,
                 help="Send traces by OTLP over HTTP, as the variables OTEL_… say (extra 'otel'); "
                 "OTEL_EXPORTER_OTLP_ENDPOINT alone does so too."),
    click.option("--otel-guardrail-attributes", is_flag=True,
                 help="Set the drafted attributes gen_ai.security.… on spans as well."),
    click.option("--canary-every", type=click.FloatRange(min=1.0), metavar="SECONDS",
                 help="Decide about a known harmful and a known harmless answer so often, and tell "
                 "where one is decided wrongly.  [default: never]"),
    canary_options,
    click.option("--webhook", metavar="URL", envvar="GUARDRAIL_WEBHOOK", show_envvar=True,
                 help="Told by POST, in JSON without content, of canaries decided wrongly and of "
                 "spikes of blocks."),
)  # fmt: skip


@contextmanager
def open_watch(
    *,
    log_level: str,
    log_format: LogFormat,
    metrics_port: int | None,
    metrics_host: str,
    no_metrics: bool,
    metrics_models: tuple[str, ...],
    otel: bool,
    otel_guardrail_attributes: bool,
    canary_every: float | None,
    canary_model: str | None,
    canary_file: Path | None,
    webhook: str | None,
) -> Iterator[Telemetry]:
    """What the options say, for as long as a server runs. Raises ConfigError."""
    from guardrail.errors import ConfigError
    from guardrail.telemetry.log_writer import write_log
    from guardrail.telemetry.otel import asks_for_traces
    from guardrail.telemetry.telemetry import TelemetrySettings, open_telemetry
    from guardrail.telemetry.webhook import check_webhook_url

    if canary_every is None and (canary_model is not None or canary_file is not None):
        raise ConfigError("a canary's model and texts need --canary-every", field="canary_every")
    settings = TelemetrySettings(
        metrics_port=None if no_metrics else metrics_port,
        metrics_host=metrics_host,
        models=metrics_models,
        traces=otel or asks_for_traces(os.environ),
        drafted_attributes=otel_guardrail_attributes,
        canary_every_s=canary_every,
        canary_texts=read_canary_texts(canary_file),
        canary_model=canary_model,
        webhook=None if webhook is None else check_webhook_url(webhook),
    )
    telemetry = open_telemetry(settings)
    with write_log(log_level, log_format) as writer:
        telemetry.dropped_lines = lambda: writer.dropped
        try:
            yield telemetry
        finally:
            telemetry.close()


def read_canary_texts(file: Path | None) -> tuple[CanaryText, ...]:
    """The texts of a file, or the shipped ones. Raises ConfigError."""
    from guardrail.telemetry.canary import SHIPPED_TEXTS, load_canary_texts

    return SHIPPED_TEXTS if file is None else load_canary_texts(file)
