"""Collages: the picture made smaller, beside another one, on a page of the picture's size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.types import Pixels

__all__ = ["make_collage"]


def make_collage(pixels: Pixels, other: Pixels, share: float) -> Pixels:
    """The picture on the left and another on the right of a white page, both in the middle of it.

    Args:
        pixels: uint8, shape (h, w, 3).
        other: of any size; scaled to the shape of the page.
        share: of the page's width (and height) that the picture is left, in (0, 1); the other
            picture has the rest.

    Returns:
        Shape (h, w, 3).

    Raises:
        ConfigError: one of the two would not have one pixel.
    """
    height, width = pixels.shape[:2]
    left = round(share * width) if 0 < share < 1 else 0
    sizes = [(round(height * part / width), part) for part in (left, width - left)]
    if any(rows < 1 or columns < 1 for rows, columns in sizes):
        raise ConfigError("must leave each of the two pictures a pixel", field="share")
    page = np.full_like(pixels, 255)
    at = 0
    for picture, (rows, columns) in zip((pixels, other), sizes, strict=True):
        top = (height - rows) // 2
        page[top : top + rows, at : at + columns] = _scale(picture, rows, columns)
        at += columns
    return page


def _scale(pixels: Pixels, rows: int, columns: int) -> Pixels:
    from PIL import Image

    scaled = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BOX)
    return np.asarray(scaled)
