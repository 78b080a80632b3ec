"""Metrics of all workers in one scrape, each series with the label `worker`.

Each worker hands its metrics to whoever asks at a Unix socket in the workers' private folder, and
the one that is scraped asks all. Why not prometheus_client's files: they hold neither gauges that
are read nor those of the process, know no removal of labels, and count on for workers that died.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from guardrail.server.worker import Worker

__all__ = ["CollectedMetrics", "WorkerMetrics"]

_PATIENCE_S = 2.0
_MOST_BYTES = 64 << 20


class WorkerMetrics:
    """One worker's part, and the sum of all; for one event loop.

    Args:
        registry: of this worker; read on the event loop.
        worker: which one it is.
    """

    def __init__(self, registry: CollectorRegistry, worker: Worker) -> None:
        self._registry = registry
        self._worker = worker

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answers the other workers for as long as the context lasts."""
        path = self._path(self._worker.index)
        with suppress(FileNotFoundError):
            path.unlink()  # of the worker that had this place before
        server = await asyncio.start_unix_server(self._answer, path)
        try:
            yield
        finally:
            server.close()

    async def collect_all(self) -> CollectedMetrics:
        """What all workers count; one that does not answer in time is left out, and named."""
        indexes = range(self._worker.count)
        found = await asyncio.gather(*map(self._ask, indexes))
        return CollectedMetrics(dict(zip(indexes, found, strict=True)))

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(json.dumps(_describe(self._registry.collect())).encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def _ask(self, index: int) -> list[Any] | None:
        if index == self._worker.index:
            return _describe(self._registry.collect())
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reader, writer = await asyncio.open_unix_connection(
                    self._path(index), limit=_MOST_BYTES
                )
                try:
                    found = json.loads(await reader.read())
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError):
            return None
        return found if isinstance(found, list) else None

    def _path(self, index: int) -> Path:
        return self._worker.folder / f"metrics-{index}"


class CollectedMetrics:
    """Stands for a registry where metrics are written out; None where a worker did not answer."""

    def __init__(self, by_worker: Mapping[int, list[Any] | None]) -> None:
        self._by_worker = by_worker

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for index, described in self._by_worker.items():
            for name, text, kind, unit, samples in described or ():
                family = families.get(name)
                if family is None:
                    family = families[name] = Metric(name, text, kind, unit)
                for sample, labels, value in samples:
                    family.add_sample(sample, {**labels, "worker": str(index)}, value)
        yield from families.values()
        answered = GaugeMetricFamily(
            "guardrail_worker_up", "1 where a worker answered this scrape.", labels=["worker"]
        )
        for index, described in self._by_worker.items():
            answered.add_metric([str(index)], described is not None)
        yield answered


def _describe(families: Iterable[Metric]) -> list[Any]:
    """Families as JSON can hold them."""
    return [
        [one.name, one.documentation, one.type, one.unit,
         [[sample.name, sample.labels, sample.value] for sample in one.samples]]
        for one in families
    ]  # fmt: skip
