r"""The secret of an API key: made, recognised and digested.

    grd_ + 43 characters for 256 random bits + 6 for a checksum

all of them digits and letters. Programs that look for secrets in repositories and logs find one by
`\bgrd_[0-9A-Za-z]{49}\b`, and tell it from chance by the checksum: the CRC-32 of the 43
characters, to the base 62, the highest digit first.

Digests are keyed BLAKE2b, which is quick. Slow ones (bcrypt, Argon2) exist for what people choose:
there a thief of the table tries likely passwords. 256 random bits have no likely values, so a slow
digest would protect nothing, and anybody could make the server compute one by sending a wrong key.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

__all__ = ["PREFIX", "SECRET_CHARS", "digest_secret", "is_secret", "new_secret"]

PREFIX = "grd_"
SECRET_CHARS = 53
"""Characters of a secret, prefix and checksum included."""

_RANDOM_BITS = 256
_RANDOM_CHARS = 43  # 62^43 > 2^256
_CHECK_CHARS = 6  # 62^6 > 2^32
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_DIGITS = frozenset(_ALPHABET)


def new_secret() -> str:
    """A secret of 256 random bits."""
    random = _encode(secrets.randbits(_RANDOM_BITS), _RANDOM_CHARS)
    return PREFIX + random + _checksum(random)


def is_secret(text: str) -> bool:
    """Whether a text has the form of a secret, its checksum included."""
    if len(text) != SECRET_CHARS or not text.startswith(PREFIX):
        return False
    random, check = text[len(PREFIX) : -_CHECK_CHARS], text[-_CHECK_CHARS:]
    return _DIGITS.issuperset(random) and check == _checksum(random)


def digest_secret(secret: str, pepper: bytes) -> str:
    """What is kept of a secret: 64 hexadecimal digits that say nothing without the pepper.

    Who can write the table of keys but has not read the pepper cannot add a key of their own.
    """
    data = secret.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, key=pepper, digest_size=32).hexdigest()


def _checksum(random: str) -> str:
    return _encode(zlib.crc32(random.encode("ascii")), _CHECK_CHARS)


def _encode(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
