"""Reads files that people give: never more of one than allowed, and never an open private key."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, TypeAlias

from guardrail.errors import CertificationError, ConfigError, RequestError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_file", "read_private_file"]

_ErrorKind: TypeAlias = type[ConfigError] | type[RequestError] | type[CertificationError]


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


def _make_error(kind: _ErrorKind, path: Path, problem: str) -> Exception:
    if kind is ConfigError:
        return ConfigError(problem, file=str(path))
    return kind(f"{path}: {problem}")
