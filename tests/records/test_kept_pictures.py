"""Pictures beside records: sealed, bounded, erased with what was said, and never another one."""

import asyncio
import gc
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from guardrail.database.migrate import open_database
from guardrail.errors import CertificationError, ConfigError
from guardrail.images.keys import KeyRing, NoiseKey
from guardrail.records.content import ContentKeys
from guardrail.records.database_audit import audit_database, audit_record
from guardrail.records.kept_pictures import find_pictures, read_picture
from guardrail.records.open import open_journal
from guardrail.records.options import RecordOptions, Retention
from guardrail.records.query import open_source
from guardrail.records.record import Omission, Record
from guardrail.records.recorder import Recorder
from guardrail.records.retention import Pruned, erase_contents, prune
from guardrail.records.sent_pictures import (
    LARGEST_PICTURE_BYTES,
    LARGEST_REQUEST_BYTES,
    PictureRoom,
    SentPictures,
)
from guardrail.records.tables import PICTURES
from guardrail.records.writer import RecordWriter
from guardrail.testing.journal import MemoryJournal
from tests.records.conftest import CONTENT_KEYS, decide, make_engine

FILES = [b"first picture " * 40, b"second picture " * 40]


def keep(journal, files=FILES, *, room=None, count=1):
    """The records of decisions whose requests had these pictures."""
    engine = make_engine()
    verdict, chat = decide(engine, pictures=2)
    room = room or PictureRoom()
    writer = RecordWriter(journal)
    recorder = Recorder(writer, engine, content_keys=CONTENT_KEYS, picture_room=room)

    async def go():
        found = []
        for _ in range(count):
            sent = SentPictures()
            if files is not None:
                sent.fill(files, recorder.picture_room)
            found.append(await recorder.keep(verdict, chat, sent=sent))
        return found

    try:
        return asyncio.run(go())
    finally:
        writer.close()


@pytest.fixture
def kept(database_url):
    """A database with two records of two pictures each, and the records."""
    with closing(open_journal(database_url)) as journal:
        ids = keep(journal, count=2)
    with open_source(database_url) as source:
        records = [source.find(one) for one in ids]
    with closing(open_database(database_url)) as database:
        yield database, records


def test_a_picture_comes_back_as_it_was_sent(kept):
    database, (record, _) = kept
    assert find_pictures(database, record.record_id) == {0, 1}
    for number, data in enumerate(FILES):
        assert read_picture(database, record, number, CONTENT_KEYS) == data
    assert read_picture(database, record, 2, CONTENT_KEYS) is None
    assert audit_database(database).records == 2
    assert audit_record(database, record.record_id) == 1
    assert Record.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_nothing_of_a_picture_is_readable_in_the_file(sqlite_url, tmp_path):
    with closing(open_journal(sqlite_url)) as journal:
        (record_id,) = keep(journal)
        written = b"".join(file.read_bytes() for file in tmp_path.glob("guardrail.db*"))
    assert record_id.encode() in written
    assert all(data[:14] not in written for data in FILES)


def test_another_key_none_and_an_older_one_of_the_ring(kept):
    database, (record, _) = kept
    other, first = NoiseKey(bytes([7] * 32)), NoiseKey(bytes(32))
    for keys in (None, ContentKeys(KeyRing(other))):
        with pytest.raises(ConfigError):
            read_picture(database, record, 0, keys)
    rotated = ContentKeys(KeyRing(other, (first,)))
    assert read_picture(database, record, 0, rotated) == FILES[0]


@pytest.mark.parametrize("fault", ["changed", "moved", "swapped", "added"])
def test_a_picture_that_is_not_the_one_that_was_kept(kept, fault):
    database, (record, other) = kept
    here, there = ((PICTURES.c.record_id == one.record_id) for one in (record, other))
    first, second = PICTURES.c.number == 0, PICTURES.c.number == 1
    with database.write() as connection:
        change = sa.update(PICTURES).where(here, first)
        match fault:
            case "changed":
                connection.execute(change.values(sealed=bytes(99)))
            case "moved":
                connection.execute(sa.delete(PICTURES).where(here, first))
                connection.execute(
                    sa.update(PICTURES).where(there, first).values(record_id=record.record_id)
                )
            case "swapped":
                connection.execute(change.values(number=5))
                connection.execute(sa.update(PICTURES).where(here, second).values(number=0))
            case "added":
                connection.execute(sa.update(PICTURES).where(here, second).values(number=2))
    if fault == "added":
        assert read_picture(database, record, 2, CONTENT_KEYS) is None
    else:
        with pytest.raises(CertificationError, match="not the one"):
            read_picture(database, record, 0, CONTENT_KEYS)
    for check in (audit_database, lambda of: audit_record(of, record.record_id)):
        with pytest.raises(CertificationError, match="not the one"):
            check(database)


def test_a_sealed_picture_fits_its_own_place_alone(kept):
    database, (record, _) = kept
    with database.read() as connection:
        sealed = connection.execute(
            sa.select(PICTURES.c.sealed).where(PICTURES.c.record_id == record.record_id)
        ).scalars().first()  # fmt: skip
    with pytest.raises(CertificationError):
        CONTENT_KEYS.open_bytes(sealed, f"{record.record_id}/picture/1")
    with pytest.raises(CertificationError):
        CONTENT_KEYS.open(sealed, record.record_id)


def test_pictures_are_erased_with_what_was_said_and_the_record_still_verifies(kept):
    database, (record, other) = kept
    assert erase_contents(database, [record.record_id]) == Pruned(contents=1, pictures=2)
    assert find_pictures(database, record.record_id) == frozenset()
    assert read_picture(database, record, 0, CONTENT_KEYS) is None
    assert read_picture(database, other, 0, CONTENT_KEYS) == FILES[0]
    assert audit_database(database).records == 2


@pytest.mark.parametrize("retention", [Retention(content_days=2.0), Retention(records_days=2.0)])
def test_retention_removes_pictures_in_time(kept, monkeypatch, retention):
    monkeypatch.setattr("guardrail.records.retention._PICTURES_AT_ONCE", 1)
    database, _ = kept
    now = datetime.now(UTC)
    assert prune(database, retention, now=now + timedelta(days=1)) == Pruned()
    pruned = prune(database, retention, now=now + timedelta(days=3))
    assert (pruned.contents, pruned.pictures) == (2, 4)
    assert pruned.records == (2 if retention.records_days else 0)


def test_what_is_too_large_is_not_kept_and_said_so():
    room, sent = PictureRoom(), SentPictures()
    full = bytes(LARGEST_PICTURE_BYTES)
    sent.fill([full + b"x", full, full, b"x", b""], room)
    told = [one if isinstance(one, Omission) else len(one.data) for one in sent.pictures]
    assert 2 * len(full) == LARGEST_REQUEST_BYTES
    assert told == ["too large", len(full), len(full), "too large together", 0]


def test_a_request_that_ended_before_its_pictures_were_read_says_so():
    journal = MemoryJournal()
    keep(journal, files=None)
    assert [one.omitted for one in journal.records[0].kept_pictures] == [Omission.NOT_READ] * 2
    assert journal.pictures == []


def test_without_a_room_nothing_is_held():
    sent = SentPictures()
    sent.fill(FILES, None)
    assert sent.take() == ()


def test_room_is_bounded_and_given_back_when_the_record_is_written():
    size = sum(map(len, FILES))
    room, journal = PictureRoom(size), MemoryJournal()
    waiting = SentPictures()
    waiting.fill(FILES, room)
    keep(journal, room=room)
    assert [one.omitted for one in journal.records[0].kept_pictures] == [Omission.NO_ROOM] * 2
    waiting.take()
    gc.collect()
    keep(journal, room=room, count=5)  # each finds the room that the one before it gave back
    told = [one.omitted for record in journal.records[1:] for one in record.kept_pictures]
    assert told == [Omission.NONE] * 10


def test_a_file_of_lines_keeps_no_pictures(tmp_path, passed):
    with closing(open_journal(tmp_path / "records.jsonl")) as journal:
        with pytest.raises(ConfigError, match="database"):
            keep(journal)
        assert Path(tmp_path / "records.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"place": "r.jsonl", "keep_content": True, "content_key": "k"}, "database"),
        ({"place": "r.db"}, "--keep-content"),
        ({}, "--records"),
    ],
)
def test_options_that_contradict_each_other(options, words):
    with pytest.raises(ConfigError, match=words):
        RecordOptions(keep_pictures=True, **options)


def test_a_recorder_without_keys_keeps_no_pictures():
    with pytest.raises(ConfigError, match="sealed"):
        Recorder(RecordWriter(MemoryJournal()), make_engine(), picture_room=PictureRoom())
