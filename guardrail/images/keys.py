"""The secret from which the noise is derived."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from guardrail.errors import ConfigError

__all__ = ["SECRET_BYTES", "KeyRing", "NoiseKey", "ephemeral"]

SECRET_BYTES = 32
_BLOCK_BYTES = 64  # of SHA-256
_ID_LABEL = b"guardrail/noise-key-id/1"


@dataclass(frozen=True, slots=True)
class NoiseKey:
    """A 32-byte secret from which all noise is derived; never shown by `repr` or in messages.

    Attributes:
        key_id: sixteen hexadecimal digits that name the key in records; they do not reveal it.
    """

    secret: bytes = field(repr=False)
    key_id: str = field(init=False, compare=False)
    _inner: hashlib._Hash = field(init=False, compare=False, repr=False)
    _outer: hashlib._Hash = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise ConfigError(f"a noise key has {SECRET_BYTES} bytes, not {len(self.secret)}")
        # HMAC's two hashes (RFC 2104), begun with the secret: every derivation goes on from copies
        # of them, in half the time of `hmac.digest` and without letting other threads in between.
        padded = self.secret.ljust(_BLOCK_BYTES, b"\0")
        for name, pad in (("_inner", 0x36), ("_outer", 0x5C)):
            begun = hashlib.sha256(bytes(byte ^ pad for byte in padded))
            object.__setattr__(self, name, begun)
        named = hmac.digest(self.secret, _ID_LABEL, "sha256").hex()[:16]
        object.__setattr__(self, "key_id", named)

    def __repr__(self) -> str:
        return f"NoiseKey(key_id={self.key_id!r})"

    def __reduce__(self) -> tuple[type[NoiseKey], tuple[bytes]]:
        """Copied and pickled by its secret: hashes that are begun cannot be."""
        return type(self), (self.secret,)

    def derive(self, *fields: bytes) -> bytes:
        """HMAC-SHA256 of `fields`: 32 bytes that look random to anyone without the secret.

        Each field carries its length, so no two lists of fields run together into one message.
        """
        inner, outer = self._inner.copy(), self._outer.copy()
        for one in fields:
            inner.update(len(one).to_bytes(8, "big") + one)
        outer.update(inner.digest())
        return outer.digest()


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

    def rotate(self) -> KeyRing:
        """The same ring with a fresh current key; the present one is retired."""
        return KeyRing(ephemeral(), self.keys)


def ephemeral() -> NoiseKey:
    """A key that lives only in this process; its decisions cannot be replayed afterwards."""
    return NoiseKey(secrets.token_bytes(SECRET_BYTES))
