"""A short mark of a picture by which near-copies are found: recompressed, resized, brightened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from guardrail.images.digest import pixels_digest

if TYPE_CHECKING:
    from guardrail.images.codec import Picture
    from guardrail.types import Pixels

__all__ = [
    "HASH_BITS",
    "NEAR_COPY_BITS",
    "PictureMark",
    "are_near_copies_of_picture",
    "mark_of",
    "perceptual_hash",
]

HASH_BITS = 64
NEAR_COPY_BITS = 6
"""Two pictures are near-copies if at most so many bits of their hashes differ.

On 20 typographic pictures, the hardest kind to keep apart, two different ones differ in 14 bits
or more; recompression, half the size, noise of 6 levels and 10 % less light change 4 at most.
"""

_SIDE = 32
_KEPT = 9
_FLAT = 1e-6  # a coefficient of a flat picture is 0 up to rounding


@dataclass(frozen=True, slots=True)
class PictureMark:
    """SHA-256 of a picture's size and pixels, and its perceptual hash of `HASH_BITS` bits."""

    digest: bytes
    hash: int


def mark_of(picture: Picture) -> PictureMark:
    return PictureMark(pixels_digest((picture,)), perceptual_hash(picture.pixels))


def perceptual_hash(pixels: Pixels) -> int:
    """The signs of the 64 lowest spatial frequencies but the mean, as an integer.

    Of the picture in grey, squeezed to 32 x 32: its cosine transform's first 9 x 9 coefficients,
    row by row, without the first one.

    Args:
        pixels: RGB, shape (height, width, 3), uint8.

    Source: Zauner (2010), Implementation and Benchmarking of Perceptual Image Hash Functions (the
    DCT based hash, with signs in place of a comparison with the median).
    """
    from scipy.fft import dctn

    grey = Image.fromarray(pixels).convert("L")
    small = grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    lowest = dctn(np.asarray(small, dtype=np.float64), norm="ortho")[:_KEPT, :_KEPT]
    bits = lowest.ravel()[1 : HASH_BITS + 1] > _FLAT
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def are_near_copies_of_picture(a: PictureMark, b: PictureMark) -> bool:
    """Equal pixels, or hashes within `NEAR_COPY_BITS`."""
    return a.digest == b.digest or (a.hash ^ b.hash).bit_count() <= NEAR_COPY_BITS
