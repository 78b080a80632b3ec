"""Where records are kept. `Journal` is the whole interface; a database can implement it too."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from guardrail.canonical import canonical_json, parse_strict
from guardrail.errors import ConfigError
from guardrail.records.lines import LARGEST_LINE_BYTES, LineFile

if TYPE_CHECKING:
    import os

    from guardrail.records.record import Record
    from guardrail.records.signing import RecordSigner

__all__ = ["FileJournal", "Journal"]

_PREFIX = b'{"action":'  # the first of a record's fields in canonical order


@runtime_checkable
class Journal(Protocol):
    """Keeps records, in order; safe for threads."""

    def append(self, record: Record) -> Record:
        """Keeps a record before it returns it as it was kept: chained, sealed, perhaps signed.

        Raises:
            ConfigError: it was not kept; no answer may leave.
        """

    def close(self) -> None:
        """Closes what it has open."""


class FileJournal:
    """JSON lines in one file, to which several processes may append.

    Args:
        path: made (mode 0600) where it is missing; an incomplete last line is repaired.
        signer: signs every record.
        fsync: see `LineFile`.

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
        with self._file.exclusive():
            kept = self._chain_and_seal(record)
            line = canonical_json(kept.to_dict())
            if len(line) >= LARGEST_LINE_BYTES and record.content is not None:
                # The decision must be kept; what was said is too long to be.
                kept = self._chain_and_seal(dataclasses.replace(record, content={"dropped": True}))
                line = canonical_json(kept.to_dict())
            self._file.write(line)
            self._known = (self._file.size_bytes, kept.digest)
        return kept

    def close(self) -> None:
        self._file.close()

    def _chain_and_seal(self, record: Record) -> Record:
        signer = "" if self._signer is None else self._signer.key_id
        sealed = dataclasses.replace(record, previous=self._last_digest(), signer=signer).seal()
        if self._signer is None:
            return sealed
        return dataclasses.replace(sealed, signature=self._signer.sign(sealed.digest))

    def _last_digest(self) -> str:
        """Of the file's last record, read again only where another process has written."""
        size = self._file.size_bytes
        if size == 0:
            return ""
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
