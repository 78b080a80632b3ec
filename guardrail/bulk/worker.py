"""A worker of a job on Ray: it decides batches of rows, and shares all else by the keeper."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from guardrail.assembly import build_engine
from guardrail.bulk.deciding import EngineAsk, RowDecider, make_loader
from guardrail.bulk.job import BarrenRows, BulkJob
from guardrail.bulk.rows import BulkRow
from guardrail.errors import GuardrailError
from guardrail.records.recorder import Recorder
from guardrail.records.sent_pictures import PictureRoom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.bulk.content_key import JobSettings
    from guardrail.bulk.deciding import NextAttempt
    from guardrail.bulk.index import KnownDecision
    from guardrail.bulk.outcome import RowOutcome
    from guardrail.engine.verdict import Verdict
    from guardrail.images.keys import NoiseKey
    from guardrail.memory.allowance import Reservation
    from guardrail.policy.schema import Policy
    from guardrail.policy.upstreams import UpstreamEntry
    from guardrail.records.content import ContentKeys
    from guardrail.records.kept_pictures import NewRecord
    from guardrail.records.options import RecordOptions
    from guardrail.records.record import Record

__all__ = ["RayPlan", "Worker", "wait"]


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
        most_usd: what all runs of the job may cost together; None for no limit.
        records: where records of the decisions go.
        content_keys: seal what records keep of contents; None where they keep none.
    """

    policy: Policy
    entries: tuple[UpstreamEntry, ...]
    key: NoiseKey
    settings: JobSettings
    most: int
    keep_answers: bool
    workers: int
    worker_cpus: float
    most_usd: float | None
    records: RecordOptions
    content_keys: ContentKeys | None


class Worker:
    """Decides batches of rows with an engine that lives as long as it does; an actor."""

    def __init__(self, plan: RayPlan, keeper: Any) -> None:
        self._plan = plan
        self._keeper = keeper
        self._runner = asyncio.Runner()
        self._barren = BarrenRows()  # over all batches: none has more rows than stop a job
        self._engine = build_engine(plan.policy, plan.entries, plan.key)
        self._loader = make_loader(plan.policy)
        self._room = PictureRoom() if plan.records.keep_pictures else None

    def __call__(self, batch: Any) -> Any:
        import pyarrow

        rows = [BulkRow(**row) for row in batch.to_pylist()]
        stopped, decided_before = self._runner.run(self._decide(rows))
        count = len(rows)
        return pyarrow.table(
            {
                "decided_before": [decided_before] + [0] * (count - 1),
                "stopped": [stopped] * count,
            }
        )

    async def _decide(self, rows: Sequence[BulkRow]) -> tuple[str, int]:
        """Why the job shall stop, if it shall, and how many rows needed nothing."""
        link = _KeeperLink(self._keeper)
        if stopped := await _call(self._keeper.begin.remote(link.batch, _this_worker())):
            return stopped, 0
        job = BulkJob(self._make_decider(link), link, self._plan.most, barren=self._barren)
        fault = None
        try:
            await job.run(iter(rows))
        except GuardrailError as error:
            fault, job.stopped = error, job.stopped or str(error)
        finally:
            left = link.outbox.take_all()
            await _call(self._keeper.end.remote(link.batch, job.stopped, fault, left))
        return job.stopped, job.decided_before

    def _make_decider(self, link: _KeeperLink) -> RowDecider:
        plan, settings = self._plan, self._plan.settings
        allowance = None if plan.most_usd is None else link
        ask = EngineAsk(self._engine, settings.model, self._loader, settings.parameters, allowance)
        return RowDecider(
            ask if plan.records.place is None else _RecordedAsk(ask, self._make_recorder, link),
            settings,
            self._loader,
            lists=self._engine.known_pictures,
            log=link,
            leases=link,
            keep_answers=plan.keep_answers,
        )

    def _make_recorder(self, sink: _RowSink) -> Recorder:
        plan = self._plan
        return Recorder(
            sink,
            self._engine,
            content_keys=plan.content_keys,
            picture_room=self._room,
            mode=plan.records.mode,
        )


@dataclass(frozen=True, slots=True)
class _Outbox:
    """Records that go to the keeper with the outcome of their row."""

    _records: dict[str, list[NewRecord]] = field(default_factory=dict)

    def put(self, identity: str, record: NewRecord) -> None:
        self._records.setdefault(identity, []).append(record)

    def take(self, outcomes: Sequence[RowOutcome]) -> list[NewRecord]:
        """Those of the rows that these are the outcomes of."""
        return [new for one in outcomes for new in self._records.pop(one.identity, ())]

    def take_all(self) -> list[NewRecord]:
        taken = [new for records in self._records.values() for new in records]
        self._records.clear()
        return taken


@dataclass(frozen=True, slots=True)
class _KeeperLink:
    """What one batch has at the keeper: log, leases and money. `find` and its like are for threads.

    Attributes:
        batch: tells it from all others, those that had the same rows included.
        outbox: what waits for its row's outcome.
    """

    keeper: Any
    batch: str = field(default_factory=lambda: secrets.token_hex(8))
    outbox: _Outbox = field(default_factory=_Outbox)

    caller = "bulk"
    limits_calls = False

    def find(self, key: str) -> KnownDecision | None:
        found: KnownDecision | None = wait(self.keeper.find.remote(key))
        return found

    def is_decided(self, row: BulkRow, key: str) -> bool:
        return bool(wait(self.keeper.is_decided.remote(row, key)))

    def count_failed(self, key: str) -> int:
        return int(wait(self.keeper.count_failed.remote(key)))

    def write(self, outcomes: Sequence[RowOutcome]) -> None:
        lines, records = [one.to_dict() for one in outcomes], self.outbox.take(outcomes)
        wait(self.keeper.write.remote(self.batch, lines, records))

    async def take(self, key: str) -> None:
        await _call(self.keeper.take.remote(self.batch, key))

    def free(self, key: str) -> None:
        self.keeper.free.remote(self.batch, key)

    async def reserve(self, calls: int | None, max_cost_usd: float | None) -> Reservation:
        del calls
        reservation: Reservation = await _call(self.keeper.reserve.remote(self.batch, max_cost_usd))
        return reservation

    async def settle(self, reservation: Reservation, calls: int, usd: float | None) -> None:
        del calls
        await _call(self.keeper.settle.remote(self.batch, reservation.token, usd))


@dataclass(frozen=True, slots=True)
class _RecordedAsk:
    """Asks an engine, and leaves the record of each decision to its row's outcome."""

    ask: EngineAsk
    make_recorder: Callable[[_RowSink], Recorder]
    link: _KeeperLink

    async def __call__(self, row: BulkRow, data: bytes, attempt: NextAttempt) -> Verdict:
        recorder = self.make_recorder(_RowSink(self.link, row.identity))
        return await replace(self.ask, recording=recorder)(row, data, attempt)


@dataclass(frozen=True, slots=True)
class _RowSink:
    """Takes the records of one row."""

    link: _KeeperLink
    identity: str

    async def keep(self, make: Callable[[], NewRecord]) -> Record:
        new = await asyncio.to_thread(make)
        self.link.outbox.put(self.identity, new)
        return new.record

    def keep_soon(self, make: Callable[[], NewRecord]) -> None:
        self.link.outbox.put(self.identity, make())

    async def check(self) -> None:
        await _call(self.link.keeper.check_records.remote())


def _this_worker() -> Any:
    import ray

    return ray.get_runtime_context().current_actor


def wait(reference: Any) -> Any:
    """What a call of the keeper returns or raises; for threads."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        _raise_cause(error)


async def _call(reference: Any) -> Any:
    """The same for event loops."""
    import ray

    try:
        return await reference
    except ray.exceptions.RayTaskError as error:
        _raise_cause(error)


def _raise_cause(error: Any) -> NoReturn:
    """Ours as it was raised: Ray's has the traceback in its words."""
    raise (error.cause if isinstance(error.cause, GuardrailError) else error) from None
