"""Encrypts values that stand in Redis, and ties them to their names."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.images.keys import NoiseKey

__all__ = ["ValueCipher"]

_NONCE_BYTES = 12


class ValueCipher:
    """Whoever reads Redis learns nothing of a value, and whoever writes there cannot plant one.

    Args:
        key: the secret that all processes share.
        label: what the values are for; those of another label are not opened.

    Raises:
        ConfigError: the package `cryptography` is missing.
    """

    def __init__(self, key: NoiseKey, label: bytes) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ConfigError(
                "needs the package cryptography; run: pip install 'certified-guardrail[redis]'",
                field="redis",
            ) from None
        self._cipher = AESGCM(key.derive(label))

    def seal(self, name: bytes, value: bytes) -> bytes:
        """The value, to be kept under this name."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, name)

    def open(self, name: bytes, sealed: Any) -> bytes | None:
        """The value; None where it is damaged, or was written by somebody without the key."""
        from cryptography.exceptions import InvalidTag

        if not isinstance(sealed, bytes) or len(sealed) <= _NONCE_BYTES:
            return None
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name)
        except InvalidTag:
            return None
