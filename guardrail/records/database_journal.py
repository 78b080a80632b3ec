"""Records in a database: a chain for each process that writes, and anchors over all chains."""

from __future__ import annotations

import logging
import secrets
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.errors import StorageError
from guardrail.records.anchors import AnchorKind, Head, add_anchor
from guardrail.records.journal import chain_record
from guardrail.records.rows import to_content_row, to_picture_row, to_row
from guardrail.records.tables import CONTENTS, PICTURES, RECORDS, WRITERS

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from guardrail.database.database import Database
    from guardrail.records.anchors import Anchor
    from guardrail.records.kept_pictures import SealedPicture
    from guardrail.records.record import Record, SealedRecord
    from guardrail.records.signing import RecordSigner

__all__ = ["DatabaseJournal", "anchor_chains", "lock_anchors"]

_WRITER_BYTES = 8

_log = logging.getLogger(__name__)


class DatabaseJournal:
    """Appends to a database, to which other processes may append at the same time.

    Args:
        database: with the schema of this version; closed with the journal.
        signer: signs every record and anchor.
        lock_wait_s: how long to wait for a lock that another process holds.
        anchor_every: after how many records an anchor is written.

    Attributes:
        writer: names this journal's chain.

    Raises:
        StorageError: the database cannot be written.
    """

    def __init__(
        self,
        database: Database,
        *,
        signer: RecordSigner | None = None,
        lock_wait_s: float = 5.0,
        anchor_every: int = 1000,
    ) -> None:
        self._database = database
        self._signer = signer
        self._lock_wait_s = lock_wait_s
        self._anchor_every = anchor_every
        self._lock = threading.Lock()
        self._insert_records = database.prepare(sa.insert(RECORDS), RECORDS.c.keys())
        self._insert_contents = database.prepare(sa.insert(CONTENTS), CONTENTS.c.keys())
        self._insert_pictures = database.prepare(sa.insert(PICTURES), PICTURES.c.keys())
        self._move_head = database.prepare(
            sa.update(WRITERS)
            .where(WRITERS.c.writer == sa.bindparam("of"))
            .values(sequence=sa.bindparam("to"), digest=sa.bindparam("now"))
        )
        self.writer = secrets.token_hex(_WRITER_BYTES)
        self._head: tuple[int, str] | None = (0, "")  # None: not known since a write failed
        self._anchored = 0
        with self._write() as connection:
            connection.execute(
                sa.insert(WRITERS),
                {"writer": self.writer, "started": datetime.now(UTC), "sequence": 0, "digest": "",
                 "anchored": 0, "closed": False},
            )  # fmt: skip
        anchor_chains(database, AnchorKind.STARTED, signer, lock_wait_s=lock_wait_s)

    def append_all(
        self, records: Sequence[Record], pictures: Sequence[SealedPicture] = ()
    ) -> list[Record]:
        with self._lock:
            kept = self._append(records, pictures)
            if kept and kept[-1].sequence - self._anchored >= self._anchor_every:
                self._anchor(AnchorKind.GROWN)
        return kept

    def check(self) -> None:
        """Writes this journal's own row, as an append does it, and looks for room for records."""
        self._database.check_room()
        with self._lock, self._write() as connection:
            connection.execute(
                sa.update(WRITERS).where(WRITERS.c.writer == self.writer).values(closed=False)
            )

    def close(self) -> None:
        """Writes the last anchor and closes the database."""
        with self._lock:
            self._close_chain()
            self._database.close()

    def _close_chain(self) -> None:
        try:
            with self._write() as connection:
                connection.execute(
                    sa.update(WRITERS).where(WRITERS.c.writer == self.writer).values(closed=True)
                )
        except StorageError as error:
            _log.warning("the chain of records was not closed: %s", error)
            return
        self._anchor(AnchorKind.CLOSED)

    def _append(self, records: Sequence[Record], pictures: Sequence[SealedPicture]) -> list[Record]:
        try:
            sequence, last = self._head or self._read_head()
            kept = []
            for record in records:
                sequence += 1
                chained = chain_record(
                    record, last, self._signer, writer=self.writer, sequence=sequence
                )
                kept.append(chained)
                last = chained.record.digest
            self._insert(kept, pictures)
        except BaseException:
            # Perhaps committed, where the connection was lost at that moment: read it again.
            self._head = None
            raise
        self._head = (sequence, last)
        return [chained.record for chained in kept]

    def _insert(self, kept: Sequence[SealedRecord], pictures: Sequence[SealedPicture]) -> None:
        if not kept:
            return
        rows = list(map(to_row, kept))
        records = [chained.record for chained in kept]
        contents = [to_content_row(record) for record in records if record.content is not None]
        by_id = {record.record_id: record for record in records}
        last = records[-1]
        head = {"of": self.writer, "to": last.sequence, "now": last.digest}
        with self._database.write_prepared(lock_wait_s=self._lock_wait_s) as cursor:
            self._insert_records.run(cursor, *rows)
            self._insert_contents.run(cursor, *contents)
            for picture in pictures:  # one by one: a driver copies all rows of a call
                self._insert_pictures.run(cursor, to_picture_row(picture, by_id[picture.record_id]))
            self._move_head.run(cursor, head)

    def _read_head(self) -> tuple[int, str]:
        """The end of this journal's chain, to which nobody else adds."""
        with self._write() as connection:
            row = connection.execute(
                sa.select(WRITERS.c.sequence, WRITERS.c.digest).where(
                    WRITERS.c.writer == self.writer
                )
            ).one()
            return row.sequence, row.digest

    def _anchor(self, kind: AnchorKind) -> None:
        """Writes an anchor; the records are kept without it, so that a failure is only logged."""
        try:
            anchor_chains(self._database, kind, self._signer, lock_wait_s=self._lock_wait_s)
        except StorageError as error:
            _log.warning("an anchor of the records was not written: %s", error)
        self._anchored = 0 if self._head is None else self._head[0]

    def _write(self) -> contextlib.AbstractContextManager[Connection]:
        return self._database.write(lock_wait_s=self._lock_wait_s)


def lock_anchors(connection: Connection, database: Database) -> None:
    """Lets one transaction at a time add an anchor; in SQLite one at a time writes anyway."""
    if not database.is_sqlite:
        connection.exec_driver_sql("LOCK TABLE anchors IN SHARE ROW EXCLUSIVE MODE")


def anchor_chains(
    database: Database,
    kind: AnchorKind,
    signer: RecordSigner | None,
    *,
    lock_wait_s: float = 5.0,
) -> Anchor | None:
    """Writes an anchor over all chains that have grown since they were last named.

    It is a transaction of its own: one that waited for other writers' rows while it held its own
    could wait for ever.

    Returns:
        The anchor; None where no chain has grown.

    Raises:
        StorageError: the database cannot be written.
    """
    with database.write(lock_wait_s=lock_wait_s) as connection:
        lock_anchors(connection, database)
        grown = connection.execute(
            sa.select(WRITERS)
            .where(WRITERS.c.sequence > WRITERS.c.anchored)
            .order_by(WRITERS.c.writer)
            .with_for_update()
        ).all()
        if not grown and kind is not AnchorKind.STARTED:
            return None
        heads = tuple(Head(row.writer, row.sequence, row.digest) for row in grown)
        for head in heads:
            connection.execute(
                sa.update(WRITERS)
                .where(WRITERS.c.writer == head.writer)
                .values(anchored=head.sequence)
            )
        return add_anchor(connection, kind, heads, signer)
