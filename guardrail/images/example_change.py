"""An example of how far a picture may be changed: a change of a given ℓ2 size, in whole levels.

Pixels are whole levels of 255, so a change of size r must have a sum of squared levels of at most
(255 r)², and only whole numbers of levels come into question. Every value of an area changes by
`levels`, and `raised` of them by one level more; the sum comes as near to the bound as that allows,
and never above it. Whether a value goes up or down is free, and as no value changes by more than
128 levels one of the two always stays within 0 to 255: nothing is clipped, and the size depends on
nothing but the picture's sides.

Example: 2 x 2 pixels (12 values) and r = 0.02 leave a sum of floor((255 * 0.02)²) = 26: each value
changes by 1, and since 2² - 1² = 3, floor((26 - 12) / 3) = 4 of them by 2. The sum is 24, the size
sqrt(24) / 255 = 0.0192.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, assert_never

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ExampleChange", "Pattern", "apply_change", "plan_change"]

_CHANNELS = 3
_LEVELS = 255
_MOST_LEVELS = 127
"""And one more, by which each of 0 to 255 can still go up or down."""
_SPOT_LEVELS = 64
_BLOCK_VALUES = 1 << 20  # at a time: beside the picture little memory is held


class Pattern(StrEnum):
    """Where a change lies; a closed list."""

    SPREAD = "spread"
    """Noise over the whole picture."""
    SPOT = "spot"
    """A square in the middle, lighter or darker by a quarter of the scale or more."""


@dataclass(frozen=True, slots=True)
class ExampleChange:
    """A change of all colour values of an area.

    Attributes:
        pattern: where it lies.
        top, left, height, width: of the area, in pixels.
        levels: by how many of 255 each value changes, up or down.
        raised: how many values change by one level more.
    """

    pattern: Pattern
    top: int
    left: int
    height: int
    width: int
    levels: int
    raised: int

    @property
    def values(self) -> int:
        """How many values the area has."""
        return _CHANNELS * self.height * self.width

    @property
    def changed_values(self) -> int:
        return self.values if self.levels else self.raised

    @property
    def most_levels(self) -> int:
        """The largest change of a value."""
        return self.levels + (self.raised > 0)

    @property
    def squared_levels(self) -> int:
        """The sum of all squared changes."""
        more = (self.levels + 1) ** 2 - self.levels**2
        return self.values * self.levels**2 + self.raised * more

    @property
    def size(self) -> float:
        """The ℓ2 distance for pixels in [0, 1], rounded down."""
        size = math.sqrt(self.squared_levels) / _LEVELS
        while (Fraction(size) * _LEVELS) ** 2 > self.squared_levels:
            size = math.nextafter(size, 0.0)
        return size


def plan_change(height: int, width: int, radius: float, pattern: Pattern) -> ExampleChange | None:
    """The largest change of this kind whose ℓ2 size is at most `radius`.

    Args:
        height: of the picture, in pixels, as `width`.
        width: likewise.
        radius: for pixels in [0, 1].
        pattern: where it lies.

    Returns:
        None where not even one value can change by one level.
    """
    bound = math.floor((Fraction(radius) * _LEVELS) ** 2) if radius > 0.0 else 0
    if bound == 0:
        return None
    match pattern:
        case Pattern.SPREAD:
            top, left, rows, columns = 0, 0, height, width
        case Pattern.SPOT:
            side = math.isqrt(bound // (_CHANNELS * _SPOT_LEVELS**2))
            side = min(max(side, 1), height, width)
            rows = columns = side
            top, left = (height - side) // 2, (width - side) // 2
        case _:
            assert_never(pattern)
    values = _CHANNELS * rows * columns
    levels = min(math.isqrt(bound // values), _MOST_LEVELS)
    raised = min((bound - values * levels**2) // (2 * levels + 1), values)
    return ExampleChange(pattern, top, left, rows, columns, levels, raised)


def apply_change(pixels: NDArray[np.uint8], change: ExampleChange) -> NDArray[np.uint8]:
    """The changed picture, of shape (height, width, 3); the same each time."""
    changed = pixels.copy()
    bottom, right = change.top + change.height, change.left + change.width
    area = changed[change.top : bottom, change.left : right]
    is_dark = area.mean() < _LEVELS / 2
    rng = np.random.default_rng(0)
    rows = max(1, _BLOCK_VALUES // (_CHANNELS * change.width))
    for first in range(0, change.height, rows):
        block = area[first : first + rows]
        steps = _steps(change, first * change.width * _CHANNELS, block.size).reshape(block.shape)
        if change.pattern is Pattern.SPOT:
            up = np.full(block.shape, is_dark)
        else:
            up = rng.integers(0, 2, block.shape).astype(bool)
        old = block.astype(np.int16)
        up = np.where(up, old + steps <= _LEVELS, old < steps)
        block[...] = (old + np.where(up, steps, -steps)).astype(np.uint8)
    return changed


def _steps(change: ExampleChange, first: int, count: int) -> NDArray[np.int16]:
    """By how many levels values change from `first` on; those raised lie evenly among them."""
    places = np.arange(first, first + count + 1, dtype=np.int64)
    raised_before = places * change.raised // change.values
    return (change.levels + np.diff(raised_before)).astype(np.int16)
