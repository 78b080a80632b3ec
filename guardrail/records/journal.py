"""Where records are kept. `Journal` is the whole interface; files and databases implement it."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from guardrail.canonical import parse_strict
from guardrail.errors import ConfigError
from guardrail.files import check_room
from guardrail.records.lines import LARGEST_LINE_BYTES, LineFile
from guardrail.records.record import seal_record

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from guardrail.records.kept_pictures import SealedPicture
    from guardrail.records.record import Record, SealedRecord
    from guardrail.records.signing import RecordSigner

__all__ = ["FileJournal", "Journal", "chain_record"]

_PREFIX = b'{"action":'  # the first of a record's fields in canonical order


@runtime_checkable
class Journal(Protocol):
    """Keeps records, in order; safe for threads, and called from threads only."""

    def append_all(
        self, records: Sequence[Record], pictures: Sequence[SealedPicture] = ()
    ) -> list[Record]:
        """Keeps records, all or none, before it returns them as they were kept: chained and sealed.

        Args:
            records: those to keep.
            pictures: of these records, kept with them; only databases keep any.

        Raises:
            GuardrailError: none was kept; no answer of theirs may leave.
        """

    def check(self) -> None:
        """Shows that records can be kept.

        Raises:
            GuardrailError: they cannot.
        """

    def close(self) -> None:
        """Closes what it has open."""


def chain_record(
    record: Record,
    previous: str,
    signer: RecordSigner | None,
    *,
    writer: str = "",
    sequence: int = 0,
) -> SealedRecord:
    """The record after the one with the digest `previous`, sealed, and signed where one signs."""
    return seal_record(
        record,
        sign=None if signer is None else signer.sign,
        previous=previous,
        writer=writer,
        sequence=sequence,
        signer="" if signer is None else signer.key_id,
    )


class FileJournal:
    """JSON lines in one file, to which several processes may append.

    Where the file is moved away, as logrotate does it, the next record begins a new one and names
    the last record of the old one. A file that is emptied in place goes on with its chain as well.

    Args:
        path: made (mode 0600) where it is missing; an incomplete last line is repaired.
        signer: signs every record.
        fsync: see `LineFile`; one wait for the disk serves all records of a call.

    Raises:
        ConfigError: the file cannot be opened, holds something else, or ends in what is no record.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        signer: RecordSigner | None = None,
        fsync: bool = False,
    ) -> None:
        self._fsync = fsync
        self._lock = threading.Lock()
        self._file = LineFile(path, prefix=_PREFIX, fsync=fsync)
        self._signer = signer
        self._known = (-1, "")  # the file's size after our last line, and that line's digest
        try:
            with self._file.exclusive():
                self._last_digest()  # told now, and not when the first answer is to leave
        except ConfigError:
            self.close()
            raise

    def append(self, record: Record) -> Record:
        """Keeps one record; see `append_all`."""
        return self.append_all([record])[0]

    def append_all(
        self, records: Sequence[Record], pictures: Sequence[SealedPicture] = ()
    ) -> list[Record]:
        if pictures:
            raise ConfigError(
                "pictures are kept in a database only; name one by --records FILE.db",
                file=str(self._file.path),
            )
        with self._lock:
            self._follow_rotation()
            with self._file.exclusive():
                kept, lines = self._chain(records)
                self._file.write(*lines)
                if kept:
                    self._known = (self._file.size_bytes, kept[-1].digest)
        return kept

    def check(self) -> None:
        """Shows that the file can be locked, that it is there, and that its disk has room."""
        check_room(self._file.path)
        with self._lock:
            self._follow_rotation()
            with self._file.exclusive():
                self._last_digest()

    def close(self) -> None:
        self._file.close()

    def _follow_rotation(self) -> None:
        """Goes on in a new file where the old one was moved away."""
        with self._file.exclusive():
            if not self._file.was_moved:
                return
            # Read under the old file's lock: whoever appends to it later sees that it was moved.
            last = self._last_digest()
        old, self._file = (
            self._file,
            LineFile(self._file.path, prefix=_PREFIX, fsync=self._fsync),
        )
        self._known = (0, last)
        old.close()

    def _chain(self, records: Sequence[Record]) -> tuple[list[Record], list[bytes]]:
        kept: list[Record] = []
        lines: list[bytes] = []
        last = self._last_digest()
        for record in records:
            chained, line = self._chain_one(record, last)
            kept.append(chained)
            lines.append(line)
            last = chained.digest
        return kept, lines

    def _chain_one(self, record: Record, last: str) -> tuple[Record, bytes]:
        chained = chain_record(record, last, self._signer)
        line = chained.to_json().encode()
        if len(line) >= LARGEST_LINE_BYTES and record.content is not None:
            # The decision must be kept; what was said is too long to be.
            record = dataclasses.replace(record, content=None)
            chained = chain_record(record, last, self._signer)
            line = chained.to_json().encode()
        return chained.record, line

    def _last_digest(self) -> str:
        """Of the chain's last record, read again only where another process has written."""
        size = self._file.size_bytes
        if size == 0:
            return self._known[1]  # emptied, or new: the chain goes on
        if self._known[0] != size:
            self._known = (size, self._digest_of(self._file.last_line()))
        return self._known[1]

    def _digest_of(self, line: bytes) -> str:
        try:
            last = parse_strict(line)
        except ValueError:
            last = None
        digest = last.get("digest") if isinstance(last, dict) else None
        if not isinstance(digest, str) or not digest:
            raise ConfigError(
                "the last line of this file is not a record; name a new file",
                file=str(self._file.path),
            )
        return digest
