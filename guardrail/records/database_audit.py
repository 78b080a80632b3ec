"""Checks all records of a database: each record, every chain, the anchors over them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.engine.verdict import Action
from guardrail.errors import CertificationError
from guardrail.records.anchors import AnchorKind, read_anchor
from guardrail.records.audit import check_record
from guardrail.records.content import digest_content
from guardrail.records.override_chain import OVERRIDES_WRITER, audit_overrides
from guardrail.records.query import as_utc, select_records
from guardrail.records.record import require_record
from guardrail.records.rows import read_row, to_columns
from guardrail.records.tables import ANCHORS, PICTURES, RECORDS, WRITERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.database.database import Database
    from guardrail.records.anchors import Anchor
    from guardrail.records.record import Record
    from guardrail.records.signing import RecordVerifier

__all__ = ["DatabaseAudit", "audit_database", "audit_record"]

_PAGE = 500


@dataclass(frozen=True, slots=True)
class DatabaseAudit:
    """What a database holds, all of it found sound.

    Attributes:
        records: how many; `passed` of them let an answer through, `signed` carry a signature.
        chains: how many processes wrote them.
        anchors: how many; `last_anchor` is the last one's digest. Write it down elsewhere: an end
            that is cut off with its anchors shows only by that.
        pruned: how many records were removed by retention; anchors name the last ones.
        unanchored: records that were added since the last anchor: a cut there would not show.
        override_steps: what people did to the list of overrides, a chain of its own.
    """

    records: int = 0
    passed: int = 0
    signed: int = 0
    chains: int = 0
    anchors: int = 0
    last_anchor: str = ""
    pruned: int = 0
    unanchored: int = 0
    override_steps: int = 0


@dataclass(slots=True)
class _Chain:
    """What the anchors say of one writer's chain, and how far it has been read."""

    writer: str
    named: dict[int, str] = field(default_factory=dict)
    pruned: tuple[int, str] = (0, "")
    sequence: int | None = None
    digest: str = ""


def audit_database(
    database: Database,
    *,
    verifier: RecordVerifier | None = None,
    expect_anchor: str | None = None,
) -> DatabaseAudit:
    """Checks everything, a page of rows at a time; records may be added meanwhile.

    Args:
        database: with records.
        verifier: if given, every record and anchor must carry this key's signature.
        expect_anchor: digest of an anchor that must be there, as an earlier audit told it.

    Raises:
        CertificationError: names what does not hold, and where.
        StorageError: the database cannot be read.
    """
    anchors = list(_read_anchors(database, verifier))
    if expect_anchor is not None and all(one.digest != expect_anchor for one in anchors):
        raise CertificationError(
            f"{database.name}: the expected anchor is not there; records at the end were removed "
            "with their anchors, or the database was replaced"
        )
    chains = _chains_of(anchors)
    of_overrides = chains.pop(OVERRIDES_WRITER, _Chain(OVERRIDES_WRITER))
    audit = DatabaseAudit(anchors=len(anchors), last_anchor=anchors[-1].digest if anchors else "")
    for writer in _writers(database):
        chain = chains.setdefault(writer, _Chain(writer))
        for record in _read_chain(database, chain, verifier):
            audit = dataclasses.replace(
                audit,
                records=audit.records + 1,
                passed=audit.passed + (record.action is Action.PASS),
                signed=audit.signed + bool(record.signature),
            )
    for chain in chains.values():
        _check_end(database.name, chain)
    return dataclasses.replace(
        audit,
        chains=sum(chain.sequence is not None for chain in chains.values()),
        pruned=sum(chain.pruned[0] for chain in chains.values()),
        unanchored=sum(
            max(0, (chain.sequence or 0) - max(chain.named, default=0)) for chain in chains.values()
        ),
        override_steps=audit_overrides(database, of_overrides.named),
    )


def _read_anchors(database: Database, verifier: RecordVerifier | None) -> Iterator[Anchor]:
    with database.read() as connection:
        rows = connection.execute(sa.select(ANCHORS).order_by(ANCHORS.c.number)).all()
    last = ""
    for number, row in enumerate(rows, start=1):
        anchor = read_anchor(row.document)
        where = f"{database.name}: anchor {number}"
        sound = anchor.digest == row.digest == anchor.compute_digest()
        if not sound or anchor.number != row.number:
            raise CertificationError(f"{where}: it was changed: its digest does not match")
        if anchor.number != number or anchor.previous != last:
            raise CertificationError(f"{where}: the one before it was removed, added or moved")
        if verifier is not None and not (
            anchor.signer == verifier.key_id and verifier.holds(anchor.digest, anchor.signature)
        ):
            raise CertificationError(f"{where}: its signature is not that of this key")
        last = anchor.digest
        yield anchor


def _chains_of(anchors: list[Anchor]) -> dict[str, _Chain]:
    chains: dict[str, _Chain] = {}
    for anchor in anchors:
        for head in anchor.heads:
            chain = chains.setdefault(head.writer, _Chain(head.writer))
            chain.named[head.sequence] = head.digest
            if anchor.kind is AnchorKind.PRUNED:
                chain.pruned = max(chain.pruned, (head.sequence, head.digest))
    return chains


def _writers(database: Database) -> list[str]:
    with database.read() as connection:
        query = sa.select(WRITERS.c.writer).where(WRITERS.c.writer != OVERRIDES_WRITER)
        known = connection.execute(query).scalars()
        found = connection.execute(sa.select(RECORDS.c.writer).distinct()).scalars()
        return sorted({*known, *found})


def _read_chain(
    database: Database, chain: _Chain, verifier: RecordVerifier | None
) -> Iterator[Record]:
    after = 0
    while True:
        query = (
            select_records()
            .where(RECORDS.c.writer == chain.writer, RECORDS.c.sequence > after)
            .order_by(RECORDS.c.sequence)
            .limit(_PAGE)
        )
        with database.read() as connection:
            rows = connection.execute(query).mappings().all()
            pictures = _read_pictures(connection, [row["record_id"] for row in rows])
        for row in rows:
            try:
                record = read_row(dict(row))
                _check_columns(record, row)
                check_record(record, verifier=verifier)
                _check_pictures(record, pictures[record.record_id])
                _follow(chain, record)
            except CertificationError as error:
                raise CertificationError(
                    f"{database.name}: record {row['record_id']}: {error}"
                ) from error
            yield record
        if len(rows) < _PAGE:
            return
        after = rows[-1]["sequence"]


def _check_columns(record: Record, row: sa.RowMapping) -> None:
    """What people filter by must be what the document says."""
    expected = to_columns(record) | {
        name: getattr(record, name)
        for name in ("writer", "sequence", "previous", "digest", "signer", "signature")
    }
    for name, value in expected.items():
        kept = as_utc(row[name]) if name == "created" else row[name]
        require_record(kept == value, f"its column '{name}' is not what its document says")


def _read_pictures(
    connection: sa.Connection, record_ids: list[str]
) -> dict[str, list[tuple[int, str]]]:
    """The number and digest of every picture that is there, one sealed picture held at a time."""
    found: dict[str, list[tuple[int, str]]] = {name: [] for name in record_ids}
    query = sa.select(PICTURES.c.record_id, PICTURES.c.number, PICTURES.c.sealed).where(
        PICTURES.c.record_id.in_(record_ids)
    )
    for record_id, number, sealed in connection.execute(query.execution_options(yield_per=1)):
        found[record_id].append((number, digest_content(sealed)))
    return found


def _check_pictures(record: Record, pictures: list[tuple[int, str]]) -> None:
    """Those that are there must be the ones that were kept; the others may have been erased."""
    known = {number: one.digest for number, one in enumerate(record.kept_pictures)}
    for number, digest in pictures:
        require_record(
            known.get(number) == digest, f"picture {number + 1} is not the one that was kept"
        )


def _follow(chain: _Chain, record: Record) -> None:
    """Moves on by one record, which must be the next one."""
    if chain.sequence is None:
        pruned, digest = chain.pruned
        require_record(
            record.sequence <= pruned + 1, "those before it were removed, and not by retention"
        )
        if record.sequence == pruned + 1:
            require_record(record.previous == digest, "the one before it was another one")
    else:
        follows = record.sequence == chain.sequence + 1 and record.previous == chain.digest
        require_record(follows, "the one before it was removed, added or moved")
    named = chain.named.get(record.sequence, record.digest)
    require_record(named == record.digest, "an anchor names another record in its place")
    chain.sequence, chain.digest = record.sequence, record.digest


def _check_end(name: str, chain: _Chain) -> None:
    """All that anchors name must be there, or have been pruned."""
    last = max(chain.named, default=0)
    if max(chain.sequence or 0, chain.pruned[0]) < last:
        raise CertificationError(
            f"{name}: the records of writer {chain.writer} end at {chain.sequence or 0}, and an "
            f"anchor names its record {last}; records at the end were removed"
        )


def audit_record(database: Database, record_id: str) -> int:
    """Checks one record, its columns, and that its neighbours in the chain are the ones it names.

    Returns:
        How many neighbours there are: the last record of a chain has one, and so has the first.

    Raises:
        CertificationError: says what does not hold.
        StorageError: the database cannot be read.
    """
    with database.read() as connection:
        found = connection.execute(
            select_records().where(RECORDS.c.record_id == record_id)
        ).mappings()
        row = found.one_or_none()
        require_record(row is not None, "it is not there any more")
        assert row is not None
        place = RECORDS.c.writer == row["writer"]
        near = RECORDS.c.sequence.in_([row["sequence"] - 1, row["sequence"] + 1])
        columns = (RECORDS.c.sequence, RECORDS.c.digest, RECORDS.c.previous)
        neighbours = connection.execute(sa.select(*columns).where(place, near)).all()
        pictures = _read_pictures(connection, [record_id])
    record = read_row(dict(row))
    _check_columns(record, row)
    check_record(record)
    _check_pictures(record, pictures[record.record_id])
    for sequence, digest, previous in neighbours:
        is_before = sequence < record.sequence
        fits = digest == record.previous if is_before else previous == record.digest
        require_record(fits, f"the record {'before' if is_before else 'after'} it is another one")
    return len(neighbours)
