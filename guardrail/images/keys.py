"""The secret behind the noise: made once, kept in a private file, rotated without losing replay.

File format: one key a line as 64 hexadecimal digits, the current key first, older ones after it.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import string
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from guardrail.errors import ConfigError

__all__ = [
    "KeyRing",
    "NoiseKey",
    "ephemeral",
    "load_or_create_key",
    "load_or_create_keyring",
    "rotate",
]

SECRET_BYTES = 32
_MAX_FILE_BYTES = 64 * 1024
_ID_LABEL = b"guardrail/noise-key-id/1"


@dataclass(frozen=True, slots=True)
class NoiseKey:
    """A 32-byte secret from which all noise is derived; never shown by `repr` or in messages."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise ConfigError(f"a noise key has {SECRET_BYTES} bytes, not {len(self.secret)}")

    def __repr__(self) -> str:
        return f"NoiseKey(key_id={self.key_id!r})"

    @property
    def key_id(self) -> str:
        """Sixteen hexadecimal digits that name the key in records; they do not reveal it."""
        return hmac.digest(self.secret, _ID_LABEL, "sha256").hex()[:16]

    def derive(self, *fields: bytes) -> bytes:
        """HMAC-SHA256 of `fields`: 32 bytes that look random to whoever lacks the secret.

        Each field carries its length, so no two lists of fields run together into one message.
        """
        message = b"".join(len(field).to_bytes(8, "big") + field for field in fields)
        return hmac.digest(self.secret, message, "sha256")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The current key and the retired ones, so that old decisions can still be replayed."""

    current: NoiseKey
    retired: tuple[NoiseKey, ...] = ()

    @property
    def keys(self) -> tuple[NoiseKey, ...]:
        return (self.current, *self.retired)

    def find(self, key_id: str) -> NoiseKey:
        """The key that made a decision. Raises ConfigError where it is no longer in the ring."""
        for key in self.keys:
            if key.key_id == key_id:
                return key
        raise ConfigError(
            f"no noise key with id {key_id!r} in this key ring; restore the retired key to the "
            "key file to replay decisions made with it"
        )

    def rotated(self) -> KeyRing:
        """The same ring with a fresh current key; the present one is retired."""
        return KeyRing(ephemeral(), self.keys)


def ephemeral() -> NoiseKey:
    """A key that lives only in this process; its decisions cannot be replayed afterwards."""
    return NoiseKey(secrets.token_bytes(SECRET_BYTES))


def load_or_create_key(path: str | os.PathLike[str]) -> NoiseKey:
    """The current key of the file at `path`, which is made (mode 0600) where it is missing.

    Raises:
        ConfigError: the file is malformed, not private, or cannot be read or written.
    """
    return load_or_create_keyring(path).current


def load_or_create_keyring(path: str | os.PathLike[str]) -> KeyRing:
    """All keys of the file at `path`; a missing file is made with one fresh key.

    Two processes that start together end up with the same key: the file appears complete or not
    at all, and whoever comes second reads the first one's.

    Raises:
        ConfigError: the file is malformed, not private, or cannot be read or written.
    """
    file = Path(path)
    try:
        if not file.exists():
            _create(file, KeyRing(ephemeral()))
        return _parse(_read_private(file), file)
    except OSError as error:
        raise _unusable(file, error) from error


def rotate(path: str | os.PathLike[str]) -> KeyRing:
    """Puts a fresh key first in the file at `path`, atomically, and keeps the others behind it.

    Raises:
        ConfigError: the file is malformed, not private, or cannot be read or written.
    """
    file = Path(path)
    ring = load_or_create_keyring(file).rotated()
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


def _read_private(file: Path) -> bytes:
    """The file's bytes, after a check on the open file that nobody else may read it."""
    with file.open("rb") as stream:
        status = os.fstat(stream.fileno())
        if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(
                f"the noise key file is open to other users (mode {status.st_mode & 0o777:04o}); "
                f"run 'chmod 600 {file}', and rotate the key if others may have read it",
                file=str(file),
            )
        return stream.read(_MAX_FILE_BYTES + 1)


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
