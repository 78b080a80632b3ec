"""Cuts a picture into tiles that a text reader takes, at native resolution and at coarser ones.

Small print is legible at native resolution only; letters larger than a tile, and lines longer than
one, only where the picture is scaled down. So each picture is read at its own size, at half of it,
and so on, until it fits one tile:

    4000 × 2400 pixels: 4 × 2 tiles, then 2000 × 1200 in 2 × 1, then 1000 × 600 in one
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.types import Pixels

__all__ = ["OVERLAP_PX", "TILE_PX", "count_tiles", "cut_levels"]

TILE_PX = 1280
"""Longest side of a tile, in pixels."""
OVERLAP_PX = 160
"""Shared by neighbours: a line of letters up to this height stands whole in one of them."""


def cut_levels(pixels: Pixels) -> Iterator[list[Pixels]]:
    """For each resolution, from the native one down, its tiles in reading order."""
    while True:
        yield [
            pixels[top:bottom, left:right]
            for top, bottom in _spans(pixels.shape[0])
            for left, right in _spans(pixels.shape[1])
        ]
        if max(pixels.shape[:2]) <= TILE_PX:
            return
        pixels = _halve(pixels)


def count_tiles(height_px: int, width_px: int) -> int:
    """How many tiles `cut_levels` makes of a picture of this size."""
    count = len(_spans(height_px)) * len(_spans(width_px))
    if max(height_px, width_px) <= TILE_PX:
        return count
    return count + count_tiles(math.ceil(height_px / 2), math.ceil(width_px / 2))


def _spans(size: int) -> list[tuple[int, int]]:
    """Begin and end of each tile along one side: of one length, and overlapping."""
    if size <= TILE_PX:
        return [(0, size)]
    count = math.ceil((size - OVERLAP_PX) / (TILE_PX - OVERLAP_PX))
    step = (size - TILE_PX) / (count - 1)
    begins = [round(i * step) for i in range(count)]
    return [(begin, begin + TILE_PX) for begin in begins]


def _halve(pixels: Pixels) -> Pixels:
    """The means of 2 × 2 pixels; an odd last row or column is doubled first."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    parts = (padded[i::2, j::2].astype(np.uint16) for i in (0, 1) for j in (0, 1))
    total = next(parts)
    for part in parts:
        total = total + part
    return ((total + 2) // 4).astype(np.uint8)
