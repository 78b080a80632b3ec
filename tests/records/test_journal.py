"""Journals: chained, sealed, whole, for any number of writers."""

import json
import os
import threading

import pytest

from guardrail.canonical import canonical_json
from guardrail.errors import ConfigError, StorageError
from guardrail.records import journal as module
from guardrail.records.audit import audit_file, read_records
from guardrail.records.journal import FileJournal
from guardrail.records.signing import load_or_create_signer


def read(path):
    return [record for _, record in read_records(path)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records.jsonl"


def test_records_are_kept_as_returned(journal, passed, blocked, path):
    kept = [journal.append(passed), journal.append(blocked)]
    assert read(path) == kept
    assert kept[0].previous == ""
    assert kept[1].previous == kept[0].digest
    assert all(record.digest == record.compute_digest() for record in kept)


def test_the_line_is_in_the_file_before_append_returns(journal, passed, path):
    kept = journal.append(passed)
    assert json.loads(path.read_bytes())["digest"] == kept.digest


def test_a_second_journal_continues_the_chain(journal, passed, path):
    first = journal.append(passed)
    other = FileJournal(path)
    second = other.append(passed)
    third = journal.append(passed)
    other.close()
    assert (second.previous, third.previous) == (first.digest, second.digest)
    assert audit_file(path).records == 3


def test_a_torn_record_is_mended_and_the_chain_goes_on(journal, passed, path):
    first = journal.append(passed)
    with path.open("ab") as stream:
        stream.write(path.read_bytes()[:500])
    second = journal.append(passed)
    assert second.previous == first.digest
    assert audit_file(path).records == 2


def test_a_record_that_lacks_only_its_line_break_is_part_of_the_chain(passed, path):
    first = FileJournal(path)
    first.append(passed)
    last = first.append(passed)
    first.close()
    path.write_bytes(path.read_bytes()[:-1])
    again = FileJournal(path)
    assert again.append(passed).previous == last.digest
    again.close()
    assert audit_file(path).records == 3


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "policy.yaml"
    other.write_text("name: mine")
    with pytest.raises(ConfigError, match="holds something else"):
        FileJournal(other)
    assert other.read_text() == "name: mine"


LAST_LINES = {
    "no digest": '{"action":"pass"}',
    "a digest that is no text": '{"action":"pass","digest":7}',
    "an empty digest": '{"action":"pass","digest":""}',
    "half of one": '{"action":"pass","digest":"ab',
    "a list": '["digest"]',
    "a name twice": '{"action":"pass","digest":"a","digest":"b"}',
    "other words": "removed by hand",
    "nothing": "",
}


@pytest.mark.parametrize("line", LAST_LINES.values(), ids=LAST_LINES)
def test_a_last_line_that_is_no_record_is_told_at_the_start(path, passed, line):
    first = FileJournal(path)
    first.append(passed)
    first.close()
    kept = path.read_bytes() + line.encode() + b"\n"
    path.write_bytes(kept)
    with pytest.raises(ConfigError, match="not a record"):
        FileJournal(path)
    assert path.read_bytes() == kept


def test_one_that_another_program_adds_later_keeps_answers_from_leaving(journal, passed, path):
    journal.append(passed)
    with path.open("a") as stream:
        stream.write('{"action":"pass"}\n')
    with pytest.raises(ConfigError, match="not a record"):
        journal.append(passed)


def test_content_that_is_too_long_is_dropped_and_the_decision_kept(kit, path, monkeypatch):
    record = kit.make_record(keep_content=True)
    monkeypatch.setattr(module, "LARGEST_LINE_BYTES", len(canonical_json(record.to_dict())) - 10)
    journal = FileJournal(path)
    assert journal.append(record).content is None
    journal.close()
    assert audit_file(path).records == 1


def test_a_closed_journal_keeps_nothing(passed, path):
    journal = FileJournal(path)
    journal.close()
    with pytest.raises(ConfigError, match="closed already"):
        journal.append(passed)


@pytest.mark.parametrize("signed", [False, True])
def test_many_threads_and_files_make_one_chain(passed, path, tmp_path, signed):
    signer = load_or_create_signer(tmp_path / "sign.pem") if signed else None
    journals = [FileJournal(path, signer=signer) for _ in range(3)]
    digests = []

    def work(journal):
        digests.extend(journal.append(passed).digest for _ in range(15))

    threads = [threading.Thread(target=work, args=(journals[i % 3],)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for journal in journals:
        journal.close()
    audit = audit_file(path)
    assert audit.records == 90
    assert audit.signed == (90 if signed else 0)
    assert {record.digest for record in read(path)} == set(digests)


def test_a_rotated_file_is_followed_and_its_chain_goes_on(passed, path):
    journals = [FileJournal(path), FileJournal(path)]
    first = [journal.append(passed) for journal in journals]
    path.rename(old := path.with_suffix(".1"))
    second = [journal.append(passed) for journal in journals]
    path.unlink()
    third = journals[0].append(passed)
    for journal in journals:
        journal.close()
    assert second[0].previous == first[1].digest
    assert second[1].previous == second[0].digest
    assert third.previous == second[1].digest
    assert audit_file(old).last_digest == first[1].digest
    assert audit_file(path).continues == second[1].digest


def test_a_file_that_is_emptied_in_place_goes_on_with_its_chain(passed, path):
    journal = FileJournal(path)
    last = journal.append(passed)
    os.truncate(path, 0)
    assert journal.append(passed).previous == last.digest
    journal.close()
    assert audit_file(path).continues == last.digest


def test_a_full_disk_keeps_none_of_a_group(passed, path, monkeypatch):
    journal = FileJournal(path, fsync=True)
    kept = journal.append(passed)

    def fail(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="No space left"):
        journal.append_all([passed, passed])
    monkeypatch.undo()
    assert journal.append(passed).previous == kept.digest
    journal.check()
    journal.close()
    assert audit_file(path).records == 2
