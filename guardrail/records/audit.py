"""Checks files of records: digests, chain, signatures, and what follows from the outcomes."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.canonical import parse_strict
from guardrail.engine.verdict import Action
from guardrail.errors import CertificationError
from guardrail.records.content import holds_content, open_content
from guardrail.records.lines import read_lines
from guardrail.records.record import RECORD_VERSION, Record, require_record
from guardrail.records.replay import check_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.records.content import ContentKeys
    from guardrail.records.signing import RecordVerifier

__all__ = ["Anchors", "Audit", "audit_file", "check_record", "holds_records", "read_records"]


@dataclass(frozen=True, slots=True)
class Anchors:
    """What is known of a file from elsewhere. A chain cannot show by itself where its ends were.

    Attributes:
        last_digest: digest of the last record; None if it was not kept.
        count: how many records there are; None if they were not counted.
        is_first: whether the file begins the chain, so that no record comes before its first one.
    """

    last_digest: str | None = None
    count: int | None = None
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class Audit:
    """What a valid file holds.

    Attributes:
        records: how many.
        passed: how many of them let an answer through.
        remembered: how many gave an earlier verdict again; the others are the decisions made.
        signed: how many carry a signature; they were checked if a key was given.
        continues: digest of the record before the first one, which is in another file; empty
            where the file is the beginning.
        last_digest: of the last record; write it down elsewhere, and a cut end shows later.
    """

    records: int = 0
    passed: int = 0
    remembered: int = 0
    signed: int = 0
    continues: str = ""
    last_digest: str = ""


def audit_file(
    path: str | Path, *, verifier: RecordVerifier | None = None, anchors: Anchors | None = None
) -> Audit:
    """Checks every record of a file, and its ends as far as anchors are given.

    Without anchors, records removed at the end, or all of a file replaced by another one of the
    same signer, cannot be seen.

    Args:
        path: written by `FileJournal`.
        verifier: if given, every record must carry this key's signature.
        anchors: if given, what the file's ends must be.

    Raises:
        CertificationError: names the file, the line and what does not hold.
    """
    audit = Audit()
    expected = Anchors() if anchors is None else anchors
    ends: dict[str, Record] = {}  # of a database's export each writer's records are one chain
    found_at = None
    for number, record in read_records(path):
        with _naming_place(path, number):
            check_record(record, verifier=verifier)
            last = ends.get(record.writer)
            follows = last is None or (
                record.previous == last.digest
                and (not record.writer or record.sequence == last.sequence + 1)
            )
            require_record(follows, "the one before it was removed, added or moved")
            ends[record.writer] = record
        audit = Audit(
            records=number,
            passed=audit.passed + (record.action is Action.PASS),
            remembered=audit.remembered + record.remembered,
            signed=audit.signed + bool(record.signature),
            continues=record.previous if number == 1 else audit.continues,
            last_digest=record.digest,
        )
        if record.digest == expected.last_digest:
            found_at = number
    _check_ends(path, audit, expected, found_at)
    return audit


def _check_ends(path: str | Path, audit: Audit, anchors: Anchors, found_at: int | None) -> None:
    """Compares the file's ends with what is known; `found_at` is the expected last record's line.

    Raises:
        CertificationError: says which end is another one.
    """
    if anchors.is_first and (audit.continues or not audit.records):
        what = f"continues after record {audit.continues}" if audit.records else "holds no record"
        raise CertificationError(
            f"{path}: it does not begin the chain: it {what}; records at its beginning were "
            "removed, or it is a later part"
        )
    if anchors.count is not None and anchors.count != audit.records:
        raise CertificationError(
            f"{path}: it holds {audit.records} records, not {anchors.count}; records were removed "
            "or added at an end"
        )
    if anchors.last_digest in (None, audit.last_digest):
        return
    if found_at is not None:
        raise CertificationError(
            f"{path}:{found_at}: the expected last record is here, and "
            f"{audit.records - found_at} more follow; if they were written since, expect "
            f"{audit.last_digest}"
        )
    raise CertificationError(
        f"{path}: the expected last record is not in it; records at the end were removed, or the "
        "file was replaced"
    )


def read_records(
    path: str | Path, *, content_keys: ContentKeys | None = None
) -> Iterator[tuple[int, Record]]:
    """The records of a file with their line numbers, from 1; their digests are not checked.

    Args:
        path: written by `FileJournal`.
        content_keys: open the content of each record; without them it stays as it is.

    Raises:
        CertificationError: a line is not a record, the last one was never finished, or the content
            of one was changed.
        ConfigError: content was sealed with another key.
    """
    for number, line in enumerate(read_lines(Path(path)), start=1):
        with _naming_place(path, number):
            record = Record.from_dict(_parse(line))
            if content_keys is not None and record.content is not None:
                content = open_content(record, content_keys)
                record = dataclasses.replace(record, content=content)
        yield number, record


def check_record(record: Record, *, verifier: RecordVerifier | None = None) -> None:
    """One record by itself: digest, signature, and what follows from its outcomes.

    Raises:
        CertificationError: says what does not hold.
    """
    require_record(record.version == RECORD_VERSION, "its version is unknown")
    require_record(record.digest == record.compute_digest(), "its digest does not match its fields")
    require_record(
        bool(record.signer) == bool(record.signature), "its signature was removed or added"
    )
    if verifier is not None:
        require_record(bool(record.signature), "it is not signed")
        known = record.signer == verifier.key_id
        sound = known and verifier.holds(record.digest, record.signature)
        require_record(sound, "its signature is not that of this key over its fields")
    require_record(holds_content(record), "its content was changed")
    check_outcomes(record)


def holds_records(path: str | Path) -> bool:
    """Whether a file looks like one of records, by its first line."""
    first = next(read_lines(Path(path)), b"")
    try:
        value = parse_strict(first)
    except ValueError:
        return False
    return isinstance(value, dict) and "record_id" in value


def _parse(line: bytes) -> dict[str, object]:
    if not line.endswith(b"\n"):
        raise CertificationError(
            "this last line was never finished; the next guardrail that appends to the file "
            "repairs it"
        )
    try:
        value: dict[str, object] = parse_strict(line)
    except ValueError as error:
        raise CertificationError(
            "not a JSON object with every key once; give a file that guardrail wrote"
        ) from error
    return value


@contextmanager
def _naming_place(path: str | Path, number: int) -> Iterator[None]:
    """Puts file and line before the message of every CertificationError."""
    try:
        yield
    except CertificationError as error:
        raise CertificationError(f"{path}:{number}: {error}") from error
