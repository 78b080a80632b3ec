"""How long records and their contents are kept in a database, and what is removed when."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.errors import StorageError
from guardrail.records.anchors import AnchorKind, Head, add_anchor
from guardrail.records.database_journal import lock_anchors
from guardrail.records.tables import CONTENTS, PICTURES, RECORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.database.database import Database
    from guardrail.records.options import Retention
    from guardrail.records.signing import RecordSigner

__all__ = ["Pruned", "Pruner", "erase_contents", "prune"]

_AT_ONCE = 2000
"""Rows removed in one transaction: writers wait for no more."""

_PICTURES_AT_ONCE = 50
"""The same of pictures, of which each may have megabytes."""

_EVERY_S = 3600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows were removed; false where there were none."""

    records: int = 0
    contents: int = 0
    pictures: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(
            self.records + other.records,
            self.contents + other.contents,
            self.pictures + other.pictures,
        )

    def __bool__(self) -> bool:
        return self != Pruned()


def prune(
    database: Database,
    retention: Retention,
    *,
    signer: RecordSigner | None = None,
    now: datetime | None = None,
) -> Pruned:
    """Removes what is older than it shall be kept.

    Of each chain the records before the first one that is young enough are removed, and an anchor
    names the last of them beforehand, so that what is left still verifies.

    Raises:
        StorageError: the database cannot be written.
    """
    now = now or datetime.now(UTC)
    pruned = Pruned()
    if retention.content_days is not None:
        pruned += _remove_contents(database, now - timedelta(days=retention.content_days))
    if retention.records_days is not None:
        limit = now - timedelta(days=retention.records_days)
        pruned += _remove_contents(database, limit)
        for head in _anchor_removal(database, limit, signer):
            of_chain = (RECORDS.c.writer == head.writer) & (RECORDS.c.sequence <= head.sequence)
            pruned += Pruned(records=_remove(database, RECORDS, of_chain))
    return pruned


def erase_contents(database: Database, record_ids: Sequence[str]) -> Pruned:
    """Removes the contents and pictures of records, which stay verifiable; how many there were.

    Raises:
        StorageError: the database cannot be written.
    """
    return Pruned(
        contents=_remove(database, CONTENTS, CONTENTS.c.record_id.in_(record_ids)),
        pictures=_remove(database, PICTURES, PICTURES.c.record_id.in_(record_ids)),
    )


def _remove_contents(database: Database, limit: datetime) -> Pruned:
    return Pruned(
        contents=_remove(database, CONTENTS, CONTENTS.c.created < limit),
        pictures=_remove(database, PICTURES, PICTURES.c.created < limit),
    )


def _anchor_removal(
    database: Database, limit: datetime, signer: RecordSigner | None
) -> tuple[Head, ...]:
    """The last record of each chain that is to be removed, named by an anchor."""
    with database.write() as connection:
        lock_anchors(connection, database)
        writers = connection.execute(
            sa.select(RECORDS.c.writer).where(RECORDS.c.created < limit).distinct()
        ).scalars()
        heads = []
        for writer in sorted(writers):
            young = (
                sa.select(sa.func.min(RECORDS.c.sequence))
                .where(RECORDS.c.writer == writer, RECORDS.c.created >= limit)
                .scalar_subquery()
            )
            last = connection.execute(
                sa.select(RECORDS.c.sequence, RECORDS.c.digest)
                .where(
                    RECORDS.c.writer == writer,
                    sa.or_(young.is_(None), RECORDS.c.sequence < young),
                )
                .order_by(RECORDS.c.sequence.desc())
                .limit(1)
            ).first()
            if last is not None:
                heads.append(Head(writer, last.sequence, last.digest))
        if heads:
            add_anchor(connection, AnchorKind.PRUNED, tuple(heads), signer)
        return tuple(heads)


def _remove(database: Database, table: sa.Table, which: sa.ColumnElement[bool]) -> int:
    """Removes rows, not too many at a time."""
    at_once = _PICTURES_AT_ONCE if table is PICTURES else _AT_ONCE
    removed = 0
    while True:
        with database.write() as connection:
            ids = sa.select(table.c.record_id).where(which).limit(at_once)
            found = connection.execute(sa.delete(table).where(table.c.record_id.in_(ids))).rowcount
        removed += found
        if found < at_once:
            return removed


class Pruner:
    """Prunes a database now and every hour from a thread of its own, until it is closed."""

    def __init__(
        self, database: Database, retention: Retention, signer: RecordSigner | None = None
    ) -> None:
        self._database = database
        self._retention = retention
        self._signer = signer
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guardrail-prune", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        while True:
            try:
                pruned = prune(self._database, self._retention, signer=self._signer)
                if pruned:
                    _log.info(
                        "pruned %d records, %d contents, %d pictures",
                        pruned.records,
                        pruned.contents,
                        pruned.pictures,
                    )
            except StorageError as error:
                _log.warning("records were not pruned: %s", error)
            if self._ended.wait(_EVERY_S):
                return
