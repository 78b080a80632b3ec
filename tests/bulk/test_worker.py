"""Workers that share a keeper, all in this process: each by its own thread and event loop."""

import asyncio
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from guardrail.bulk import worker as worker_module
from guardrail.bulk.job import MOST_BARREN
from guardrail.bulk.keeper import Keeper
from guardrail.bulk.log import DecisionLog
from guardrail.bulk.rows import BulkRow
from guardrail.bulk.worker import RayPlan, Worker
from guardrail.records.content import load_or_create_content_keys
from guardrail.records.kept_pictures import find_pictures, read_picture
from guardrail.records.options import RecordOptions
from guardrail.records.query import RecordFilter, open_existing, open_source
from tests.bulk.conftest import USD_A_CALL

pyarrow = pytest.importorskip("pyarrow")


class LocalKeeper:
    """A keeper's handle as Ray gives it: `keeper.method.remote(…)` is what is to be waited for."""

    def __init__(self, keeper, loop):
        self._keeper, self._loop = keeper, loop

    def __getattr__(self, name):
        method = getattr(self._keeper, name)
        return SimpleNamespace(
            remote=lambda *given: asyncio.run_coroutine_threadsafe(method(*given), self._loop)
        )


@pytest.fixture
def share(tmp_path, monkeypatch):
    """Opens a keeper on an event loop of its own, and yields what makes workers of models."""

    async def call(reference):
        return await asyncio.wrap_future(reference)

    monkeypatch.setattr(worker_module, "wait", lambda reference: reference.result())
    monkeypatch.setattr(worker_module, "_call", call)
    monkeypatch.setattr(worker_module, "_this_worker", asyncio.Event)

    @contextmanager
    def run(model, *, most=4, most_usd=None, records=None, content_keys=None):
        records = records or RecordOptions()
        plan = RayPlan(model.policy, (), None, model.settings, most, False, 2, 1.0, most_usd,
                       records, content_keys)  # fmt: skip
        keeper = Keeper(
            tmp_path / "log.jsonl",
            model.settings.to_dict(),
            most_usd=most_usd,
            records=records,
            wait_for_loss=asyncio.Event.wait,
        )
        made = []

        def make_worker(own=model):
            monkeypatch.setattr(worker_module, "build_engine", lambda *_: own.engine)
            made.append(Worker(plan, LocalKeeper(keeper, loop)))
            return made[-1]

        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(keeper.open(), loop).result()
            yield make_worker
        finally:
            asyncio.run_coroutine_threadsafe(keeper.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            for one in made:
                one._runner.close()  # as its process ends

    return run


def table_of(rows):
    return pyarrow.Table.from_pylist([dataclasses.asdict(one) for one in rows])


def rows_of(pictures, prompt="What?", *, first=1):
    return [
        BulkRow(file.name, prompt, str(file), number)
        for number, file in enumerate(pictures, start=first)
    ]


def at_once(*calls):
    with ThreadPoolExecutor(len(calls)) as pool:
        return [one.result() for one in [pool.submit(*call) for call in calls]]


@pytest.mark.parametrize("good_rows", [(), (20, 50)])
def test_rows_that_fail_are_counted_over_all_batches_of_a_worker(bench, pictures, share, good_rows):
    rows = [
        BulkRow(f"row {i}", "What?" if i in good_rows else f"FAIL {i}", str(pictures[0]), i)
        for i in range(80)
    ]
    stopped_after = None
    with share(bench()) as make_worker:
        worker = make_worker()
        for start in range(0, len(rows), 16):
            if any(worker(table_of(rows[start:][:16]))["stopped"].to_pylist()):
                stopped_after = start + 16
                break
    assert stopped_after == (None if good_rows else MOST_BARREN)


def test_equal_rows_that_two_workers_have_at_the_same_moment_are_paid_for_once(
    bench, pictures, share
):
    model, other = bench(), bench()
    both = threading.Barrier(2)
    with share(model) as make_worker:
        workers = [make_worker(model), make_worker(other)]

        def work(worker, rows):
            both.wait()
            return worker(rows)

        at_once(
            *((work, one, table_of(rows_of(pictures[:4], first=first)))
              for one, first in zip(workers, (1, 5), strict=True))
        )  # fmt: skip
    assert model.calls + other.calls == 4 * calls_of_one(bench, pictures)


def calls_of_one(bench, pictures):
    model = bench()
    asyncio.run(model.decider().decide(rows_of(pictures[:1])[0]))
    return model.calls


def test_workers_share_the_money_and_lose_nothing_that_is_paid_for(
    bench, pictures, share, tmp_path
):
    most_usd = 3.5 * USD_A_CALL * calls_of_one(bench, pictures)
    model = bench()
    with share(model, most_usd=most_usd) as make_worker:
        workers = [make_worker(), make_worker()]
        halves = (pictures[:5], pictures[5:])
        found = at_once(
            *((one, table_of(rows_of(half)))
              for one, half in zip(workers, halves, strict=True))
        )  # fmt: skip
        stopped = {word for batch in found for word in batch["stopped"].to_pylist()}
        (word,) = stopped
        assert word.startswith(f"the job's limit of US$ {most_usd:g} is reached; give more")
    with DecisionLog(tmp_path / "log.jsonl", model.settings.to_dict()) as log:
        assert log.calls == model.calls
        assert 0 < log.cost_usd <= most_usd


def test_records_reach_the_one_who_writes_them(bench, pictures, share, tmp_path):
    model, place = bench(), tmp_path / "records.db"
    keys = load_or_create_content_keys(tmp_path / "content.key")
    records = RecordOptions(place, None, True, tmp_path / "content.key", True)
    with share(model, records=records, content_keys=keys) as make_worker:
        worker = make_worker()
        worker(table_of(rows_of([*pictures[:2], pictures[0]])))
        worker(table_of([*rows_of(pictures[:1]), *rows_of(pictures[2:3], "FAIL", first=9)]))
    with open_source(str(place)) as source:
        found = [source.find(one.record_id) for one in source.newest(RecordFilter(), 100)]
    assert sorted(one.action.value for one in found) == ["fault", "pass", "pass"]
    with open_existing(str(place)) as database:
        kept = {
            read_picture(database, one, number, keys)
            for one in found
            for number in find_pictures(database, one.record_id)
        }
    assert kept == {file.read_bytes() for file in pictures[:3]}
