"""Reads files that people give: never more of one than allowed, and never an open private key."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TypeAlias

from guardrail.errors import CertificationError, ConfigError, RequestError, StorageError

__all__ = ["check_room", "read_file", "read_private_file", "read_secret_file", "read_variable"]

_LARGEST_SECRET_BYTES = 64 * 1024
_LEAST_ROOM_BYTES = 1 << 20

_ErrorKind: TypeAlias = type[ConfigError] | type[RequestError] | type[CertificationError]


def check_room(file: Path) -> None:
    """Whether the disk of a file that is written has room for more.

    A little may be written where it has not: into blocks that are there, or what a file system
    keeps back.

    Raises:
        StorageError: it has not.
    """
    if not hasattr(os, "statvfs"):  # on Windows
        return
    try:
        disk = os.statvfs(file.absolute().parent)
    except OSError as fault:
        raise StorageError(f"{file}: its disk cannot be looked at ({fault.strerror})") from fault
    blocks = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail  # root may use the reserve, too
    if blocks * disk.f_frsize < _LEAST_ROOM_BYTES:
        raise StorageError(f"{file}: its disk is full; make room")


def read_file(
    path: Path,
    what: str,
    *,
    max_bytes: int,
    error: _ErrorKind = ConfigError,
    remedy: str = "check the path",
) -> bytes:
    """The bytes of a file.

    Args:
        path: the file.
        what: what it is, as in "policy", for messages.
        max_bytes: a longer file is refused after so many bytes were read.
        error: the class to raise.
        remedy: what to do about a file that cannot be read.

    Raises:
        ConfigError: or another `error`: the file cannot be read or is too long.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except (OSError, ValueError) as fault:  # ValueError: a name with a null character
        problem = getattr(fault, "strerror", None) or "there can be no such file"
        raise _make_error(
            error, path, f"the {what} cannot be read ({problem}); {remedy}"
        ) from fault
    if len(data) > max_bytes:
        raise _make_error(
            error, path, f"the {what} has more than {max_bytes} bytes; give a smaller file"
        )
    return data


def read_private_file(path: Path, what: str, *, max_bytes: int) -> bytes:
    """At most so many first bytes of a file that only its owner may read.

    The check is made on the open file, so that no other file can take its place in between.

    Raises:
        ConfigError: other users may read or write the file.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(
                f"the {what} is open to other users (mode {mode & 0o777:04o}); run "
                f"'chmod 600 {path}', and replace the key if others may have read it",
                file=str(path),
            )
        return stream.read(max_bytes)


def read_variable(name: str) -> str:
    """An environment variable, or what stands in the file that NAME_FILE names; else empty.

    Raises:
        ConfigError: both are set, or the file cannot be used.
    """
    value = os.environ.get(name, "").strip()
    file = os.environ.get(f"{name}_FILE", "").strip()
    if value and file:
        raise ConfigError(f"the variables {name} and {name}_FILE are both set; unset one of them")
    return read_secret_file(Path(file), f"file that {name}_FILE names") if file else value


def read_secret_file(file: Path, what: str) -> str:
    """The one line of a file, as container platforms hand over secrets.

    Raises:
        ConfigError: it cannot be read, or holds anything but one line.
    """
    data = read_file(file, what, max_bytes=_LARGEST_SECRET_BYTES)
    text = data.decode("utf-8", errors="replace").strip()
    if not text or len(text.splitlines()) != 1:
        raise ConfigError(f"the {what} must hold one secret, in one line", file=str(file))
    return text


def _make_error(kind: _ErrorKind, path: Path, problem: str) -> Exception:
    if kind is ConfigError:
        return ConfigError(problem, file=str(path))
    return kind(f"{path}: {problem}")
