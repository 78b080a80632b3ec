"""Keys of the noise in private files: made once, rotated without losing replay.

File format: one key a line as 64 hexadecimal digits, the current key first, older ones after it.
"""

from __future__ import annotations

import os
import string
import tempfile
from pathlib import Path

from guardrail.errors import ConfigError
from guardrail.files import read_private_file
from guardrail.images.keys import SECRET_BYTES, KeyRing, NoiseKey, ephemeral

__all__ = ["load_or_create_key", "load_or_create_keyring", "rotate"]

_MAX_FILE_BYTES = 64 * 1024


def load_or_create_key(path: str | os.PathLike[str]) -> NoiseKey:
    """The current key of the file at `path`, which is made (mode 0600) where it is missing.

    Raises:
        ConfigError: the file is malformed, not private, or cannot be read or written.
    """
    return load_or_create_keyring(path).current


def load_or_create_keyring(path: str | os.PathLike[str]) -> KeyRing:
    """All keys of the file at `path`; a missing file is made with one fresh key.

    Two processes that start together end up with the same key: the file appears complete or not
    at all, and the second one reads the first one's.

    Raises:
        ConfigError: the file is malformed, not private, or cannot be read or written.
    """
    file = Path(path)
    try:
        if not file.exists():
            _create(file, KeyRing(ephemeral()))
        data = read_private_file(file, "noise key file", max_bytes=_MAX_FILE_BYTES + 1)
        return _parse(data, file)
    except OSError as error:
        raise _unusable(file, error) from error


def rotate(path: str | os.PathLike[str]) -> KeyRing:
    """Puts a fresh key first in the file at `path`, atomically, and keeps the others behind it.

    Raises:
        ConfigError: the file is malformed, not private, or cannot be read or written.
    """
    file = Path(path)
    ring = load_or_create_keyring(file).rotate()
    try:
        _write_beside(file, ring).replace(file)
    except OSError as error:
        raise _unusable(file, error) from error
    return ring


def _unusable(file: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the noise key file cannot be used ({error.strerror}); give a path in a directory that "
        "this user may read and write",
        file=str(file),
    )


def _create(file: Path, ring: KeyRing) -> None:
    """Makes the file unless it appeared meanwhile: a hard link never overwrites."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = _write_beside(file, ring)
    try:
        file.hardlink_to(fresh)
    except FileExistsError:
        pass  # another process was first: its key is the one to use
    finally:
        fresh.unlink()


def _write_beside(file: Path, ring: KeyRing) -> Path:
    """Writes the ring to a new private file in the same directory and returns its path."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.writelines(f"{key.secret.hex()}\n" for key in ring.keys)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        Path(name).unlink()
        raise
    return Path(name)


def _parse(content: bytes, file: Path) -> KeyRing:
    lines = content.decode("ascii", errors="replace").splitlines()
    if not lines or len(content) > _MAX_FILE_BYTES or not all(map(_is_key_line, lines)):
        raise ConfigError(
            f"the noise key file must hold one key of {2 * SECRET_BYTES} hexadecimal digits a "
            "line and nothing else; restore it from a backup, or move it away to have a new key "
            "made (old decisions then cannot be replayed)",
            file=str(file),
        )
    current, *retired = (NoiseKey(bytes.fromhex(line)) for line in lines)
    return KeyRing(current, tuple(retired))


def _is_key_line(line: str) -> bool:
    return len(line) == 2 * SECRET_BYTES and set(line) <= set(string.hexdigits)
