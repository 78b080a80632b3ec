"""What a server tells of itself, put together from an operator's options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.telemetry.block_spikes import BlockSpikes
from guardrail.telemetry.canary import SHIPPED_TEXTS, check_canaries
from guardrail.telemetry.names import KnownNames, configured_models
from guardrail.telemetry.observation import RequestObservation
from guardrail.upstreams.chain import members

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.api.deployment import Deployment
    from guardrail.api.policy_set import PolicySet
    from guardrail.telemetry.canary import CanaryResult, CanaryText
    from guardrail.telemetry.metrics import Metrics
    from guardrail.telemetry.spans import Spans

__all__ = ["Telemetry", "TelemetrySettings", "open_telemetry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """What an operator wants to see.

    Attributes:
        metrics_port: where metrics are served, on a port of their own; 0 takes a free one, None
            counts and serves none.
        metrics_host: address of that port.
        models: names of models that labels and logs may hold, beside those of the configuration.
        traces: whether traces are sent by OpenTelemetry.
        drafted_attributes: whether they hold the drafted `gen_ai.security.*` too.
        canary_every_s: seconds between two canaries; None sends none.
        canary_texts: what they are.
        canary_model: asked about a harmless picture as well; None asks none.
        webhook: URL that is told of canaries decided wrongly and of spikes of blocks.
        watches_spikes: whether spikes of blocks are looked for.
    """

    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    models: tuple[str, ...] = ()
    traces: bool = False
    drafted_attributes: bool = False
    canary_every_s: float | None = None
    canary_texts: tuple[CanaryText, ...] = SHIPPED_TEXTS
    canary_model: str | None = None
    webhook: str | None = field(default=None, repr=False)
    watches_spikes: bool = True


@dataclass(slots=True)
class Telemetry:
    """What all requests of a server share; used from one event loop.

    Attributes:
        settings: as given.
        models: names of models that labels and logs may hold.
        upstreams: names of upstreams, likewise.
        metrics: None where none are counted.
        spans: None where nothing is traced.
        spikes: counts blocks by minutes.
        dropped_lines: how many lines of the log were dropped so far.
        canaries: the last canary of each kind by policy, and when it ended, in seconds since 1970.
    """

    settings: TelemetrySettings = field(default_factory=TelemetrySettings)
    models: KnownNames = field(default_factory=KnownNames)
    upstreams: KnownNames = field(default_factory=KnownNames)
    metrics: Metrics | None = None
    spans: Spans | None = None
    spikes: BlockSpikes = field(default_factory=BlockSpikes)
    dropped_lines: Callable[[], int] = lambda: 0
    canaries: dict[tuple[str, str], tuple[CanaryResult, float]] = field(default_factory=dict)
    _deployment: Deployment | None = None
    _known: PolicySet | None = None

    def watch(self, deployment: Deployment) -> None:
        """Learns the names of a deployment, and lets metrics read its parts; called once.

        Raises:
            ConfigError: canaries are wanted, and the texts say nothing about any policy's oracle.
        """
        if self.settings.canary_every_s is not None:
            engines = [served.service.engine for served in deployment.current.policies]
            check_canaries(engines, self.settings.canary_texts)
        self._deployment = deployment
        self.models.learn(self.settings.models)
        if self.metrics is not None:
            from guardrail.telemetry.gauges import DeploymentGauges

            gauges = DeploymentGauges(deployment, lambda: self.dropped_lines())
            self.metrics.registry.register(gauges)

    def observe(self, request_id: str, *, is_tried: bool = False) -> RequestObservation:
        """The observer of a request that begins.

        Args:
            request_id: of it.
            is_tried: whether somebody tries what is blocked; many such blocks are no spike.
        """
        if self._deployment is not None and self._known is not self._deployment.current:
            self._learn(self._deployment.current)
        return RequestObservation(
            request_id,
            models=self.models,
            spikes=BlockSpikes() if is_tried else self.spikes,
            metrics=self.metrics,
            spans=self.spans,
        )

    def _learn(self, policies: PolicySet) -> None:
        """Adds the names of a set of policies that decides now."""
        self._known = policies
        for engine in (served.service.engine for served in policies.policies):
            self.upstreams.learn(member.name for member in members(engine.upstream))
            self.models.learn(configured_models(engine.rules, engine.upstream))

    def finish(self, route: str | None, status: int, elapsed_s: float) -> None:
        """Counts a request that has ended."""
        if self.metrics is not None:
            self.metrics.count_request(route, status, elapsed_s)

    def close(self) -> None:
        """Sends the traces that are left; blocks for as long as the SDK allows."""
        if self.spans is not None:
            self.spans.close()


def open_telemetry(settings: TelemetrySettings) -> Telemetry:
    """The telemetry of a server that is about to start.

    Raises:
        ConfigError: traces are wanted and the extra `otel` is not installed.
    """
    telemetry = Telemetry(settings)
    if settings.metrics_port is not None:
        from guardrail.telemetry.metrics import Metrics

        telemetry.metrics = Metrics(telemetry.upstreams, telemetry.models)
    if settings.traces:
        from guardrail.telemetry.otel import open_spans

        telemetry.spans = open_spans(drafted=settings.drafted_attributes)
    return telemetry
