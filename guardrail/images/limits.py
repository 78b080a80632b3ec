"""How large a picture may be, alone and together with the others of its request."""

from __future__ import annotations

from dataclasses import dataclass

from guardrail.errors import RequestError

__all__ = ["ImageLimits", "PixelBudget", "too_large"]


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest picture that is decoded; encoded bytes, pixels in all, and the longest side.

    `max_total_pixels` holds for all pictures of a request together, by a `PixelBudget` of it.
    """

    max_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 25_000_000
    max_side_px: int = 16_384
    max_total_pixels: int = 50_000_000

    def check_bytes(self, size_bytes: int, param: str) -> None:
        """Raises RequestError (413) for more encoded bytes than allowed."""
        if size_bytes > self.max_bytes:
            raise too_large(f"has more than {self.max_bytes} bytes", param, "max_image_bytes")

    def check_size(self, width: int, height: int, param: str) -> None:
        """Raises RequestError for a picture without pixels (400) or with too many (413)."""
        if width < 1 or height < 1:
            raise RequestError(
                f"{param}: the picture has no pixels ({width}x{height}); send one of at least 1x1",
                param=param,
                code="invalid_image",
            )
        if width > self.max_side_px or height > self.max_side_px:
            what = f"({width}x{height}) has a side above {self.max_side_px} px"
            raise too_large(what, param, "max_image_side_px")
        if width * height > self.max_pixels:
            what = f"({width}x{height}) has more than {self.max_pixels} pixels"
            raise too_large(what, param, "max_image_pixels")


class PixelBudget:
    """The pixels that one request may still decode; one budget serves all of its pictures.

    Without it, many pictures that are each within the limits could fill the memory together.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self._most = self._left = limits.max_total_pixels

    def spend(self, width: int, height: int, param: str) -> None:
        """Raises RequestError (413) where this picture goes beyond what is left."""
        if width * height > self._left:
            raise RequestError(
                f"{param}: the pictures of this request have more than {self._most} pixels "
                "together; send fewer, scale them down, or raise advanced.limits.max_total_pixels",
                status=413,
                param=param,
                code="images_too_large",
            )
        self._left -= width * height


def too_large(what: str, param: str, limit: str) -> RequestError:
    """The error for a picture beyond a limit, which is a field of `advanced.limits`."""
    return RequestError(
        f"{param}: the picture {what}; scale it down before sending it, or raise "
        f"advanced.limits.{limit}",
        status=413,
        param=param,
        code="image_too_large",
    )
