"""The resize before the noise: linear, with an exactly known operator norm.

The canvas is reached by area averaging, A = A_h (x) A_w, where row i of a one-dimensional factor
spreads output cell i over the input pixels that it covers. With n input and m <= n output pixels
the overlaps are integers in units of 1/m pixel, so A = W/n with W integer, every row of A sums to
1 and every column to m/n. Two things follow.

- Norm: ||A||_2 <= sqrt(||A||_1 ||A||_inf) = sqrt(m/n), and the constant vector attains it. So
  ||A|| = sqrt(m/n) exactly. Every resize that keeps constant pictures has at least this norm:
  area averaging gives the largest certified radius that a resize can give.
- Exactness: A x for 8-bit x is computed in integers and rounded once, to the grid of `grid.py`.

Rounding slack: with step s = 1/(255 * 2**16), each rounded picture lies within s/2 of A x in each
of its d coordinates, so for two client pictures x and x'
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
_BLOCK_ROWS = 32  # output rows at a time: their sums stay in the processor's cache


@dataclass(frozen=True, slots=True)
class CanvasOperator:
    """The linear map from a client picture to its canvas; both sizes are (height, width)."""

    source_size: tuple[int, int]
    size: tuple[int, int]

    @property
    def resized(self) -> bool:
        return self.source_size != self.size

    @property
    def values(self) -> int:
        """The number d of canvas coordinates: height * width * 3."""
        return self.size[0] * self.size[1] * _CHANNELS

    @property
    def operator_norm(self) -> float:
        """||A||_2, rounded up: the product of the two one-dimensional norms; 1 without resize."""
        if not self.resized:
            return 1.0
        ratio = math.prod(self.size) / math.prod(self.source_size)
        return math.nextafter(math.nextafter(math.sqrt(ratio), math.inf), math.inf)

    @property
    def grid_slack(self) -> float:
        """What rounding to the grid can add to a distance, in canvas units, rounded up."""
        return _slack(self.values if self.resized else 0)

    def apply(self, pixels: NDArray[np.uint8]) -> GridArray:
        """The canvas of a picture on the fixed-point grid.

        Args:
            pixels: client pixels, shape (*source_size, 3).

        Returns:
            Grid values in [0, 255 * 2**16], shape (*size, 3), each nearest to A x, halves upward.
        """
        if pixels.shape != (*self.source_size, _CHANNELS) or pixels.dtype != np.uint8:
            raise ValueError(
                f"this canvas takes uint8 pixels of shape {(*self.source_size, _CHANNELS)}, "
                f"not {pixels.dtype} of shape {pixels.shape}"
            )
        if not self.resized:
            return pixels.astype(np.int32) * np.int32(STEPS_PER_LEVEL)
        rows, columns = map(_overlaps, self.source_size, self.size)
        grid = np.empty((*self.size, _CHANNELS), dtype=np.int32)
        for start in range(0, self.size[0], _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            sums = _sum_of_columns(_sum_of_rows(pixels, rows, block), columns, rows.inputs)
            grid[block] = _to_grid(sums, rows.inputs * columns.inputs)
        return grid


def canvas_for(height: int, width: int, *, max_side_px: int | None) -> CanvasOperator:
    """The canvas of a picture: scaled down to fit `max_side_px`, aspect kept, never scaled up.

    `max_side_px` None keeps every picture as it is. The shorter side is rounded, to at least 1.
    """
    if max_side_px is not None and max_side_px < 1:
        raise ConfigError("the canvas side must be at least 1 px", field="max_side_px")
    source = (height, width)
    longest = max(source)
    if max_side_px is None or longest <= max_side_px:
        return CanvasOperator(source, source)
    return CanvasOperator(
        source, (_fit(height, max_side_px, longest), _fit(width, max_side_px, longest))
    )


def combined_norm(canvases: Iterable[CanvasOperator]) -> float:
    """||A|| for all pictures of a request together: block-diagonal, so the largest of the norms."""
    return max(canvas.operator_norm for canvas in canvases)


def combined_slack(canvases: Iterable[CanvasOperator]) -> float:
    """The rounding slack of all pictures together: sqrt(sum of squares), the d of resized ones."""
    return _slack(sum(canvas.values for canvas in canvases if canvas.resized))


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
