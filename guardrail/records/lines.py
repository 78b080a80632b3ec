"""An append-only file of JSON lines, for several writers at a time.

A line is written by one call under a lock, so a reader sees whole lines, and perhaps an incomplete
one at the end where a writer was killed; the next writer repairs it. The lock is the operating
system's (`flock`): it ends with its process.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.canonical import parse_strict
from guardrail.errors import CertificationError, ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["LARGEST_LINE_BYTES", "LineFile", "read_lines"]

LARGEST_LINE_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 1 << 16

_log = logging.getLogger(__name__)


def read_lines(path: Path) -> Iterator[bytes]:
    """Every line with its line break; the last one lacks it where a writer was killed.

    Raises:
        CertificationError: the file cannot be read, or a line is longer than any that is written.
    """
    try:
        with path.open("rb") as stream:
            while line := stream.readline(LARGEST_LINE_BYTES + 1):
                if len(line) > LARGEST_LINE_BYTES:
                    raise CertificationError(
                        f"{path}: a line has more than {LARGEST_LINE_BYTES} bytes; give a file "
                        "that guardrail wrote"
                    )
                yield line
    except OSError as error:
        raise CertificationError(
            f"{path}: it cannot be read ({error.strerror}); check the path"
        ) from error


class LineFile:
    """An append-only file, made (mode 0600) where it is missing; for any thread and process.

    Args:
        path: the file.
        prefix: how every line begins; a file that begins otherwise is someone else's and is left
            as it is.
        alone: whether no other process may have the file open in the same way; checked at once.
        fsync: whether a line must have reached the disk, and not just the system, when it counts
            as written: needed against power cuts, not against kills.

    Raises:
        ConfigError: the file cannot be opened, is someone else's, or is in use (`alone`).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        prefix: bytes,
        alone: bool = False,
        fsync: bool = False,
    ) -> None:
        self.path = Path(path)
        self._prefix = prefix
        self._fsync = fsync
        self._held = False
        self._thread_lock = threading.RLock()
        self._handle = -1
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            self._handle = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise ConfigError(
                f"this file cannot be opened ({error.strerror}); check the path and its "
                "permissions",
                file=str(self.path),
            ) from error
        try:
            if alone:
                self._lock_for_good()
            with self.exclusive():
                pass
        except BaseException:
            self.close()
            raise

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Excludes other writers; the file then ends in a whole line.

        Raises:
            ConfigError: the file has been closed, or has become someone else's.
            StorageError: the disk is full or broken.
        """
        if self._handle < 0:
            raise ConfigError("this file has been closed already", file=str(self.path))
        with self._thread_lock, self._explaining_write_faults(), self._hold_lock():
            self._repair_end()
            yield

    @property
    def size_bytes(self) -> int:
        return os.fstat(self._handle).st_size

    @property
    def was_moved(self) -> bool:
        """Whether another file, or none, stands at the path: this one was renamed or removed."""
        ours = os.fstat(self._handle)
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)

    def write(self, *lines: bytes) -> None:
        """Adds lines and their line breaks, all of them or none; only inside `exclusive`.

        Raises:
            ConfigError: one is too long.
            OSError: the disk is full or broken; `exclusive` makes a StorageError of it.
        """
        longest = max(map(len, lines), default=0)
        if longest >= LARGEST_LINE_BYTES:
            raise ConfigError(
                f"a line of {longest} bytes is too long to be kept", file=str(self.path)
            )
        before = self.size_bytes
        try:
            self._write_all(b"".join(line + b"\n" for line in lines))
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._handle, before)
            raise

    def last_line(self) -> bytes:
        """The last line without its break, empty for an empty file; only inside `exclusive`."""
        size = self.size_bytes
        start = self._find_break_before(size - 1) + 1 if size else 0
        return os.pread(self._handle, max(0, size - 1 - start), start)

    def lines(self) -> list[bytes]:
        """All lines without their breaks; only inside `exclusive`."""
        return [line.rstrip(b"\n") for line in read_lines(self.path)]

    def close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._handle, rest) :]
        if self._fsync:
            os.fsync(self._handle)

    def _repair_end(self) -> None:
        """Ends a last line that lacks only its break, and cuts off one that lacks more."""
        size = self.size_bytes
        if not self._begins_with_prefix(0, size):
            raise ConfigError(
                "this file holds something else and is left as it is; name a new file",
                file=str(self.path),
            )
        if size == 0 or os.pread(self._handle, 1, size - 1) == b"\n":
            return
        start = self._find_break_before(size) + 1
        torn = os.pread(self._handle, size - start, start)
        with suppress(ValueError):
            if isinstance(parse_strict(torn), dict):
                self._write_all(b"\n")
                return
        _log.warning("%s: cut off %d bytes of a line that was never finished", self.path, len(torn))
        os.ftruncate(self._handle, start)

    def _begins_with_prefix(self, start: int, size: int) -> bool:
        begins = os.pread(self._handle, len(self._prefix), start)
        return begins == self._prefix[: max(0, size - start)]

    def _find_break_before(self, end: int) -> int:
        """Where the last line break before `end` stands; -1 if there is none."""
        while end > 0:
            start = max(0, end - _CHUNK_BYTES)
            found = os.pread(self._handle, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found
            end = start
        return -1

    def _lock_for_good(self) -> None:
        import fcntl  # not on Windows, where the rest of the package still imports

        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                "another process is writing to this file; wait for it, or name another file",
                file=str(self.path),
            ) from error
        self._held = True

    @contextmanager
    def _hold_lock(self) -> Iterator[None]:
        """Locks out other processes, and other files of this one."""
        import fcntl

        if self._held:
            yield
            return
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    @contextmanager
    def _explaining_write_faults(self) -> Iterator[None]:
        """Every OSError becomes a StorageError that says what could not be done."""
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"{self.path}: this file cannot be written ({error.strerror}); check the path, its "
                "permissions and the space on the disk"
            ) from error
