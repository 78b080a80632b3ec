"""The map from pixels to the canvas before the noise: affine, with an exactly known operator norm.

The map is defined on client pixels: what `codec.py` decodes, 8-bit RGB, upright, the first frame,
alpha laid over white. It scales down by a linear A and then, where a side is shorter than the least
one, lays the picture in the middle of a white one. That adds a constant and no distance: the norm
of the padding is 1. Stretching to the least side instead would have a norm above 1. Noise is added
to the whole canvas, its margins included.

The scaled picture is reached by area averaging, A = A_h (x) A_w, where row i of a one-dimensional
factor spreads output cell i over the input pixels that it covers. With n input and m <= n output
pixels the overlaps are integers in units of 1/m pixel, so A = W/n with W integer, every row of A
sums to 1 and every column to m/n. Two things follow.

- Norm: ||A||_2 <= sqrt(||A||_1 ||A||_inf) = sqrt(m/n), and the constant vector attains it. So
  ||A|| = sqrt(m/n) exactly. Every resize that keeps constant pictures has at least this norm:
  area averaging gives the largest certified radius that a resize can give.
- Exactness: A x for 8-bit x is computed in integers and rounded once, to the grid of `grid.py`.

Rounding slack: with step s = 1/(255 * 2**16), each rounded picture lies within s/2 of A x in each
of its d coordinates (margins are on the grid already), so for two client pictures x and x'
    ||grid(x) - grid(x')|| <= ||A|| ||x - x'|| + s sqrt(d).
A certified canvas radius R therefore gives the client radius (R - s sqrt(d)) / ||A||.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from guardrail.errors import ConfigError
from guardrail.images.grid import STEPS_PER_LEVEL, STEPS_PER_UNIT, GridArray

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["CanvasOperator", "canvas_for", "combined_norm", "combined_slack"]

_CHANNELS = 3
_WHITE = 255 * STEPS_PER_LEVEL
_BLOCK_ROWS = 32  # output rows at a time: their sums stay in the processor's cache


@dataclass(frozen=True, slots=True)
class CanvasOperator:
    """The map from a client picture to its canvas; all sizes are (height, width).

    Attributes:
        source_size: of the client's picture.
        scaled_size: once it is scaled down; on each side at most the source's.
        size: of the canvas: `scaled_size` and white margins; on each side at least the scaled one.
    """

    source_size: tuple[int, int]
    scaled_size: tuple[int, int]
    size: tuple[int, int]

    @property
    def resized(self) -> bool:
        return self.source_size != self.scaled_size

    @property
    def values(self) -> int:
        """The number of canvas coordinates that noise is added to: height * width * 3."""
        return math.prod(self.size) * _CHANNELS

    @property
    def rounded_values(self) -> int:
        """The number d of canvas coordinates that were rounded to the grid; 0 without resize."""
        return math.prod(self.scaled_size) * _CHANNELS if self.resized else 0

    @property
    def operator_norm(self) -> float:
        """||A||_2, rounded up: the product of the two one-dimensional norms; 1 without resize."""
        if not self.resized:
            return 1.0
        ratio = math.prod(self.scaled_size) / math.prod(self.source_size)
        return math.nextafter(math.nextafter(math.sqrt(ratio), math.inf), math.inf)

    @property
    def grid_slack(self) -> float:
        """What rounding to the grid can add to a distance, in canvas units, rounded up."""
        return _slack(self.rounded_values)

    def apply(self, pixels: NDArray[np.uint8]) -> GridArray:
        """The canvas of a picture on the fixed-point grid.

        Args:
            pixels: client pixels, shape (*source_size, 3).

        Returns:
            Grid values in [0, 255 * 2**16], shape (*size, 3): in the middle those nearest to A x,
            halves upward; around them white. An odd margin is larger below and to the right.
        """
        if pixels.shape != (*self.source_size, _CHANNELS) or pixels.dtype != np.uint8:
            raise ValueError(
                f"this canvas takes uint8 pixels of shape {(*self.source_size, _CHANNELS)}, "
                f"not {pixels.dtype} of shape {pixels.shape}"
            )
        scaled = self._scale(pixels)
        if self.size == self.scaled_size:
            return scaled
        grid = np.full((*self.size, _CHANNELS), _WHITE, dtype=np.int32)
        top, left = ((to - of) // 2 for to, of in zip(self.size, self.scaled_size, strict=True))
        grid[top : top + self.scaled_size[0], left : left + self.scaled_size[1]] = scaled
        return grid

    def _scale(self, pixels: NDArray[np.uint8]) -> GridArray:
        if not self.resized:
            return pixels.astype(np.int32) * np.int32(STEPS_PER_LEVEL)
        rows, columns = map(_overlaps, self.source_size, self.scaled_size)
        grid = np.empty((*self.scaled_size, _CHANNELS), dtype=np.int32)
        for start in range(0, self.scaled_size[0], _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            sums = _sum_of_columns(_sum_of_rows(pixels, rows, block), columns, rows.inputs)
            grid[block] = _to_grid(sums, rows.inputs * columns.inputs)
        return grid


def canvas_for(
    height: int, width: int, *, max_side_px: int | None, min_side_px: int = 1
) -> CanvasOperator:
    """The canvas of a picture: scaled down to fit, aspect kept, then padded to the least side.

    For example 3000 x 10 pixels at most 224 and at least 28 on a side: 224 x 1 scaled down, whose
    norm is that of the resize, on a canvas of 224 x 28.

    Args:
        height: of the client's picture, in pixels.
        width: of the client's picture, in pixels.
        max_side_px: the longest side of a canvas; None keeps every picture's size. The other side
            is rounded, to at least 1. Nothing is ever scaled up.
        min_side_px: the least side of a canvas; shorter ones are padded.

    Raises:
        ConfigError: a side is below 1, or the least above the longest.
    """
    if max_side_px is not None and max_side_px < 1:
        raise ConfigError("the canvas side must be at least 1 px", field="max_side_px")
    if not 1 <= min_side_px <= (max_side_px or min_side_px):
        raise ConfigError("must lie between 1 px and max_side_px", field="min_side_px")
    source = scaled = (height, width)
    longest = max(source)
    if max_side_px is not None and longest > max_side_px:
        scaled = (_fit(height, max_side_px, longest), _fit(width, max_side_px, longest))
    rows, columns = scaled
    return CanvasOperator(source, scaled, (max(rows, min_side_px), max(columns, min_side_px)))


def combined_norm(canvases: Iterable[CanvasOperator]) -> float:
    """||A|| for all pictures of a request together: block-diagonal, so the largest of the norms."""
    return max(canvas.operator_norm for canvas in canvases)


def combined_slack(canvases: Iterable[CanvasOperator]) -> float:
    """The rounding slack of all pictures together: sqrt(sum of squares), the d of resized ones."""
    return _slack(sum(canvas.rounded_values for canvas in canvases))


def _slack(values: int) -> float:
    return math.nextafter(math.sqrt(values) / STEPS_PER_UNIT, math.inf) if values else 0.0


def _fit(side: int, max_side_px: int, longest: int) -> int:
    return max(1, (2 * side * max_side_px + longest) // (2 * longest))


@dataclass(frozen=True, slots=True, eq=False)
class _Overlaps:
    """The non-zero part of W = n A, both divided by what input and output sizes share.

    For output i and tap t, `taps` is the input pixel and `weights` its overlap; both have shape
    (taps, outputs). `inputs` is n so divided, and the sum of every output's weights.
    """

    taps: NDArray[np.intp]
    weights: NDArray[np.int32]
    inputs: int


@lru_cache(maxsize=256)
def _overlaps(inputs: int, outputs: int) -> _Overlaps:
    """Output i covers [i n, (i+1) n) and input j covers [j m, (j+1) m) in units of 1/m pixel.

    Taps beyond the last input have overlap 0; a last tap that no output needs is left out.
    """
    cell = np.arange(outputs, dtype=np.int64) * inputs
    taps = np.arange(-(-inputs // outputs) + 1, dtype=np.int64)[:, None]
    pixel = cell // outputs + taps
    ends = np.minimum(cell + inputs, (pixel + 1) * outputs)
    overlap = np.clip(ends - np.maximum(cell, pixel * outputs), 0, None)
    shared = math.gcd(inputs, outputs)
    needed = overlap.any(axis=1)
    return _Overlaps(
        np.minimum(pixel, inputs - 1).astype(np.intp)[needed],
        (overlap // shared).astype(np.int32)[needed],
        inputs // shared,
    )


def _sum_of_rows(
    pixels: NDArray[np.uint8], rows: _Overlaps, block: slice
) -> NDArray[np.uint16] | NDArray[np.int32]:
    """W_h applied along the height, for some of the outputs; 16 bits where they hold the sums."""
    kind = np.uint16 if 255 * rows.inputs < 1 << 16 else np.int32
    taps, weights = rows.taps[:, block], rows.weights[:, block].astype(kind)
    total = np.zeros((taps.shape[1], *pixels.shape[1:]), dtype=kind)
    for tap, weight in zip(taps, weights, strict=True):
        total += pixels[tap] * weight[:, None, None]
    return total


def _sum_of_columns(
    rows: NDArray[np.integer], columns: _Overlaps, rows_each: int
) -> NDArray[np.int32] | NDArray[np.int64]:
    """W_w applied along the width of sums that reach 255 times `rows_each`."""
    kind = np.int64 if 255 * rows_each * columns.inputs >= 1 << 31 else np.int32
    # One weight for each channel of each output: the rows are then flat, which is much faster.
    weights = np.repeat(columns.weights, _CHANNELS, axis=1).astype(kind)
    total = np.zeros((rows.shape[0], weights.shape[1]), dtype=kind)
    for tap, weight in zip(columns.taps, weights, strict=True):
        total += rows.take(tap, axis=1).reshape(total.shape) * weight
    return total.reshape(rows.shape[0], -1, _CHANNELS)


def _to_grid(sums: NDArray[np.integer], covered: int) -> GridArray:
    """The nearest grid values to sums / covered: the only rounding between pixels and noise."""
    scaled = sums * np.int64(2 * STEPS_PER_LEVEL) + covered
    return (scaled // (2 * covered)).astype(np.int32)
