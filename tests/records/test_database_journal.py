"""Records in a database: kept whole, chained, anchored, found; every tampering is found out."""

import asyncio
import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrail.database.database import connect
from guardrail.database.migrate import open_database
from guardrail.errors import CertificationError, ConfigError, StorageError
from guardrail.records.content import open_content
from guardrail.records.database_audit import audit_database
from guardrail.records.database_journal import DatabaseJournal
from guardrail.records.open import open_journal
from guardrail.records.options import RecordOptions, Retention
from guardrail.records.query import DatabaseSource, FileSource, RecordFilter, open_source
from guardrail.records.retention import Pruned, erase_contents, prune
from guardrail.records.rows import summarize
from guardrail.records.signing import load_or_create_signer, load_verifier


def renew(record, **changes):
    """The same decision once more, under an id of its own."""
    return dataclasses.replace(record, record_id=os.urandom(16).hex(), **changes)


def write(url, *records, **options):
    with closing(open_journal(url, **options)) as journal:
        return journal.append_all(records)


def audit(url, **options):
    with closing(open_database(url)) as database:
        return audit_database(database, **options)


def execute(url, statement):
    with closing(open_database(url)) as database, database.write() as connection:
        connection.exec_driver_sql(statement)


def test_records_are_kept_whole_and_found(database_url, kit, passed, blocked):
    full = kit.make_record(keep_content=True)
    kept = write(database_url, passed, blocked, full)
    assert [record.sequence for record in kept] == [1, 2, 3]
    assert kept[1].previous == kept[0].digest
    with open_source(database_url) as source:
        assert [source.find(record.record_id) for record in kept] == kept
        assert source.find("none") is None
        content = open_content(source.find(full.record_id), kit.CONTENT_KEYS)
        assert content["answer"]["content"] == kit.CLEAN
        assert list(source.scan(RecordFilter())) == kept
        found = source.newest(RecordFilter(action="block"), 9)
        assert found == [summarize(kept[1])]
        assert found[0].category == blocked.samples[0].reason
        assert found == source.newest(RecordFilter(stopped_by="request"), 9)
        newest = source.newest(RecordFilter(), 2)
    assert newest == sorted(map(summarize, kept), key=lambda s: (s.created, s.record_id))[:0:-1]
    found = audit(database_url)
    assert (found.records, found.passed, found.chains, found.unanchored) == (3, 2, 1, 0)
    assert found.anchors == 2  # at the start and at the close


def test_records_of_an_older_schema_are_found_by_the_test_that_stopped_them(
    database_url, passed, blocked
):
    kept = write(database_url, passed, blocked)
    for statement in (
        "DROP INDEX records_by_stopped_by",
        "DROP INDEX records_overview",
        "ALTER TABLE records DROP COLUMN stopped_by",
        "CREATE INDEX records_overview ON records (created)",
        "UPDATE alembic_version SET version_num = '0009'",
    ):
        with closing(connect(database_url)) as database, database.write() as connection:
            connection.exec_driver_sql(statement)
    with open_source(database_url) as source:
        assert source.newest(RecordFilter(stopped_by="none"), 9) == [summarize(kept[0])]
        assert source.newest(RecordFilter(stopped_by="request"), 9) == [summarize(kept[1])]
    assert audit(database_url).records == 2  # columns say what documents say


def test_pages_follow_each_other(database_url, passed, monkeypatch):
    monkeypatch.setattr("guardrail.records.query._PAGE", 7)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [(start + timedelta(seconds=i // 3)).isoformat(timespec="milliseconds")
             for i in range(30)]  # fmt: skip
    kept = write(database_url, *(renew(passed, created=time) for time in times))
    with open_source(database_url) as source:
        found = source.newest(RecordFilter(), 100)
        assert {one.record_id for one in found} == {one.record_id for one in kept}
        times = [one.created for one in found]
        assert times == sorted(times, reverse=True)
        since, until = start + timedelta(seconds=2), start + timedelta(seconds=5)
        window = source.newest(RecordFilter(since, until), 100)
        assert len(window) == 9
        assert list(source.scan(RecordFilter())) == kept


texts = st.text(max_size=20)


@given(
    model=texts, upstream=texts, principal=texts, request_id=texts,
    score=st.none() | st.floats(0, 1), cost=st.none() | st.floats(0, 1e6),
    elapsed=st.floats(0, 1e9), calls=st.integers(0, 2**31 - 1),
)  # fmt: skip
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_any_record_reads_back_as_it_was(
    kind, journal_of_kind, passed, model, upstream, principal, request_id, score, cost, elapsed,
    calls,
):  # fmt: skip
    journal, database = journal_of_kind(kind)
    first = dataclasses.replace(passed.samples[0], score=score)
    record = renew(
        passed,
        model=model,
        upstream=upstream,
        principal=principal,
        samples=(first, *passed.samples[1:]),
        request_id=request_id,
        cost_usd=cost,
        elapsed_s=elapsed,
        calls=calls,
    )
    (kept,) = journal.append_all([record])
    source = DatabaseSource(database)
    assert source.find(record.record_id) == kept
    assert kept.compute_digest() == kept.digest


@pytest.fixture
def journal_of_kind(request):
    opened = {}

    def of(kind):
        if kind not in opened:
            url = request.getfixturevalue(f"{kind}_url")
            database = open_database(url)
            opened[kind] = DatabaseJournal(database), database
        return opened[kind]

    yield of
    for journal, _ in opened.values():
        journal.close()


TAMPER = {
    "a column": ("UPDATE records SET action = 'pass' WHERE sequence = 2", "column 'action'"),
    "a document": (
        "UPDATE records SET document = replace(document, '\"calls\":', '\"calls\":1')",
        "column 'calls'|digest",
    ),
    "one removed": ("DELETE FROM records WHERE sequence = 2", "removed, added or moved"),
    "the first removed": ("DELETE FROM records WHERE sequence = 1", "not by retention"),
    "the last removed": ("DELETE FROM records WHERE sequence = 3", "records at the end"),
    "all removed": ("DELETE FROM records", "records at the end"),
    "all and their writer": ("DELETE FROM records; DELETE FROM writers", "records at the end"),
    "an anchor changed": (
        "UPDATE anchors SET document = replace(document, 'closed', 'grown') WHERE number = 2",
        "anchor 2: it was changed",
    ),
    "an anchor removed": ("DELETE FROM anchors WHERE number = 1", "anchor 1"),
    "content changed": (
        "UPDATE contents SET sealed = x'00'",
        "content was changed",
    ),
}


@pytest.mark.parametrize(("statement", "words"), TAMPER.values(), ids=TAMPER)
def test_tampering_is_found_out(sqlite_url, kit, blocked, passed, statement, words):
    write(sqlite_url, passed, blocked, kit.make_record(keep_content=True))
    assert audit(sqlite_url).records == 3
    for part in statement.split("; "):
        execute(sqlite_url, part)
    with pytest.raises(CertificationError, match=words):
        audit(sqlite_url)


def test_an_end_cut_off_with_its_anchors_shows_by_a_kept_digest(sqlite_url, passed):
    write(sqlite_url, passed)
    write(sqlite_url, renew(passed))
    expected = audit(sqlite_url).last_anchor
    assert audit(sqlite_url, expect_anchor=expected).records == 2
    execute(sqlite_url, "DELETE FROM anchors WHERE number > 2")
    newest = "SELECT max(started) FROM writers"
    execute(sqlite_url, f"DELETE FROM writers WHERE started = ({newest})")  # noqa: S608
    execute(sqlite_url, "DELETE FROM records WHERE writer NOT IN (SELECT writer FROM writers)")
    assert audit(sqlite_url).records == 1  # by itself it is consistent
    with pytest.raises(CertificationError, match="expected anchor is not there"):
        audit(sqlite_url, expect_anchor=expected)


def test_signatures_are_checked(database_url, passed, tmp_path):
    signer = load_or_create_signer(tmp_path / "sign.pem")
    write(database_url, passed, renew(passed), signer=signer)
    verifier = load_verifier(tmp_path / "sign.pem.pub")
    assert audit(database_url, verifier=verifier).signed == 2
    write(database_url, renew(passed))
    with pytest.raises(CertificationError, match="signature"):
        audit(database_url, verifier=verifier)


WRITE = """
import dataclasses, json, os, sys
from guardrail.records.open import open_journal
from guardrail.records.record import Record
url, path, count = sys.argv[1:]
record = Record.from_dict(json.loads(open(path).read()))
journal = open_journal(url)
for _ in range(int(count)):
    journal.append_all([dataclasses.replace(record, record_id=os.urandom(16).hex())] * 1)
if count != "7":
    journal.close()
"""


@pytest.mark.nightly
def test_two_processes_write_at_once(database_url, passed, tmp_path, repository):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(passed.to_dict()))
    open_database(database_url).close()
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    writing = [
        subprocess.Popen([sys.executable, "-c", WRITE, database_url, str(path), count],
                         env=environment)
        for count in ("20", "7")
    ]  # fmt: skip
    assert [process.wait(60) for process in writing] == [0, 0]
    found = audit(database_url)
    assert (found.records, found.chains) == (27, 2)


def test_a_write_of_unknown_end_does_not_break_the_chain(database_url, passed):
    database = open_database(database_url)
    journal = DatabaseJournal(database)
    (first,) = journal.append_all([passed])
    with pytest.raises(StorageError) as caught:
        journal.append_all([renew(passed), passed])  # the second id is there already
    assert not caught.value.transient
    (second,) = journal.append_all([renew(passed)])
    assert (second.sequence, second.previous) == (2, first.digest)
    journal.close()
    assert audit(database_url).records == 2


def test_anchors_are_written_as_chains_grow(sqlite_url, passed):
    database = open_database(sqlite_url)
    journal = DatabaseJournal(database, anchor_every=3)
    for _ in range(7):
        journal.append_all([renew(passed)])
    found = audit(sqlite_url)
    assert (found.anchors, found.unanchored) == (3, 1)
    journal.close()


def test_a_foreign_lock_ends_a_write_and_a_check_in_time(sqlite_url, passed):
    journal = open_journal(sqlite_url, lock_wait_s=0.2)
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
        other.execute("BEGIN IMMEDIATE")
        for act in (journal.check, lambda: journal.append_all([passed])):
            with pytest.raises(StorageError, match="locked"):
                act()
        other.rollback()
    journal.check()
    journal.append_all([passed])
    journal.close()
    assert audit(sqlite_url).records == 1


def aged(record, days):
    time = datetime.now(UTC) - timedelta(days=days)
    return renew(record, created=time.isoformat(timespec="milliseconds"))


def test_what_is_old_is_removed_and_the_rest_still_verifies(database_url, kit, passed):
    full = kit.make_record(keep_content=True)
    first, second = write(database_url, aged(passed, 40), aged(passed, 20))
    write(database_url, aged(passed, 50), aged(full, 20), aged(full, 1))
    with closing(open_database(database_url)) as database:
        pruned = prune(database, Retention(records_days=30, content_days=10))
        assert (pruned.records, pruned.contents) == (2, 1)
        assert prune(database, Retention(records_days=30, content_days=10)).records == 0
        source = DatabaseSource(database)
        assert source.find(first.record_id) is None
        assert source.find(second.record_id) == second
        found = audit_database(database)
        assert (found.records, found.pruned) == (3, 2)
        assert prune(database, Retention(records_days=0.5)).records == 3
        assert audit_database(database).pruned == 5


def test_removal_by_hand_is_no_retention(sqlite_url, passed):
    write(sqlite_url, aged(passed, 40), passed, renew(passed))
    with closing(open_database(sqlite_url)) as database:
        prune(database, Retention(records_days=30))
    execute(sqlite_url, "DELETE FROM records WHERE sequence = 2")
    with pytest.raises(CertificationError, match="not by retention"):
        audit(sqlite_url)


def test_erased_content_is_gone_and_the_chain_holds(database_url, kit):
    kept = write(database_url, *(kit.make_record(keep_content=True) for _ in range(2)))
    with closing(open_database(database_url)) as database:
        assert erase_contents(database, [kept[0].record_id]) == Pruned(contents=1)
        source = DatabaseSource(database)
        assert source.find(kept[0].record_id).content is None
        assert source.find(kept[1].record_id).content is not None
        assert audit_database(database).records == 2


def test_a_known_request_is_found_with_the_key_only(kit, passed):
    chat, pictures = kit.request(1)
    from guardrail.engine.canonical_chat import request_digest
    from guardrail.records.replay import name_request, replay

    plain = request_digest(chat, pictures).hex()
    assert plain not in json.dumps(passed.to_dict())
    assert passed.request_digest == name_request(plain, kit.KEY)
    assert passed.certificate["request_digest"] == passed.request_digest
    assert replay(passed.seal(), chat, pictures, kit.KEY).certificate.request_digest == plain


def test_files_and_databases_are_filtered_alike(sqlite_url, tmp_path, passed, blocked):
    file = tmp_path / "records.jsonl"
    records = [passed, blocked, renew(passed, model="other"), renew(blocked, would_block=True)]
    write(sqlite_url, *records)
    write(file, *records)
    filters = [
        RecordFilter(),
        RecordFilter(action="pass"),
        RecordFilter(model="other"),
        RecordFilter(would_block=True),
        RecordFilter(reason="harmful", action="pass"),
        RecordFilter(stopped_by="request"),
        RecordFilter(stopped_by="crops"),
    ]
    with open_source(sqlite_url) as database, open_source(str(file)) as lines:
        assert isinstance(lines, FileSource)
        for which in filters:
            ids = [
                {one.record_id for one in source.newest(which, 9)} for source in (database, lines)
            ]
            assert ids[0] == ids[1], which


@pytest.mark.parametrize("place", ["missing.jsonl", "missing.db", "sqlite:///missing.db"])
def test_a_place_without_records_is_named(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="there is no such"), open_source(place):
        pass
    assert not list(tmp_path.iterdir())


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="only a database"):
        RecordOptions("r.jsonl", retention=Retention(records_days=1))
    with pytest.raises(ConfigError, match="--records"):
        RecordOptions(retention=Retention(records_days=1))


def test_a_recorder_keeps_in_a_database(database_url, kit):
    from guardrail.records.recorder import Recorder
    from guardrail.records.writer import RecordWriter

    engine = kit.make_engine()
    with closing(open_journal(database_url)) as journal, closing(RecordWriter(journal)) as writer:
        recorder = Recorder(writer, engine)
        chat, pictures = kit.request(1)

        async def scene():
            verdict = await engine.decide(chat, pictures)
            return await asyncio.gather(*(recorder.keep(verdict, chat) for _ in range(40)))

        names = asyncio.run(scene())
    found = audit(database_url)
    assert (found.records, len(set(names))) == (40, 40)
