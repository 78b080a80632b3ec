"""The writer: groups, limits, failures; never the event loop's time."""

import asyncio
import threading
import time

import pytest

from guardrail.errors import StorageError
from guardrail.records.kept_pictures import NewRecord
from guardrail.records.writer import RecordWriter
from guardrail.testing.journal import MemoryJournal


class SlowJournal(MemoryJournal):
    """Keeps groups when it is let; `error` is raised instead."""

    def __init__(self, error=None):
        super().__init__()
        self.groups, self.checks, self.error = [], 0, error
        self.open, self.begun = threading.Event(), threading.Event()
        self.open.set()

    def append_all(self, records, pictures=()):
        self.begun.set()
        self.open.wait(60)
        if self.error is not None and self.error(records):
            raise self.error(records)
        self.groups.append(len(records))
        return super().append_all(records, pictures)

    def check(self):
        self.open.wait(20)
        self.checks += 1
        if self.error is not None and self.error([]):
            raise self.error([])


@pytest.fixture
def writer_of():
    made = []

    def make(journal, **options):
        made.append(RecordWriter(journal, **options))
        return made[-1]

    yield make
    for writer in made:
        writer.close()


def test_records_of_many_are_kept_in_order_and_in_groups(passed, writer_of):
    journal = SlowJournal()
    writer = writer_of(journal)

    async def scene():
        journal.open.clear()
        waiting = [asyncio.create_task(writer.keep(lambda: NewRecord(passed))) for _ in range(50)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        journal.open.set()
        return await asyncio.gather(*waiting)

    kept = asyncio.run(scene())
    assert kept == journal.records
    assert len(journal.groups) <= 3
    assert sum(journal.groups) == 50


def test_a_group_of_enough_records_is_not_gathered_any_longer(passed, writer_of, monkeypatch):
    monkeypatch.setattr("guardrail.records.writer._GATHER_S", 600.0)
    journal = SlowJournal()
    writer = writer_of(journal, wait_s=60.0)

    writer._is_busy = True  # as after a group of several records

    async def scene():
        await asyncio.gather(*(writer.keep(lambda: NewRecord(passed)) for _ in range(8)))

    asyncio.run(scene())
    assert journal.groups == [8]


def test_the_loop_goes_on_while_the_journal_hangs_and_the_wait_ends(passed, writer_of):
    journal = SlowJournal()
    writer = writer_of(journal, wait_s=1.0)

    async def scene():
        journal.open.clear()
        first = asyncio.create_task(writer.keep(lambda: NewRecord(passed)))
        await asyncio.to_thread(journal.begun.wait, 60)
        second = asyncio.create_task(writer.keep(lambda: NewRecord(passed)))
        turns = 0
        while not second.done():
            turns += 1
            await asyncio.sleep(0.005)
        for task in (first, second):
            with pytest.raises(StorageError, match=r"within 1 s"):
                task.result()
        journal.open.set()
        await writer.keep(lambda: NewRecord(passed))
        return turns

    assert asyncio.run(scene()) > 5
    # The first was being written when its wait ended; the second was withdrawn.
    assert len(journal.records) == 2


def test_what_waits_is_bounded(passed, writer_of):
    journal = SlowJournal()
    writer = writer_of(journal, max_waiting=2)

    async def scene():
        journal.open.clear()
        tasks = [asyncio.create_task(writer.keep(lambda: NewRecord(passed))) for _ in range(1)]
        await asyncio.to_thread(journal.begun.wait, 60)
        tasks += [asyncio.create_task(writer.keep(lambda: NewRecord(passed))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(StorageError, match="2 records wait"):
            await writer.keep(lambda: NewRecord(passed))
        journal.open.set()
        await asyncio.gather(*tasks)

    asyncio.run(scene())
    assert len(journal.records) == 3


def test_one_record_that_cannot_be_kept_does_not_fail_the_others(passed, blocked, writer_of):
    def bad(records):
        wrong = any(record.action == "block" for record in records)
        return StorageError("no", transient=False) if wrong else None

    journal = SlowJournal(bad)
    writer = writer_of(journal)

    async def scene():
        journal.open.clear()
        makes = [passed, passed, blocked, passed]
        tasks = [asyncio.create_task(writer.keep(lambda r=r: NewRecord(r))) for r in makes]
        await asyncio.sleep(0.05)
        journal.open.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(scene())
    assert [isinstance(one, StorageError) for one in results] == [False, False, True, False]


def test_a_record_that_cannot_be_made_fails_alone(passed, writer_of):
    writer = writer_of(MemoryJournal())

    async def scene():
        results = await asyncio.gather(
            writer.keep(lambda: NewRecord(passed)),
            writer.keep(lambda: 1 // 0),
            return_exceptions=True,
        )
        return [type(result).__name__ for result in results]

    assert asyncio.run(scene()) == ["Record", "ZeroDivisionError"]


def test_a_client_that_leaves_does_not_take_its_record_along(passed, writer_of):
    journal = SlowJournal()
    writer = writer_of(journal)

    async def scene():
        journal.open.clear()
        task = asyncio.create_task(writer.keep(lambda: NewRecord(passed)))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        journal.open.set()

    asyncio.run(scene())
    writer.close()
    assert len(journal.records) == 1


def test_whether_records_can_be_kept_is_asked_no_more_than_needed(passed, writer_of):
    journal = SlowJournal()
    writer = writer_of(journal)

    async def scene():
        await asyncio.gather(*(writer.check() for _ in range(20)))
        await writer.check()
        assert journal.checks <= 2  # one that had begun, and one for all the others
        journal.error = lambda _records: StorageError("gone")
        with pytest.raises(StorageError, match="gone"):
            await writer.keep(lambda: NewRecord(passed))
        with pytest.raises(StorageError, match="gone"):
            await writer.check()
        journal.error = None
        await writer.check()

    asyncio.run(scene())


def test_the_thread_ends_with_its_work_and_begins_again(passed, writer_of, monkeypatch):
    monkeypatch.setattr("guardrail.records.writer._IDLE_S", 0.01)
    writer = writer_of(MemoryJournal())
    for _ in range(2):
        asyncio.run(writer.keep(lambda: NewRecord(passed)))
        end = time.monotonic() + 60
        while writer._thread is not None and time.monotonic() < end:
            time.sleep(0.005)
        assert writer._thread is None


def test_a_closed_writer_keeps_what_waited_and_nothing_more(passed, caplog):
    journal = SlowJournal()
    writer = RecordWriter(journal)
    journal.open.clear()
    writer.keep_soon(lambda: NewRecord(passed))
    journal.open.set()
    writer.close()
    assert len(journal.records) == 1
    writer.keep_soon(lambda: NewRecord(passed))
    assert "no more are kept" in caplog.text
    with pytest.raises(StorageError, match="closed"):
        asyncio.run(writer.keep(lambda: NewRecord(passed)))
