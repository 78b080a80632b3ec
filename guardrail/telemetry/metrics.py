"""Every metric that is counted while requests are decided; gauges that are read: `gauges.py`.

All metrics of a proxy are in a registry of its own. No label holds a text that a client chooses:
models and upstreams are named as the configuration names them, all others are `other`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from guardrail.telemetry.names import OTHER
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from prometheus_client.metrics import MetricWrapperBase

    from guardrail.engine.observer import ObservedCall
    from guardrail.engine.verdict import Verdict
    from guardrail.telemetry.canary import CanaryResult
    from guardrail.telemetry.names import KnownNames
    from guardrail.telemetry.times import DecisionTimes
    from guardrail.types import Answer

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OWN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_STATUSES = frozenset(
    {200, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 499, 500, 502, 503, 504}
)


class Metrics:
    """What is counted; used from one event loop.

    Args:
        upstreams: the names that labels may hold.
        models: likewise.
    """

    def __init__(self, upstreams: KnownNames, models: KnownNames) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)
        self._upstreams = upstreams
        self._models = models
        self._canary_of: set[tuple[str, str]] = set()
        self._series: dict[tuple[MetricWrapperBase, tuple[str, ...]], Any] = {}
        of_decisions = ("policy", "mode", "pictures")
        self._decisions = Counter(
            "guardrail_decisions_total",
            "Decisions, by what the client got and why, and which test stopped them.",
            ("policy", "mode", "decision", "reason", "would_block", "stopped_by"),
            registry=registry,
        )
        self._remembered = Counter(
            "guardrail_remembered_decisions_total",
            "Decisions that drew nothing, as an equal request had been decided or was under way.",
            ("policy",),
            registry=registry,
        )
        self._whole = Histogram(
            "guardrail_decision_seconds",
            "Time of a decision, from the request read to the verdict.",
            of_decisions,
            buckets=_SECONDS,
            registry=registry,
        )
        self._upstream = Histogram(
            "guardrail_decision_upstream_seconds",
            "Of a decision, the time with a call to a model in flight.",
            of_decisions,
            buckets=_SECONDS,
            registry=registry,
        )
        self._oracle = Histogram(
            "guardrail_decision_oracle_seconds",
            "Of a decision, the time with the oracle at work.",
            of_decisions,
            buckets=_SECONDS,
            registry=registry,
        )
        self._line = Histogram(
            "guardrail_decision_queue_seconds",
            "Of a decision, the time with a call in line for its upstream.",
            of_decisions,
            buckets=_SECONDS,
            registry=registry,
        )
        self._own = Histogram(
            "guardrail_decision_own_seconds",
            "Of a decision, the time with no call in flight or in line and no oracle at work.",
            of_decisions,
            buckets=_OWN_SECONDS,
            registry=registry,
        )
        self._requests = Counter(
            "guardrail_requests_total",
            "HTTP requests, by route and status; 499: the client left before an answer.",
            ("route", "status"),
            registry=registry,
        )
        self._request_seconds = Histogram(
            "guardrail_request_seconds",
            "Time of an HTTP request, admission and sending included.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        of_calls = ("upstream", "model")
        self._calls = Counter(
            "guardrail_upstream_calls_total",
            "Calls to models, each repeat by itself; result: answered, fault or cancelled.",
            (*of_calls, "result"),
            registry=registry,
        )
        self._call_seconds = Histogram(
            "guardrail_upstream_call_seconds",
            "Time of one call, without its wait in line.",
            ("upstream",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "guardrail_upstream_tokens_total",
            "Tokens that providers counted; kind: prompt or completion.",
            (*of_calls, "kind"),
            registry=registry,
        )
        self._uncounted = Counter(
            "guardrail_upstream_uncounted_calls_total",
            "Answered calls whose tokens the provider did not tell.",
            of_calls,
            registry=registry,
        )
        self._cost = Counter(
            "guardrail_upstream_cost_usd_total",
            "US dollars of answers whose price and tokens are known.",
            of_calls,
            registry=registry,
        )
        self._waves = Counter(
            "guardrail_waves_total", "Waves of draws.", ("policy",), registry=registry
        )
        self._judged = Counter(
            "guardrail_oracle_texts_total",
            "Texts that the oracle was asked about; result: judged, fault or cancelled.",
            ("result",),
            registry=registry,
        )
        self._judging_seconds = Histogram(
            "guardrail_oracle_seconds",
            "Time of one question to the oracle, whatever the number of its texts.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._canary_ok = Gauge(
            "guardrail_canary_ok",
            "1 where the last canary of this kind was decided rightly, else 0.",
            ("policy", "canary"),
            registry=registry,
        )
        self._canaries = Counter(
            "guardrail_canary_runs_total",
            "Canaries; result: ok, wrong (the other verdict) or fault (none).",
            ("policy", "canary", "result"),
            registry=registry,
        )
        self._canary_time = Gauge(
            "guardrail_canary_last_run_timestamp_seconds",
            "When the last canary of this kind ended, in seconds since 1970.",
            ("policy", "canary"),
            registry=registry,
        )
        self._spikes = Counter(
            "guardrail_block_spikes_total",
            "Spikes of blocks that were seen; see --webhook.",
            registry=registry,
        )
        self._webhooks = Counter(
            "guardrail_webhook_messages_total",
            "Messages to the webhook; result: sent, failed or dropped.",
            ("result",),
            registry=registry,
        )
        # From 0 on: of a series that begins with its first message Prometheus sees no increase.
        for result in ("sent", "failed", "dropped"):
            self._webhooks.labels(result)
        Gauge(
            "guardrail_build_info", "The version of this program.", ("version",), registry=registry
        ).labels(__version__).set(1)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def count_decision(
        self, verdict: Verdict, times: DecisionTimes, policy: str, mode: str
    ) -> None:
        """Counts the verdict of a request."""
        self._of(
            self._decisions,
            policy,
            mode,
            verdict.action.value,
            verdict.reason.value,
            "true" if verdict.would_block else "false",
            verdict.stopped_by.value,
        ).inc()
        if verdict.remembered:
            self._of(self._remembered, policy).inc()
        labels = (policy, mode, "no" if verdict.alpha is None else "yes")
        self._of(self._whole, *labels).observe(verdict.elapsed_s)
        self._of(self._upstream, *labels).observe(times.upstream_s)
        self._of(self._oracle, *labels).observe(times.oracle_s)
        self._of(self._line, *labels).observe(times.queue_s)
        self._of(self._own, *labels).observe(times.own_s)

    def count_request(self, route: str | None, status: int, elapsed_s: float) -> None:
        """Counts an HTTP request; `route` is that of the app, None where there is none."""
        named = route or OTHER
        known = str(status) if status in _STATUSES else OTHER
        self._of(self._requests, named, known).inc()
        self._of(self._request_seconds, named).observe(elapsed_s)

    def count_call(
        self, call: ObservedCall, result: str, elapsed_s: float, answers: Sequence[Answer]
    ) -> None:
        """Counts a call that has ended, with its answer where one came."""
        labels = self._call_labels(call)
        self._of(self._calls, *labels, result).inc()
        self._of(self._call_seconds, labels[0]).observe(elapsed_s)
        for answer in answers:
            self._of(self._tokens, *labels, "prompt").inc(answer.usage.prompt_tokens)
            self._of(self._tokens, *labels, "completion").inc(answer.usage.completion_tokens)
            if answer.usage.uncounted:
                self._of(self._uncounted, *labels).inc(answer.usage.uncounted)

    def count_cost(self, call: ObservedCall, cost_usd: float) -> None:
        """Adds what an answer cost."""
        self._of(self._cost, *self._call_labels(call)).inc(cost_usd)

    def count_wave(self, policy: str) -> None:
        """Counts a wave that begins."""
        self._of(self._waves, policy).inc()

    def count_judging(self, texts: int, result: str, elapsed_s: float) -> None:
        """Counts one question to the oracle."""
        self._of(self._judged, result).inc(texts)
        self._judging_seconds.observe(elapsed_s)

    def count_canary(self, policy: str, result: CanaryResult, now: float) -> None:
        """Counts a canary that ended at `now`, in seconds since 1970."""
        self._canary_of.add((policy, result.canary))
        self._canary_ok.labels(policy, result.canary).set(result.is_ok)
        self._canaries.labels(policy, result.canary, result.word).inc()
        self._canary_time.labels(policy, result.canary).set(now)

    def keep_canaries(self, policies: Collection[str]) -> None:
        """Forgets the last canaries of all other policies, which decide no more."""
        for policy, canary in [one for one in self._canary_of if one[0] not in policies]:
            self._canary_of.discard((policy, canary))
            self._canary_ok.remove(policy, canary)
            self._canary_time.remove(policy, canary)

    def count_spike(self) -> None:
        """Counts a spike of blocks."""
        self._spikes.inc()

    def count_webhook(self, result: str) -> None:
        """Counts a message to the webhook."""
        self._webhooks.labels(result).inc()

    def _call_labels(self, call: ObservedCall) -> tuple[str, str]:
        model = self._models.label(call.model, call.provider_model)
        return self._upstreams.label(call.upstream), model

    def _of(self, metric: MetricWrapperBase, *labels: str) -> Any:
        """`metric.labels(*labels)`, which takes a lock and makes texts of texts, remembered."""
        series = self._series.get((metric, labels))
        if series is None:
            series = self._series[metric, labels] = metric.labels(*labels)
        return series
