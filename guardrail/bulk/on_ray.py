"""A bulk job on Ray Data: workers that hold model and oracle, one log, no row answered twice.

The rows are a data set, and each worker is an actor with an engine of its own. The log belongs to
one more actor, the keeper, on the node of whoever started the job. A worker asks it before it asks
a model, and gives it every outcome before it reports its batch as done. So when a node is lost, Ray
runs its batches again elsewhere, and what is in the log is not asked again: only the rows that were
under way there are.

Nothing is sent to the workers but names of pictures, which every node must be able to read by the
same paths or URLs, the policy, the upstreams and the secret of the noise.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.assembly import build_engine
from guardrail.bulk.deciding import EngineAsk, RowDecider, make_loader
from guardrail.bulk.job import BarrenRows, BulkJob
from guardrail.bulk.log import DecisionLog
from guardrail.bulk.outcome import RowOutcome
from guardrail.bulk.rows import BulkRow
from guardrail.distribution import install_command
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from guardrail.bulk.content_key import JobSettings
    from guardrail.bulk.index import KnownDecision
    from guardrail.images.keys import NoiseKey
    from guardrail.policy.schema import Policy
    from guardrail.policy.upstreams import UpstreamEntry

__all__ = ["RayEnd", "RayPlan", "import_ray", "run_on_ray"]

_BLOCK_ROWS = 32
_NO_RESTART = {"max_restarts": -1, "max_task_retries": -1}


def import_ray() -> Any:
    """Raises ConfigError where Ray is not installed."""
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--engine ray needs the package {error.name}; {install_command('ray')}"
        ) from error
    return ray


@dataclass(frozen=True, slots=True)
class RayPlan:
    """What every worker needs.

    Attributes:
        policy, entries, key: of which each makes its engine.
        settings: of the job.
        most: rows that a worker decides at a time.
        keep_answers: whether outcomes hold the answers that pass.
        workers: how many there are.
        worker_cpus: of the cluster, for each.
    """

    policy: Policy
    entries: tuple[UpstreamEntry, ...]
    key: NoiseKey
    settings: JobSettings
    most: int
    keep_answers: bool
    workers: int
    worker_cpus: float


@dataclass(frozen=True, slots=True)
class RayEnd:
    """How a job ended.

    Attributes:
        stopped: why before its source did; empty where it did not.
        decided_before: rows that needed nothing.
    """

    stopped: str
    decided_before: int


def run_on_ray(
    plan: RayPlan,
    rows: Iterable[BulkRow],
    path: Path,
    *,
    address: str | None = None,
    step: Callable[[], None] = lambda: None,
) -> RayEnd:
    """Decides the rows that are left; blocks until they are.

    Args:
        plan: of the workers.
        rows: of the source; about 200 bytes of each lie in the cluster's memory.
        path: of the log.
        address: of the cluster; None for the one that this process is connected to, or else one on
            this machine.
        step: called after each row.

    Raises:
        ConfigError: Ray is not installed, or a row holds its picture itself.
    """
    ray = import_ray()
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    keeper = _start_keeper(ray, plan, path)
    data = ray.data.from_arrow(list(_make_tables(rows)))
    decided = data.map_batches(
        _Worker,
        fn_constructor_args=(plan, keeper),
        batch_format="pyarrow",
        batch_size=_BLOCK_ROWS,
        num_cpus=plan.worker_cpus,
        compute=ray.data.ActorPoolStrategy(size=plan.workers, max_tasks_in_flight_per_actor=2),
        **_NO_RESTART,
    )
    before = 0
    try:
        for batch in decided.iter_batches(batch_size=None, batch_format="pyarrow"):
            before += sum(batch["decided_before"].to_pylist())
            for _ in range(batch.num_rows):
                step()
            stopped = next(filter(None, batch["stopped"].to_pylist()), "")
            if stopped:
                return RayEnd(stopped, before)
    finally:
        ray.get(keeper.close.remote())
        ray.kill(keeper)
    return RayEnd("", before)


def _start_keeper(ray: Any, plan: RayPlan, path: Path) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, scheduling_strategy=here, max_concurrency=8)(_Keeper)
    keeper = actor.remote(str(path.absolute()), plan.settings.to_dict())
    ray.get(keeper.ready.remote())
    return keeper


def _make_tables(rows: Iterable[BulkRow]) -> Iterator[Any]:
    import pyarrow

    block: list[dict[str, Any]] = []
    for row in rows:
        if isinstance(row.image, bytes):
            raise ConfigError(
                "with --engine ray a table names its pictures, as paths or URLs that every node "
                "can read; write them to files first"
            )
        block.append(dataclasses.asdict(row))
        if len(block) == _BLOCK_ROWS:
            yield pyarrow.Table.from_pylist(block)
            block = []
    if block:
        yield pyarrow.Table.from_pylist(block)


class _Keeper:
    """Holds the log; an actor."""

    def __init__(self, path: str, settings: Mapping[str, Any]) -> None:
        self._log = DecisionLog(Path(path), settings)

    def ready(self) -> None:
        """Returns once the log has been read."""

    def find(self, key: str) -> KnownDecision | None:
        return self._log.find(key)

    def is_decided(self, row: BulkRow, key: str) -> bool:
        return self._log.is_decided(row, key)

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        self._log.write([RowOutcome.from_dict(row) for row in rows])

    def close(self) -> None:
        self._log.close()


@dataclass(frozen=True, slots=True)
class _RemoteLog:
    """The keeper's log, as deciders and jobs use it; its methods wait, so threads call them."""

    keeper: Any

    def find(self, key: str) -> KnownDecision | None:
        found: KnownDecision | None = _wait(self.keeper.find.remote(key))
        return found

    def is_decided(self, row: BulkRow, key: str) -> bool:
        return bool(_wait(self.keeper.is_decided.remote(row, key)))

    def write(self, outcomes: Sequence[RowOutcome]) -> None:
        _wait(self.keeper.write.remote([outcome.to_dict() for outcome in outcomes]))


def _wait(reference: Any) -> Any:
    import ray

    return ray.get(reference)


class _Worker:
    """Decides batches of rows with an engine that lives as long as it does; an actor."""

    def __init__(self, plan: RayPlan, keeper: Any) -> None:
        self._plan = plan
        self._log = _RemoteLog(keeper)
        self._runner = asyncio.Runner()
        self._barren = BarrenRows()  # over all batches: none has more rows than stop a job
        self._engine = build_engine(plan.policy, plan.entries, plan.key)
        loader, settings = make_loader(plan.policy), plan.settings
        ask = EngineAsk(self._engine, settings.model, loader, settings.parameters)
        self._decider = RowDecider(
            ask,
            settings,
            loader,
            lists=self._engine.known_pictures,
            log=self._log,
            keep_answers=plan.keep_answers,
        )

    def __call__(self, batch: Any) -> Any:
        import pyarrow

        rows = [BulkRow(**row) for row in batch.to_pylist()]
        job = BulkJob(self._decider, self._log, self._plan.most, barren=self._barren)
        self._runner.run(job.run(iter(rows)))
        count = len(rows)
        return pyarrow.table(
            {
                "decided_before": [job.decided_before] + [0] * (count - 1),
                "stopped": [job.stopped] * count,
            }
        )
