"""A bulk job on Ray Data: workers that hold model and oracle, one keeper, no row answered twice.

The rows are a data set, and each worker is an actor with an engine of its own. Log, money and
records belong to one more actor, the keeper, on the node of whoever started the job. A worker asks
it before it asks a model, and gives it every outcome before it reports its batch as done. So when a
node is lost, Ray runs its batches again elsewhere, and what is in the log is not asked again: only
the rows that were under way there are.

Nothing is sent to the workers but names of pictures, which every node must be able to read by the
same paths or URLs, the policy, the upstreams, the secret of the noise, and the key that seals what
records keep.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.bulk.keeper import Keeper
from guardrail.bulk.worker import RayPlan, Worker, wait
from guardrail.distribution import install_command
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from guardrail.bulk.rows import BulkRow

__all__ = ["RayEnd", "import_ray", "run_on_ray"]

_BLOCK_ROWS = 32
_NO_RESTART = {"max_restarts": -1, "max_task_retries": -1}
_MOST_CALLS = 1 << 20
"""Calls of the keeper that wait at a time: one for each row under way, lost ones included."""
_WATCH_S = 1.0


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
        ConfigError: Ray is not installed, a row holds its picture itself, or log or records cannot
            be opened.
        GuardrailError: what ended the job; what is decided is kept.
    """
    ray = import_ray()
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    keeper = _start_keeper(ray, plan, path)
    try:
        wait(keeper.open.remote())
        data = ray.data.from_arrow(list(_make_tables(rows)))
        decided = data.map_batches(
            Worker,
            fn_constructor_args=(plan, keeper),
            batch_format="pyarrow",
            batch_size=_BLOCK_ROWS,
            num_cpus=plan.worker_cpus,
            compute=ray.data.ActorPoolStrategy(size=plan.workers, max_tasks_in_flight_per_actor=2),
            **_NO_RESTART,
        )
        return _follow(decided.iter_batches(batch_size=None, batch_format="pyarrow"), keeper, step)
    finally:
        ray.get(keeper.close.remote())
        ray.kill(keeper)


def _follow(batches: Iterable[Any], keeper: Any, step: Callable[[], None]) -> RayEnd:
    """Waits for all batches, or where the job is stopped for those under way."""
    before = 0
    for batch in batches:
        before += sum(batch["decided_before"].to_pylist())
        for _ in range(batch.num_rows):
            step()
        stopped = next(filter(None, batch["stopped"].to_pylist()), "")
        if stopped:
            wait(keeper.drain.remote())
            return RayEnd(stopped, before)
    return RayEnd("", before)


def _start_keeper(ray: Any, plan: RayPlan, path: Path) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, scheduling_strategy=here, max_concurrency=_MOST_CALLS)
    return actor(_KeeperActor).remote(
        Path.cwd(),
        path,
        plan.settings.to_dict(),
        most_usd=plan.most_usd,
        records=plan.records,
        wait_for_loss=_wait_for_loss,
    )


class _KeeperActor(Keeper):
    """A keeper in a process of its own, which reads paths as the command does."""

    def __init__(self, folder: Path, *arguments: Any, **named: Any) -> None:
        os.chdir(folder)
        super().__init__(*arguments, **named)


async def _wait_for_loss(worker: Any) -> None:
    """Returns once an actor is lost, though it is started again.

    An actor does one thing at a time, so that while it has a batch under way this call waits behind
    that, and fails with it.
    """
    import ray

    is_ready = worker.__ray_ready__.options(max_task_retries=0)
    with suppress(ray.exceptions.RayActorError):
        while True:
            await is_ready.remote()
            await asyncio.sleep(_WATCH_S)


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
