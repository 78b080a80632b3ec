"""The pepper: a secret beside the table of keys, without which their digests say nothing."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.files import read_private_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["create_pepper", "read_pepper"]

_BYTES = 32
_DIGITS = frozenset("0123456789abcdef")


def read_pepper(file: Path) -> bytes:
    """The pepper in a file: 32 bytes, written as 64 hexadecimal digits.

    Raises:
        ConfigError: the file is missing, malformed, or open to other users.
    """
    try:
        data = read_private_file(file, "pepper file", max_bytes=2 * _BYTES + 3)
    except OSError as error:
        raise ConfigError(
            f"the pepper of the API keys cannot be read ({error.strerror}); 'guardrail keys "
            "create' makes it with the first key, and every server that takes the keys needs a "
            "copy; without it no key is known",
            file=str(file),
        ) from error
    text = data.decode("ascii", errors="replace").strip()
    if len(text) != 2 * _BYTES or not set(text) <= _DIGITS:
        raise ConfigError(
            "the pepper file must hold 64 hexadecimal digits and nothing else; restore it from a "
            "backup: with another pepper no key is known",
            file=str(file),
        )
    return bytes.fromhex(text)


def create_pepper(file: Path) -> bytes:
    """The pepper in a file that is made (mode 0600) if it is not there. Raises ConfigError."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_pepper(file)
    except OSError as error:
        raise ConfigError(
            f"the pepper of the API keys cannot be written ({error.strerror}); name a file in a "
            "directory that this user may write by --pepper",
            file=str(file),
        ) from error
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(f"{secrets.token_bytes(_BYTES).hex()}\n")
        stream.flush()
        os.fsync(stream.fileno())
    return read_pepper(file)
