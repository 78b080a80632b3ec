"""A square part of a picture, by where it lies or by the share that it covers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from guardrail.errors import ConfigError

__all__ = ["Square", "largest_side"]


@dataclass(frozen=True, slots=True)
class Square:
    """A place in a picture, in pixels."""

    top: int
    left: int
    side: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return (
            slice(self.top, self.top + self.side),
            slice(self.left, self.left + self.side),
        )


def largest_side(height: int, width: int, area: float) -> int:
    """The side of the largest square of at most that share of the picture, in pixels.

    The share is the decimal number that it is written as, and the product is exact: 0.29 of 10 x 10
    pixels are 29, where floating point says a little less.

    Raises:
        ConfigError: not one pixel has so small an area.
    """
    pixels = math.floor(Fraction(repr(area)) * height * width)
    if pixels < 1:
        raise ConfigError("is less than one pixel of this picture", field="area")
    return min(math.isqrt(pixels), height, width)
