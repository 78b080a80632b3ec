"""The keeper: money and contents of a lost batch, what stops a job, and both halves of a write."""

import asyncio
import dataclasses
import json
from contextlib import asynccontextmanager

import pytest

from guardrail.bulk.keeper import Keeper
from guardrail.bulk.outcome import RowDecision, RowOutcome
from guardrail.engine.verdicts import from_cancellation
from guardrail.errors import CertificationError, LimitError, StorageError
from guardrail.records.kept_pictures import NewRecord
from guardrail.records.options import RecordOptions
from guardrail.records.recorder import build_record
from guardrail.types import picture_chat

KEY = "ab" * 32


@pytest.fixture
def open_keeper(tmp_path):
    """A keeper whose workers are events: one that is set is lost."""

    @asynccontextmanager
    async def run(most_usd=None, records=None, wait_for_loss=asyncio.Event.wait):
        keeper = Keeper(
            tmp_path / "log.jsonl",
            {"policy": "test"},
            most_usd=most_usd,
            records=RecordOptions(records),
            wait_for_loss=wait_for_loss,
        )
        await keeper.open()
        try:
            yield keeper
        finally:
            await keeper.close()

    return run


def outcome(name="a.png", decision=RowDecision.PASS, **fields):
    return RowOutcome(name=name, row=0, identity=name, decision=decision, reason="harmless",
                      key=KEY, **fields).to_dict()  # fmt: skip


async def waits(awaitable):
    """A task that has gone as far as it can without others."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    return task


def test_a_content_of_a_lost_worker_goes_to_whoever_waits_for_it(open_keeper):
    async def run():
        async with open_keeper() as keeper:
            lost = asyncio.Event()
            assert await keeper.begin("one", lost) == ""
            await keeper.begin("two", asyncio.Event())
            await keeper.take("one", KEY)
            second = await waits(keeper.take("two", KEY))
            lost.set()
            await second
            for call in (keeper.take("one", KEY), keeper.write("one", [outcome()], [])):
                with pytest.raises(StorageError, match="given up for lost"):
                    await call
            assert await keeper.find(KEY) is None
            await keeper.write("two", [outcome()], [])
            assert (await keeper.find(KEY)).name == "a.png"

    asyncio.run(run())


def test_a_content_that_a_lost_worker_waited_for_is_not_lent_to_it(open_keeper):
    async def run():
        async with open_keeper() as keeper:
            lost = asyncio.Event()
            await keeper.begin("one", lost)
            await keeper.begin("two", asyncio.Event())
            await keeper.take("two", KEY)
            first = await waits(keeper.take("one", KEY))
            await keeper.lose("one")
            await keeper.free("two", KEY)
            with pytest.raises(StorageError, match="given up for lost"):
                await first
            await keeper.take("two", KEY)

    asyncio.run(run())


def test_a_worker_of_which_nothing_can_be_told_any_more_is_given_up_for_lost(open_keeper):
    async def fail(worker):
        await worker.wait()
        raise RuntimeError("cannot be told")

    async def run():
        async with open_keeper(wait_for_loss=fail) as keeper:
            unknown = asyncio.Event()
            await keeper.begin("one", unknown)
            await keeper.begin("two", asyncio.Event())
            await keeper.take("one", KEY)
            second = await waits(keeper.take("two", KEY))
            unknown.set()
            async with asyncio.timeout(60):
                await second

    asyncio.run(run())


def test_a_crash_at_its_end_leaves_no_batch_under_way(open_keeper):
    async def run():
        async with open_keeper() as keeper:
            await keeper.begin("one", asyncio.Event())
            await keeper.begin("two", asyncio.Event())
            await keeper.take("one", KEY)
            with pytest.raises(AssertionError):
                await keeper.end("one", "", None, [None])  # where no records are kept
            async with asyncio.timeout(60):
                await keeper.take("two", KEY)

    asyncio.run(run())


def test_what_a_lost_worker_set_aside_counts_as_spent_and_teaches_nothing(open_keeper):
    async def run():
        async with open_keeper(10.0) as keeper:
            lost = asyncio.Event()
            await keeper.begin("one", lost)
            await keeper.begin("two", asyncio.Event())
            learnt = await keeper.reserve("two", None)
            await keeper.settle("two", learnt.token, 1.0)
            held = await keeper.reserve("one", None)
            assert held.usd == 2.0  # twice the dearest one
            waiting = await waits(keeper.reserve("one", 9.0))
            lost.set()
            with pytest.raises(LimitError, match=r"limit of US\$ 10 is reached"):
                await waiting
            with pytest.raises(StorageError, match="given up for lost"):
                await keeper.settle("one", held.token, 0.0)
            left = await keeper.reserve("two", 7.0)
            assert left.usd == 7.0  # of 10, 1 was spent and 2 are lost
            await keeper.settle("two", left.token, 0.5)
            assert (await keeper.reserve("two", None)).usd == 2.0

    asyncio.run(run())


def test_money_that_comes_free_for_a_lost_worker_is_given_back(open_keeper):
    async def run():
        async with open_keeper(10.0) as keeper:
            await keeper.begin("one", asyncio.Event())
            await keeper.begin("two", asyncio.Event())
            first = await keeper.reserve("two", None)  # all there is
            waiting = await waits(keeper.reserve("one", None))
            await keeper.lose("one")
            await keeper.settle("two", first.token, 1.0)
            with pytest.raises(StorageError, match="given up for lost"):
                await waiting
            assert (await keeper.reserve("two", 9.0)).usd == 9.0

    asyncio.run(run())


def test_a_stop_lets_what_is_under_way_end_and_begins_nothing(open_keeper):
    async def run():
        async with open_keeper() as keeper:
            for batch in ("one", "two"):
                await keeper.begin(batch, asyncio.Event())
            await keeper.take("two", KEY)
            await keeper.end("one", "no money", None, [])
            assert await keeper.begin("three", asyncio.Event()) == "no money"
            with pytest.raises(LimitError, match="no money"):
                await keeper.take("two", "cd" * 32)
            drained = await waits(keeper.drain())
            await keeper.write("two", [outcome()], [])
            await keeper.end("two", "another word", StorageError("the disk is full"), [])
            with pytest.raises(StorageError, match="the disk is full"):
                await drained
            assert await keeper.begin("four", asyncio.Event()) == "no money"

    asyncio.run(run())


def test_an_outcome_whose_record_cannot_be_kept_is_not_in_the_log(open_keeper, bench, tmp_path):
    kept = build_record(from_cancellation(), picture_chat("scripted", "What?"), bench().engine)
    bad = dataclasses.replace(kept, elapsed_s=float("nan"))

    async def run():
        async with open_keeper(records=tmp_path / "records.jsonl") as keeper:
            await keeper.check_records()
            await keeper.begin("one", asyncio.Event())
            await keeper.write("one", [outcome("a.png")], [NewRecord(kept)])
            with pytest.raises(CertificationError, match="cannot carry"):
                await keeper.write("one", [outcome("b.png")], [NewRecord(bad)])
            await keeper.end("one", "", None, [NewRecord(kept)])  # of a row without an outcome
            await keeper.begin("two", asyncio.Event())
            await keeper.end("two", "", None, [NewRecord(bad)])
            with pytest.raises(CertificationError, match="cannot carry"):
                await keeper.drain()

    asyncio.run(run())
    log = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in log[1:]] == ["a.png"]
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 2
