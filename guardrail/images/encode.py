"""8-bit RGB to PNG, JPEG or WebP, written for speed: a request encodes dozens of variants."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from guardrail.images.header import MEDIA_TYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ImageFormat", "encode_image", "media_type_of"]

ImageFormat = Literal["png", "jpeg", "webp"]


def encode_image(
    pixels: NDArray[np.uint8], image_format: ImageFormat, *, quality: int = 90, png_level: int = 0
) -> bytes:
    """Encodes RGB pixels of shape (height, width, 3), fast.

    Args:
        pixels: dtype uint8.
        image_format: `png` keeps every pixel; `jpeg` (4:4:4) and `webp` are lossy.
        quality: 1 to 100, of `jpeg` and `webp`.
        png_level: 0 to 9, zlib's; noise hardly compresses, so 0 stores the pixels as they are.
    """
    if image_format == "png":
        return _png(np.ascontiguousarray(pixels), png_level)
    options = {"jpeg": {"subsampling": 0}, "webp": {"method": 0}}[image_format]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format.upper(), quality=quality, **options)
    return buffer.getvalue()


def media_type_of(image_format: ImageFormat) -> str:
    """The media type of what `encode_image` returns."""
    return MEDIA_TYPES[image_format.upper()]


def _png(pixels: NDArray[np.uint8], level: int) -> bytes:
    """A PNG with filter 0 on every row; several times faster than Pillow, which tries filters."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8-bit RGB, not interlaced
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, level)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(body, zlib.crc32(kind))
    return b"".join((len(body).to_bytes(4, "big"), kind, body, crc.to_bytes(4, "big")))
