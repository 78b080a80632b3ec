"""What was asked and answered, sealed: AES-256-GCM with a key that is in no record.

    sealed = keys.seal({"messages": [...]}, record_id)
    keys.open(sealed, record_id)                        # {"messages": [...]}

Form: 8 bytes name the key, 12 are the nonce, the rest is the ciphertext. The record's id is bound
in, so that no sealed content can stand in another record.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING, Any

from guardrail.canonical import canonical_json, digest_json, parse_strict
from guardrail.distribution import install_command
from guardrail.errors import CertificationError, ConfigError
from guardrail.key_files import load_or_create_keyring

if TYPE_CHECKING:
    from guardrail.images.keys import KeyRing, NoiseKey
    from guardrail.records.record import Record
    from guardrail.types import Json

__all__ = [
    "ContentKeys",
    "digest_content",
    "holds_content",
    "load_or_create_content_keys",
    "open_content",
]

_LABEL = b"guardrail/content/1"
_KEY_BYTES = 8
_NONCE_BYTES = 12


class ContentKeys:
    """Seals with the current key of a ring, and opens with any of them."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def seal(self, content: Json, record_id: str) -> bytes:
        """The content as nobody can read it without the key."""
        return self.seal_bytes(canonical_json(content), record_id)

    def seal_bytes(self, data: bytes, name: str) -> bytes:
        """The bytes as nobody can read them without the key, bound to a name."""
        key, nonce = self._ring.current, os.urandom(_NONCE_BYTES)
        ciphertext = _cipher(key).encrypt(nonce, data, name.encode())
        return bytes.fromhex(key.key_id) + nonce + bytes(ciphertext)

    def open(self, sealed: bytes, record_id: str) -> Json:
        """The content again.

        Raises:
            ConfigError: its key is not in the ring.
            CertificationError: it was changed, or belongs to another record.
        """
        try:
            return parse_strict(self.open_bytes(sealed, record_id))
        except ValueError as error:
            raise _changed_error(record_id) from error

    def open_bytes(self, sealed: bytes, name: str) -> bytes:
        """What `seal_bytes` sealed for this name. Raises as `open` does."""
        from cryptography.exceptions import InvalidTag

        key = self._ring.find(sealed[:_KEY_BYTES].hex())
        rest = sealed[_KEY_BYTES:]
        nonce, ciphertext = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        try:
            return bytes(_cipher(key).decrypt(nonce, ciphertext, name.encode()))
        except (InvalidTag, ValueError) as error:
            raise _changed_error(name) from error


def load_or_create_content_keys(path: str | os.PathLike[str]) -> ContentKeys:
    """The keys of a file in the form of noise keys; made (mode 0600) where it is missing.

    Raises:
        ConfigError: `cryptography` is not installed, or see `load_or_create_keyring`.
    """
    _import_cipher()
    return ContentKeys(load_or_create_keyring(path))


def open_content(record: Record, keys: ContentKeys | None) -> dict[str, Json]:
    """What a record keeps of its content; empty where it keeps none.

    Raises:
        ConfigError: there is no key, or another one.
        CertificationError: the content was changed.
    """
    if isinstance(record.content, dict):
        return record.content
    if record.content is None:
        return {}
    if keys is None:
        raise ConfigError("the records' content is sealed; give its key with --content-key")
    content = keys.open(base64.b64decode(record.content), record.record_id)
    return content if isinstance(content, dict) else {}


def digest_content(sealed: bytes) -> str:
    """SHA-256 (hex): says nothing of the content to anyone without the key."""
    return hashlib.sha256(sealed).hexdigest()


def holds_content(record: Record) -> bool:
    """Whether the content of a record, if it is there, is the one that was kept."""
    content = record.content
    if content is None:
        return True
    if not isinstance(content, str):
        return digest_json(content) == record.content_digest
    try:
        return digest_content(base64.b64decode(content, validate=True)) == record.content_digest
    except ValueError:
        return False


def _changed_error(name: str) -> CertificationError:
    return CertificationError(f"the content of record {name} was changed; it cannot be read")


def _cipher(key: NoiseKey) -> Any:
    return _import_cipher()(key.derive(_LABEL))


def _import_cipher() -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"sealed content needs the package cryptography; {install_command('sign')}"
        ) from error
    return AESGCM
