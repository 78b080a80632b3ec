"""Ed25519 signatures over records; they cannot be forged with the public key alone.

A digest detects changes by accident, a signature those on purpose. Needs the package
`cryptography`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.canonical import short_digest
from guardrail.distribution import install_command
from guardrail.errors import ConfigError
from guardrail.files import read_file, read_private_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

__all__ = ["RecordSigner", "RecordVerifier", "load_or_create_signer", "load_verifier"]

_LABEL = b"guardrail/record/1"
_LARGEST_BYTES = 16 * 1024


class RecordVerifier:
    """Checks signatures with one public key."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    @property
    def key_id(self) -> str:
        """Sixteen hexadecimal digits of the public key's SHA-256."""
        return short_digest(self._key.public_bytes_raw(), 16)

    def holds(self, digest: str, signature: str) -> bool:
        """Whether `signature` is this key's over `digest`, both hexadecimal."""
        from cryptography.exceptions import InvalidSignature

        with suppress(InvalidSignature, ValueError):
            self._key.verify(bytes.fromhex(signature), _LABEL + bytes.fromhex(digest))
            return True
        return False


class RecordSigner:
    """Signs digests; neither `repr` nor any message shows the key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = RecordVerifier(key.public_key()).key_id

    def sign(self, digest: str) -> str:
        return self._key.sign(_LABEL + bytes.fromhex(digest)).hex()


def load_or_create_signer(path: str | os.PathLike[str]) -> RecordSigner:
    """The private key in a PEM file; a missing one is made, its public half beside it (`.pub`).

    Raises:
        ConfigError: `cryptography` is not installed, or the file is not such a key, is open to
            other users, or cannot be read or written.
    """
    ed25519, serialization = _import_cryptography()
    file = Path(path)
    try:
        if not file.exists():
            _create(file, ed25519.Ed25519PrivateKey.generate(), serialization)
        data = read_private_file(file, "key file", max_bytes=_LARGEST_BYTES)
    except OSError as error:
        raise _key_file_error(file, f"cannot be used ({error.strerror}); check the path") from error
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (TypeError, ValueError) as error:
        raise _key_file_error(file, "is not an unencrypted private key in PEM form") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise _key_file_error(file, "holds another kind of key; Ed25519 is needed")
    return RecordSigner(key)


def load_verifier(path: str | os.PathLike[str]) -> RecordVerifier:
    """The public key in a PEM file. Raises ConfigError, as `load_or_create_signer`."""
    ed25519, serialization = _import_cryptography()
    file = Path(path)
    data = read_file(file, "public key", max_bytes=_LARGEST_BYTES)
    try:
        key = serialization.load_pem_public_key(data)
    except ValueError as error:
        raise _key_file_error(file, "is not a public key in PEM form") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise _key_file_error(file, "holds another kind of key; Ed25519 is needed")
    return RecordVerifier(key)


def _import_cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"signatures need the package cryptography; {install_command('sign')}"
        ) from error
    return ed25519, serialization


def _create(file: Path, key: Ed25519PrivateKey, serialization: Any) -> None:
    """Writes the private half first: a public key without its private one would be of no use."""
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(private)
    file.with_name(f"{file.name}.pub").write_bytes(public)


def _key_file_error(file: Path, what: str) -> ConfigError:
    return ConfigError(f"the key file {what}", file=str(file))
