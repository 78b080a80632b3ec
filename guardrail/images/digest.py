"""What the pixels of a request are called in digests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.images.codec import Picture

__all__ = ["pixels_digest"]

_LABEL = b"guardrail/pixels/1"


def pixels_digest(pictures: Iterable[Picture]) -> bytes:
    """SHA-256 over the shape and the bytes of every picture, in order; 32 bytes."""
    digest = hashlib.sha256(_LABEL)
    for picture in pictures:
        # The shape fixes how many bytes follow, so two lists of pictures never run together.
        for side in picture.pixels.shape:
            digest.update(side.to_bytes(8, "big"))
        digest.update(picture.pixels.data)
    return digest.digest()
