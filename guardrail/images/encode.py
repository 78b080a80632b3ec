"""8-bit RGB to PNG, JPEG or WebP, written for speed: a request encodes dozens of variants."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

from PIL import Image

from guardrail.images.header import MEDIA_TYPES
from guardrail.images.png import write_png

if TYPE_CHECKING:
    import numpy as np
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
        return write_png(pixels, png_level)
    options = {"jpeg": {"subsampling": 0}, "webp": {"method": 0}}[image_format]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format.upper(), quality=quality, **options)
    return buffer.getvalue()


def media_type_of(image_format: ImageFormat) -> str:
    """The media type of what `encode_image` returns."""
    return MEDIA_TYPES[image_format.upper()]
