"""Keys of the noise in private files: made once, rotated without losing replay.

File format: one key a line as 64 hexadecimal digits, the current key first, older ones after it.
"""

from __future__ import annotations

import os
import string
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.files import read_private_file
from guardrail.images.keys import SECRET_BYTES, KeyRing, NoiseKey, ephemeral

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["create_key", "load_keyring", "load_or_create_key", "load_or_create_keyring", "rotate"]

_MAX_FILE_BYTES = 64 * 1024
_MOST_KEYS = _MAX_FILE_BYTES // (2 * SECRET_BYTES + 1)


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


def load_keyring(path: str | os.PathLike[str]) -> KeyRing:
    """All keys of a file that must be there already. Raises ConfigError."""
    file = Path(path)
    if not file.exists():
        raise ConfigError(
            "there is no noise key file; check the path, or make one by 'guardrail noise-key "
            "create'",
            file=str(file),
        )
    return load_or_create_keyring(file)


def create_key(path: str | os.PathLike[str]) -> NoiseKey:
    """A fresh key in a file (mode 0600) that must not be there yet. Raises ConfigError."""
    file, key = Path(path), ephemeral()
    try:
        is_made = not os.path.lexists(file) and _create(file, KeyRing(key))
    except OSError as error:
        raise _unusable(file, error) from error
    if not is_made:
        raise ConfigError(
            "there is such a file already; put a new key before its keys by 'guardrail noise-key "
            "rotate'",
            file=str(file),
        )
    return key


def rotate(path: str | os.PathLike[str]) -> KeyRing:
    """Puts a fresh key first in the file at `path`, atomically, and keeps the others behind it.

    Of several rotations at a time each adds its key. Owner and group of the file stay, so that who
    could read it still can.

    Raises:
        ConfigError: the file is missing, malformed, full or not private, or cannot be read or
            written.
    """
    load_keyring(path)
    file = Path(path).resolve()  # of a link, the file that it leads to
    try:
        with _excluding_others(file):
            ring = load_keyring(file)
            if len(ring.keys) >= _MOST_KEYS:
                raise ConfigError(
                    f"the noise key file holds {len(ring.keys)} keys, and more do not fit; take "
                    "older ones out whose records need no replay, but leave the last one, under "
                    "which tries are counted",
                    file=str(file),
                )
            ring = ring.rotate()
            fresh, owned = _write_beside(file, ring), file.stat()
            try:
                if (owned.st_uid, owned.st_gid) != (os.geteuid(), os.getegid()):
                    os.chown(fresh, owned.st_uid, owned.st_gid)
                fresh.replace(file)
            except OSError:
                fresh.unlink()
                raise
    except OSError as error:
        raise _unusable(file, error) from error
    return ring


@contextmanager
def _excluding_others(file: Path) -> Iterator[None]:
    """Lets one process at a time replace the file, by a lock of the operating system on it."""
    import fcntl  # not on Windows, where the rest of the package still imports

    while True:
        with file.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            # Whoever had the lock before has put another file in its place.
            if os.path.samestat(os.fstat(held.fileno()), file.stat()):
                yield
                return


def _unusable(file: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the noise key file cannot be used ({error.strerror}); give a path in a directory that "
        "this user may read and write",
        file=str(file),
    )


def _create(file: Path, ring: KeyRing) -> bool:
    """Makes the file unless it appeared meanwhile, and whether: a hard link never overwrites."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = _write_beside(file, ring)
    try:
        file.hardlink_to(fresh)
    except FileExistsError:
        return False  # another process was first: its key is the one to use
    finally:
        fresh.unlink()
    return True


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
