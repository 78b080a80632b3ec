"""Windows and masks: small families of places on a picture, with what each of them leaves.

*Windows.* On an axis of n pixels windows of side w start at 0, s, 2s, … and at n - w, with
s = w - m + 1. Then every m neighbouring pixels lie whole in one of them: a run that starts at a,
with s·i <= a < s·(i + 1), ends at a + m - 1 <= s·i + w - 1; where s·i > n - w, the last window
holds it. Without the last start that fails for most n. `axis_windows` takes the smallest w for
which so many windows an axis are enough.

*Masks.* On an axis of n pixels a sticker of side p starts at one of n - p + 1 places. k masks of
side p + s - 1 with s = ceil((n - p + 1) / k), which start at i·s or, where that would leave the
picture, at its end, cover all of them: a sticker that starts at a, with s·i <= a < s·(i + 1), ends
at a + p - 1 <= s·i + p + s - 2 (Xiang et al. 2022, arXiv 2108.09135).

Both axes have their own numbers, so windows of a picture that is not square have its shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from guardrail.errors import CertificationError

__all__ = ["Box", "masks", "sticker_side", "windows"]


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A rectangle of pixels: rows `top` to `top + height` - 1, columns likewise."""

    top: int
    left: int
    height: int
    width: int

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns, to index pixels by."""
        rows = slice(self.top, self.top + self.height)
        return rows, slice(self.left, self.left + self.width)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Equal pieces of one axis."""

    side: int
    starts: tuple[int, ...]


def windows(height: int, width: int, *, count: int, sees: int) -> tuple[Box, ...]:
    """Windows such that every square of `sees` pixels a side lies whole in one of them.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        count: at most so many, a square number of at least 4.
        sees: side of the square, in pixels.

    Raises:
        CertificationError: a side of the picture is shorter than `sees`, or `count` is no square.
    """
    per_axis = _root(count)
    if sees > min(height, width):
        raise CertificationError(
            f"a picture of {width} x {height} pixels has no square of {sees} x {sees}, which a "
            "window must hold; send a larger picture, or lower threats.crops.sees"
        )
    return _boxes(*(_axis_windows(n, per_axis, sees) for n in (height, width)))


def masks(height: int, width: int, *, count: int, max_share: float) -> tuple[Box, ...]:
    """Masks such that every square of `sticker_side` pixels a side lies whole under one of them.

    A sticker longer than a side of the picture is taken to reach from end to end.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        count: at most so many, a square number of at least 4.
        max_share: the sticker's area as a share of the picture's, in (0, 1).

    Raises:
        CertificationError: a mask would leave no pixel of the picture, or `count` is no square.
    """
    per_axis, sticker = _root(count), sticker_side(height, width, max_share)
    rows, columns = (_axis_masks(n, per_axis, min(sticker, n)) for n in (height, width))
    if rows.side == height and columns.side == width:
        raise CertificationError(
            f"a picture of {width} x {height} pixels is covered whole by a mask for stickers of "
            f"{max_share:g} of its area; send a larger picture, or lower threats.stickers.max_share"
        )
    return _boxes(rows, columns)


def sticker_side(height: int, width: int, max_share: float) -> int:
    """The side of the smallest square of at least `max_share` of the picture, in pixels."""
    area = math.ceil(Fraction(repr(max_share)) * height * width)
    return math.isqrt(area - 1) + 1


def _axis_windows(n: int, per_axis: int, sees: int) -> _Axis:
    # The fewest pixels for which (per_axis - 1) steps of side - sees + 1 reach the last start.
    side = -(-(n + (per_axis - 1) * (sees - 1)) // per_axis)
    last, step = n - side, side - sees + 1
    return _Axis(side, (*range(0, last, step), last))


def _axis_masks(n: int, per_axis: int, sticker: int) -> _Axis:
    step = -(-(n - sticker + 1) // per_axis)
    side = sticker + step - 1
    starts = {min(i * step, n - side) for i in range(per_axis)}
    return _Axis(side, tuple(sorted(starts)))


def _boxes(rows: _Axis, columns: _Axis) -> tuple[Box, ...]:
    return tuple(
        Box(top, left, rows.side, columns.side) for top in rows.starts for left in columns.starts
    )


def _root(count: int) -> int:
    root = math.isqrt(max(count, 0))
    if root < 2 or root * root != count:
        raise CertificationError(
            f"{count} places do not fill a square; give a square number of at least 4, such as 9"
        )
    return root
