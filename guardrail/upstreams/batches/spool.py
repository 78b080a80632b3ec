"""The requests of one batch while they are gathered: on the disk, as their pictures are large."""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING

from guardrail.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["Spool"]


class Spool:
    """Lines in a temporary file without a name, which the system removes with the process.

    Attributes:
        size_bytes: of all lines.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self._file: IO[bytes] | None = None
        self._places: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._places

    def add(self, request_id: str, line: Sequence[bytes]) -> None:
        """Adds the line of a request, in pieces. Raises StorageError."""
        size = sum(map(len, line))
        try:
            if self._file is None:
                self._file = _open_temporary()
            self._file.seek(self.size_bytes)
            self._file.writelines(line)
        except OSError as error:
            raise _storage_error(error) from error
        self._places[request_id] = (self.size_bytes, size)
        self.size_bytes += size

    def open(self, wanted: Collection[str]) -> IO[bytes]:
        """A file with the lines of these requests, at its start; slow. Raises StorageError."""
        try:
            if self._file is None:
                return _open_temporary()
            if len(wanted) == len(self._places):
                self._file.seek(0)
                return self._file
            return self._copy(self._file, wanted)
        except OSError as error:
            raise _storage_error(error) from error

    def close(self) -> None:
        """Gives the disk back; may be called twice."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _copy(self, source: IO[bytes], wanted: Collection[str]) -> IO[bytes]:
        kept = _open_temporary()
        for request_id, (start, size) in self._places.items():
            if request_id in wanted:
                source.seek(start)
                kept.write(source.read(size))
        kept.seek(0)
        return kept


def _open_temporary() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _storage_error(error: OSError) -> StorageError:
    return StorageError(
        f"{tempfile.gettempdir()}: the requests of a batch cannot be kept ({error.strerror}); make "
        "room, or name another folder in TMPDIR"
    )
