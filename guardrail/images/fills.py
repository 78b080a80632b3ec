"""What stands in a view where it shows nothing of the picture: colours beside it, carried on.

Any function of the pixels that are left serves the proof; which one is chosen decides how much a
model still sees (benchmarks/recall/views.md). A patch of one colour hides part of a thing and is
one more thing itself, and what is cut off at the edge of a picture is taken for something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from guardrail.images.covers import Box

__all__ = ["cut_window", "fill_masked"]

_RIM_SHARE = 5
"""A window's rim is its side over this."""
_RIM = 3
"""How many pixels beside a mask are averaged, so that noise there draws no stripes."""
_BLOCK = 64
"""Rows that are filled at once; of large pictures the memory for all would be twelve bytes a
channel."""


def cut_window(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """A window with a rim around it, wherever the picture goes on: its own edges, carried on.

    A function of the window's pixels, its place and the picture's size alone, and no picture that
    differs outside the window differs here.

    Args:
        pixels: shape (height, width, 3).
        box: the window.

    Returns:
        Shape (height, width, 3), each side at most two fifths longer than the window's.
    """
    height, width = pixels.shape[:2]
    rims = [
        (min(side // _RIM_SHARE, start), min(side // _RIM_SHARE, length - start - side))
        for length, start, side in (
            (height, box.top, box.height),
            (width, box.left, box.width),
        )
    ]
    return np.pad(pixels[box.area], (*rims, (0, 0)), mode="edge")


def fill_masked(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The picture with a mask on it, filled from its edges.

    A pixel under the mask is the mean of the four rims that it would meet going up, down, left and
    right, each weighted by one over the distance squared; rims beyond the picture are left out. So
    it is a function of the pixels outside alone: whatever stands under the mask, it is the same.
    Rounded to 8 bits, so it is for views without noise, in which distances count for nothing.

    Args:
        pixels: shape (height, width, 3).
        box: within the picture, and smaller than it.
    """
    filled = pixels.copy()
    for start in range(0, box.height, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, box.height))
        total = np.zeros((len(rows), box.width, 3), dtype=np.float32)
        weights = np.zeros((len(rows), box.width, 1), dtype=np.float32)
        for rim, distance in _rims(pixels, box, rows):
            near = 1 / distance**2
            total += rim * near
            weights += near
        at = box.top + rows[0]
        filled[at : at + len(rows), box.left : box.left + box.width] = np.rint(total / weights)
    return filled


def _rims(
    pixels: NDArray[np.uint8], box: Box, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Colours beside the mask, and how far these rows of it are from them; they broadcast."""
    height, width = pixels.shape[:2]
    bottom, right = box.top + box.height, box.left + box.width
    down = (rows + 1).astype(np.float32)[:, None, None]
    across = np.arange(1, box.width + 1, dtype=np.float32)[None, :, None]
    beside, columns = box.area[0].start + rows, slice(box.left, right)
    if box.top > 0:
        yield _mean(pixels[max(0, box.top - _RIM) : box.top, columns], axis=0), down
    if bottom < height:
        yield _mean(pixels[bottom : bottom + _RIM, columns], axis=0), box.height + 1 - down
    if box.left > 0:
        yield _mean(pixels[beside, max(0, box.left - _RIM) : box.left], axis=1), across
    if right < width:
        yield _mean(pixels[beside, right : right + _RIM], axis=1), box.width + 1 - across


def _mean(rim: NDArray[np.uint8], axis: int) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = rim.mean(axis=axis, keepdims=True, dtype=np.float32)
    return mean
