"""How large a picture may be, and the three ways to say that it is too large."""

from __future__ import annotations

from dataclasses import dataclass

from guardrail.errors import RequestError

__all__ = ["ImageLimits", "too_large"]


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest picture that is decoded; encoded bytes, pixels in all, and the longest side."""

    max_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 24_000_000
    max_side_px: int = 8192

    def check_bytes(self, size_bytes: int, param: str) -> None:
        """Raises RequestError (413) for more encoded bytes than allowed."""
        if size_bytes > self.max_bytes:
            raise too_large(f"has more than {self.max_bytes} bytes", param)

    def check_size(self, width: int, height: int, param: str) -> None:
        """Raises RequestError for a picture without pixels (400) or with too many (413)."""
        if width < 1 or height < 1:
            raise RequestError(
                f"{param}: the picture has no pixels ({width}x{height}); send one of at least 1x1",
                param=param,
                code="invalid_image",
            )
        if width > self.max_side_px or height > self.max_side_px:
            raise too_large(f"({width}x{height}) has a side above {self.max_side_px} px", param)
        if width * height > self.max_pixels:
            raise too_large(f"({width}x{height}) has more than {self.max_pixels} pixels", param)


def too_large(what: str, param: str) -> RequestError:
    return RequestError(
        f"{param}: the picture {what}; scale it down before sending it",
        status=413,
        param=param,
        code="image_too_large",
    )
