"""Audits: any changed field of any record is found out, whoever computed the digests again."""

import copy
import dataclasses
import json
import re

import pytest

from guardrail.canonical import canonical_json
from guardrail.errors import CertificationError
from guardrail.records.audit import (
    Anchors,
    audit_file,
    check_record,
    holds_records,
    read_records,
)
from guardrail.records.journal import FileJournal
from guardrail.records.record import Record
from guardrail.records.signing import load_or_create_signer, load_verifier


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records.jsonl"


@pytest.fixture
def keys(tmp_path):
    signer = load_or_create_signer(tmp_path / "sign.pem")
    return signer, load_verifier(tmp_path / "sign.pem.pub")


@pytest.fixture
def signed(path, keys, passed, blocked):
    journal = FileJournal(path, signer=keys[0])
    kept = [journal.append(record) for record in (passed, blocked, passed)]
    journal.close()
    return kept


def places(value, path=()):
    """Every place in a JSON value at which something can be changed; long rows at their ends."""
    yield path
    items = list(value.items() if isinstance(value, dict) else enumerate(value)
                 if isinstance(value, list) else ())  # fmt: skip
    for key, inner in items if isinstance(value, dict) else items[:1] + items[-1:]:
        yield from places(inner, (*path, key))


def other(value):
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value[:-1] + ("0" if value[-1:] != "0" else "1")
        case None:
            return 1
        case list():
            return value[:-1] if value else [1]
        case dict():
            return dict(list(value.items())[1:])


def changed(data, place):
    copied = copy.deepcopy(data)
    inner = copied
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = other(inner[place[-1]])
    return copied


def write(path, *values):
    path.write_bytes(b"".join(canonical_json(value) + b"\n" for value in values))


def test_a_sound_file(path, signed, keys):
    audit = audit_file(path, verifier=keys[1])
    assert (audit.records, audit.passed, audit.signed) == (3, 2, 3)
    assert audit.continues == ""
    assert audit.last_digest == signed[-1].digest
    assert holds_records(path)


def test_any_changed_field_is_found_out(path, signed, keys):
    data = json.loads(canonical_json(signed[0].to_dict()))
    tried = 0
    for place in places(data):
        if not place:
            continue
        write(path, changed(data, place))
        needs_the_key = place == ("signature",)
        with pytest.raises(CertificationError):
            audit_file(path, verifier=keys[1] if needs_the_key else None)
        tried += 1
    assert tried > 100


def test_any_changed_field_is_found_out_though_digests_were_computed_again(path, signed, keys):
    """Whoever changes a record can compute its digest again, but not its signature."""
    data = json.loads(canonical_json(signed[0].to_dict()))
    tried = 0
    for place in places(data):
        if not place or place[0] in ("digest", "signature"):
            continue
        try:
            record = Record.from_dict(changed(data, place)).seal()
        except CertificationError:
            continue
        with pytest.raises(CertificationError):
            check_record(record, verifier=keys[1])
        tried += 1
    assert tried > 60


def test_unsigned_records_fail_where_a_key_is_given(path, passed, keys):
    journal = FileJournal(path)
    kept = journal.append(passed)
    journal.close()
    check_record(kept)
    with pytest.raises(CertificationError, match="not signed"):
        audit_file(path, verifier=keys[1])


def test_another_signer_is_found_out(path, signed, tmp_path):
    load_or_create_signer(tmp_path / "other.pem")
    with pytest.raises(CertificationError, match="signature is not that of this key"):
        audit_file(path, verifier=load_verifier(tmp_path / "other.pem.pub"))


def test_a_signature_taken_off_is_found_out(signed):
    with pytest.raises(CertificationError, match="removed or added"):
        check_record(dataclasses.replace(signed[0], signature=""))
    bare = dataclasses.replace(signed[0], signature="", signer="")
    with pytest.raises(CertificationError, match="digest does not match"):
        check_record(bare)


@pytest.mark.parametrize("order", [(0, 2), (1, 0, 2), (0, 1, 1, 2), (0, 2, 1)])
def test_removed_moved_and_copied_records_are_found_out(path, signed, order):
    write(path, *(signed[i].to_dict() for i in order))
    with pytest.raises(CertificationError, match="removed, added or moved"):
        audit_file(path)


def test_a_file_that_continues_another_says_so(path, signed):
    write(path, *(record.to_dict() for record in signed[1:]))
    audit = audit_file(path)
    assert (audit.records, audit.continues) == (2, signed[0].digest)


def anchors_of(records):
    return [
        Anchors(last_digest=records[-1].digest),
        Anchors(count=len(records)),
        Anchors(is_first=True),
        Anchors(records[-1].digest, len(records), is_first=True),
    ]


def test_a_whole_file_has_the_ends_that_were_expected(path, signed, keys):
    for anchors in anchors_of(signed):
        assert audit_file(path, verifier=keys[1], anchors=anchors).records == 3


# What is left of three records, and whether the last digest, the count and the beginning show it.
CUTS = {
    "last deleted": (slice(0, 2), (True, True, False)),
    "last two deleted": (slice(0, 1), (True, True, False)),
    "first deleted": (slice(1, 3), (False, True, True)),
    "all but the middle one deleted": (slice(1, 2), (True, True, True)),
    "all but the last one deleted": (slice(2, 3), (False, True, True)),
    "emptied": (slice(0, 0), (True, True, True)),
}


@pytest.mark.parametrize(("kept", "seen"), CUTS.values(), ids=CUTS)
def test_cut_ends_are_seen_by_the_anchors_and_by_nothing_else(path, signed, keys, kept, seen):
    write(path, *(record.to_dict() for record in signed[kept]))
    audit_file(path, verifier=keys[1])
    for anchors, shows in zip(anchors_of(signed), (*seen, True), strict=True):
        if shows:
            with pytest.raises(CertificationError, match=re.escape(str(path))):
                audit_file(path, verifier=keys[1], anchors=anchors)
        else:
            audit_file(path, verifier=keys[1], anchors=anchors)


def test_a_file_replaced_by_another_of_the_same_signer_is_seen_by_its_last_digest(
    path, signed, keys, blocked
):
    path.unlink()
    journal = FileJournal(path, signer=keys[0])
    for _ in signed:
        journal.append(blocked)
    journal.close()
    blind = Anchors(count=3, is_first=True)
    assert audit_file(path, verifier=keys[1], anchors=blind).records == 3
    with pytest.raises(CertificationError, match="or the file was replaced"):
        audit_file(path, verifier=keys[1], anchors=Anchors(signed[-1].digest))


def test_a_file_that_has_grown_says_so(path, signed):
    with pytest.raises(CertificationError, match=r"jsonl:2: .* and 1 more follow") as raised:
        audit_file(path, anchors=Anchors(signed[1].digest))
    assert str(raised.value).endswith(signed[-1].digest)
    with pytest.raises(CertificationError, match="3 records, not 2"):
        audit_file(path, anchors=Anchors(count=2))


def test_a_torn_end_is_told_with_its_line(path, signed):
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CertificationError, match=r"records.jsonl:3: .*never finished"):
        audit_file(path)
    assert [number for number, _ in _until_fault(path)] == [1, 2]


def _until_fault(path):
    try:
        yield from read_records(path)
    except CertificationError:
        return


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"[]\n", b"x\n", b'{"action":"pass","action":"pass"}\n', b"\xff\n"]
)
def test_lines_that_are_no_records_are_told(path, signed, line):
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(CertificationError, match=r"records.jsonl:4: "):
        audit_file(path)


def test_an_unknown_version_is_refused(passed):
    with pytest.raises(CertificationError, match="version"):
        check_record(dataclasses.replace(passed, version=1).seal())


def test_empty_and_missing_files(path, tmp_path):
    path.write_bytes(b"")
    assert audit_file(path).records == 0
    assert not holds_records(path)
    with pytest.raises(CertificationError, match="cannot be read"):
        audit_file(tmp_path / "none")


def test_certificates_are_no_records(path, passed):
    write(path, passed.certificate)
    assert not holds_records(path)
