"""Gauges that are read from the running parts when somebody asks: queues, breakers, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from guardrail.memory.store import BoundedStore
from guardrail.upstreams.chain import members
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.breaker import BreakerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client.core import Metric

    from guardrail.api.deployment import Deployment
    from guardrail.api.fault_count import FaultCount
    from guardrail.api.service import Service

__all__ = ["DeploymentGauges"]


class DeploymentGauges:
    """A collector for `prometheus_client`; asked on the event loop that serves.

    Args:
        deployment: whose parts are read, those of the policies that decide now.
        dropped_lines: how many lines of the log were dropped so far.
    """

    def __init__(
        self, deployment: Deployment, dropped_lines: Callable[[], int] = lambda: 0
    ) -> None:
        self._deployment = deployment
        self._dropped_lines = dropped_lines
        self._record_faults = 0
        self._seen_faults: WeakKeyDictionary[FaultCount, int] = WeakKeyDictionary()

    def describe(self) -> list[Metric]:
        """Nothing: prometheus_client would else ask before there is a loop."""
        return []

    def collect(self) -> Iterator[Metric]:
        services = [served.service for served in self._deployment.current.policies]
        yield from _read_admission(services)
        yield from _read_upstreams(services)
        yield from _read_memory(services)
        refused = CounterMetricFamily(
            "guardrail_refused", "Refusals of strangers' bytes, by the bound met.", labels=["bound"]
        )
        for bound, times in self._deployment.refusals.counts().items():
            refused.add_metric([bound], times)
        yield refused
        yield CounterMetricFamily(
            "guardrail_record_faults",
            "Decisions that could not be recorded; their answers were withheld.",
            value=self._add_record_faults(services),
        )
        yield CounterMetricFamily(
            "guardrail_log_lines_dropped",
            "Lines of the log that were dropped because it was not read fast enough.",
            value=self._dropped_lines(),
        )

    def _add_record_faults(self, services: Sequence[Service]) -> int:
        """Those of all services so far; each counts by itself, and goes when its policy does."""
        for count in (service.record_faults for service in services):
            self._record_faults += count.total - self._seen_faults.get(count, 0)
            self._seen_faults[count] = count.total
        return self._record_faults


def _read_admission(services: Sequence[Service]) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "guardrail_admission_waiting", "Requests that wait for a place.", labels=["policy"]
    )
    free = GaugeMetricFamily(
        "guardrail_admission_free", "Requests that could begin at once.", labels=["policy"]
    )
    for service in services:
        waiting.add_metric([service.policy.name], service.admission.waiting)
        free.add_metric([service.policy.name], service.admission.free)
    yield from (waiting, free)


def _read_upstreams(services: Sequence[Service]) -> Iterator[Metric]:
    waiting = _of_upstreams("waiting", "Calls in line for an upstream.")
    in_flight = _of_upstreams("in_flight", "Calls in flight.")
    paused = _of_upstreams(
        "paused_models", "Models that get no calls as their provider asked for a pause."
    )
    breakers = _of_upstreams(
        "breakers",
        "Models by the state of their breaker; closed ones of which nothing is known are left out.",
        "state",
    )
    # Policies share the limiters of their models.
    limiters = {
        member.name: member.limiter
        for service in services
        for member in members(service.engine.upstream)
        if isinstance(member, LimitedUpstream)
    }
    for name, limiter in limiters.items():
        waiting.add_metric([name], limiter.waiting)
        in_flight.add_metric([name], limiter.in_flight)
        paused.add_metric([name], limiter.count_paused())
        states = limiter.count_breakers()
        for state in BreakerState:
            breakers.add_metric([name, state.value], states[state])
    yield from (waiting, in_flight, paused, breakers)


def _read_memory(services: Sequence[Service]) -> Iterator[Metric]:
    stores = {id(service.decisions.store): service.decisions.store for service in services}
    local = [store for store in stores.values() if isinstance(store, BoundedStore)]
    if local:
        yield GaugeMetricFamily(
            "guardrail_remembered_verdicts", "Verdicts in memory.", value=sum(map(len, local))
        )
        yield GaugeMetricFamily(
            "guardrail_remembered_bytes",
            "What they take together.",
            value=sum(store.size_bytes for store in local),
        )


def _of_upstreams(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(
        f"guardrail_upstream_{name}", documentation, labels=["upstream", *labels]
    )
