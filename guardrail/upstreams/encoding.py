"""How pictures travel: pixels to data URLs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pybase64

from guardrail.errors import ConfigError
from guardrail.images.encode import ImageFormat, encode_image, media_type_of
from guardrail.offload import ENCODE_LOSSY, ENCODE_PNG, offload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.types import Pixels

__all__ = ["Encoding"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How variants travel; what is lossy here is part of the model that a certificate speaks of.

    Attributes:
        image_format: `png` keeps every pixel.
        quality: 1 to 100, of `jpeg` and `webp`.

    Raises:
        ConfigError: the format or the quality is not one that can be used.
    """

    image_format: ImageFormat = "png"
    quality: int = 95

    def __post_init__(self) -> None:
        if self.image_format not in ("png", "jpeg", "webp"):
            raise ConfigError("must be 'png', 'jpeg' or 'webp'", field="variant_format")
        if not 1 <= self.quality <= 100:
            raise ConfigError("must lie in 1 to 100", field="jpeg_quality")

    def __str__(self) -> str:
        return "png" if self.image_format == "png" else f"{self.image_format} q{self.quality}"

    @property
    def url_start(self) -> str:
        """What every data URL begins with; the picture in base64 follows."""
        return f"data:{media_type_of(self.image_format)};base64,"

    async def data_urls(self, pictures: Sequence[Pixels]) -> list[bytes]:
        """One data URL for each picture, in ASCII; large ones are encoded in a thread."""
        start = self.url_start.encode()
        return [start + picture for picture in await self.in_base64(pictures)]

    async def in_base64(self, pictures: Sequence[Pixels]) -> list[bytes]:
        """The pictures encoded, without the start of their URLs."""
        limit = ENCODE_PNG if self.image_format == "png" else ENCODE_LOSSY
        size_bytes = sum(picture.nbytes for picture in pictures)
        return await offload(limit, size_bytes, self._in_base64, pictures)

    def _in_base64(self, pictures: Sequence[Pixels]) -> list[bytes]:
        encoded = (encode_image(p, self.image_format, quality=self.quality) for p in pictures)
        return [pybase64.b64encode(data) for data in encoded]
