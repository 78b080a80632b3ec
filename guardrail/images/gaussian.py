"""Gaussian noise on the grid by inversion, evaluated only as finely as the 8-bit result needs.

The noise of one value is rint(sigma * STEPS_PER_UNIT * z) grid steps with z = quantile(u) and u a
uniform 64-bit integer. It grows with u, so once the leading bits of u leave only one 8-bit level
for grid value + noise, the remaining bits cannot matter. Sixteen bits settle more than 99 % of the
values, nearly all of them with one table lookup in 1/256 of a level. Compiled code goes on to 32
bits before the rest take all 64. The result is the same, bit for bit, as if all 64 had been used
everywhere.

How far this is from exact: `quantile` errs by at most 2**-49 (1 + |z|), and the discrete u by
2**-64 in probability, so each of the 255 boundaries between 8-bit levels is off by less than
2**-49 in probability (phi(z) (1 + |z|) <= 0.54). A value's total variation from the exact law is
below 255 * 2**-49 < 2**-41, and `total_variation_upper` sums that over a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from guardrail.errors import ConfigError
from guardrail.images.compiled import KeyedPass, compile_pass
from guardrail.images.grid import (
    FRACTION_BITS,
    HALF_LEVEL,
    STEPS_PER_UNIT,
    GridArray,
    round_to_levels,
)

__all__ = [
    "SIGMA_MAX",
    "Uniforms",
    "add_noise",
    "noise_steps",
    "quantile",
    "total_variation_upper",
]

SIGMA_MAX = 4.0  # |z| <= 9.1, so steps stay within 32 bits and levels within 16
_BLOCK = 1 << 15  # values at a time: their arrays stay in the processor's cache
_COARSE_STEPS = 1 << 8  # grid steps in 1/256 of a level
_TRAILING_BITS = np.uint64(48)
_ALL_TRAILING = np.uint64((1 << 48) - 1)


class Uniforms(Protocol):
    """A supply of independent uniform 64-bit integers, one for each value of a picture."""

    @property
    def state(self) -> NDArray[np.uint64] | None:
        """From which compiled code draws the same integers; None where it cannot."""

    def leading(self, count: int) -> NDArray[np.uint16]:
        """Bits 63..48 of the first `count` integers."""

    def trailing(self, positions: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Bits 47..0 of the integers at `positions`."""


def total_variation_upper(values: int) -> float:
    """Upper bound of the distance between a variant's law and the exact one.

    Any probability computed from one variant of a picture with `values` = h * w * 3 coordinates
    is off by no more than this. It leaves out only that the generator is pseudo-random.
    """
    return values * 2.0**-41


def quantile(u: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The standard normal quantile at (u + 1/2) / 2**64, by the smaller tail on either side."""
    upper = u >> np.uint64(63) != 0
    tail = np.where(upper, ~u, u).astype(np.float64)
    z: NDArray[np.float64] = ndtri((tail + 0.5) * 2.0**-64)
    return np.where(upper, -z, z)


def noise_steps(u: NDArray[np.uint64], sigma: float) -> GridArray:
    """The noise of standard deviation `sigma` (pixel units in [0, 1]) in whole grid steps."""
    return np.rint(sigma * STEPS_PER_UNIT * quantile(u)).astype(np.int32)


def add_noise(grid: GridArray, sigma: float, uniforms: Uniforms) -> NDArray[np.uint8]:
    """The 8-bit pixels nearest to grid + noise.

    Args:
        grid: flat array of grid values.
        sigma: standard deviation in [0, 1] pixel units, positive.
        uniforms: one 64-bit integer for each value.
    """
    reach, state, compiled = _reach(sigma), uniforms.state, compile_pass()
    grid = np.ascontiguousarray(grid)
    if compiled is None or state is None:
        pixels, positions, u = _is_settled(grid, uniforms, reach)
    else:
        pixels, positions, u = _settle_by(compiled, grid, state, reach)
    if positions.size:
        pixels[positions] = _clip(round_to_levels(grid[positions] + noise_steps(u, sigma)))
    return pixels


def _clip(levels: GridArray) -> NDArray[np.uint8]:
    # As `np.clip` does, which takes longer to look at its bounds than at a few values.
    pixels: NDArray[np.uint8] = np.maximum(np.minimum(levels, 255), 0).astype(np.uint8)
    return pixels


_Settled: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.intp], NDArray[np.uint64]]
"""The pixels that some bits settle, the positions of the others, and the integers there."""


def _settle_by(
    compiled: KeyedPass, grid: GridArray, state: NDArray[np.uint64], reach: _Reach
) -> _Settled:
    pixels = np.empty(grid.size, dtype=np.uint8)
    positions, u = np.empty(grid.size, dtype=np.intp), np.empty(grid.size, dtype=np.uint64)
    tables = reach.coarse, reach.least, reach.greatest, reach.bend
    count = compiled(grid, state, *tables, pixels, positions, u)
    return pixels, positions[:count], u[:count]


def _is_settled(grid: GridArray, uniforms: Uniforms, reach: _Reach) -> _Settled:
    leading = uniforms.leading(grid.size)
    pixels, doubtful = np.empty(grid.size, np.uint8), np.empty(grid.size, np.bool_)
    for start in range(0, grid.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        _fill(pixels[block], doubtful[block], grid[block], leading[block], reach.coarse)
    positions = _settle(pixels, np.flatnonzero(doubtful), grid, leading, reach)
    u = leading[positions].astype(np.uint64) << _TRAILING_BITS | uniforms.trailing(positions)
    return pixels, positions, u


def _fill(
    pixels: NDArray[np.uint8],
    doubtful: NDArray[np.bool_],
    grid: GridArray,
    leading: NDArray[np.uint16],
    coarse: GridArray,
) -> None:
    """Writes the pixels with the least possible noise, and where more noise may change them."""
    # All indices are in range; "wrap" only spares the check.
    total = coarse.take(leading.astype(np.intp), mode="wrap")
    total += grid & np.int32(-_COARSE_STEPS)
    lower = total.astype(np.uint16)  # the fraction in its upper byte, the climb in the lower one
    climbed = lower << np.uint16(8)
    climbed += lower
    # The sum wrapped around: the climb may reach the next level. Equal: the climb was marked.
    np.less_equal(climbed, lower, out=doubtful)
    total >>= FRACTION_BITS
    pixels[:] = _clip(total)


def _settle(
    pixels: NDArray[np.uint8],
    doubtful: NDArray[np.intp],
    grid: GridArray,
    leading: NDArray[np.uint16],
    reach: _Reach,
) -> NDArray[np.intp]:
    """Decides what all leading bits can decide, on the grid itself; returns the rest."""
    index, centre = leading[doubtful], grid[doubtful]
    low = _clip((reach.least[index] + centre) >> np.int32(FRACTION_BITS))
    high = _clip((reach.greatest[index] + centre) >> np.int32(FRACTION_BITS))
    pixels[doubtful] = low
    unsettled: NDArray[np.intp] = doubtful[low != high]
    return unsettled


@dataclass(frozen=True, slots=True, eq=False)
class _Reach:
    """The noise that each value of the leading 16 bits allows, plus half a level.

    With the half added in advance, rounding to a level is a shift. `least` and `greatest` are in
    grid steps. `coarse` holds both in one integer, so that one lookup serves: its upper 24 bits are
    the least noise in 1/256 of a level, rounded down, and its lower 8 bits how many of these the
    sum with any grid value may climb from there; 0 marks a climb that 8 bits cannot hold.
    `bend` is how far, in grid steps, the noise can be from the straight line between the two that
    the next sixteen bits, rounded down, point to.

    For sigma 0.25 the leading bits 40,000 allow 1,203,569 to 1,203,735 steps, half a level
    included: `coarse` is 4701 · 256 + 2 = 0x125d02, as 1,203,569 // 256 = 4701. Added to level
    100.5625 (0x649000) it is 0x76ed02: the pixel is 0x76 = 118, as 0xed + 2 does not carry. Added
    to 0x64a100 it is 0x76fe02: 0xfe + 2 carries, so the exact sums decide if it may also be 119.
    """

    least: GridArray
    greatest: GridArray
    coarse: GridArray
    bend: GridArray


@lru_cache(maxsize=32)
def _reach(sigma: float) -> _Reach:
    if not 0 < sigma <= SIGMA_MAX:
        raise ConfigError(f"sigma must lie in (0, {SIGMA_MAX:g}] pixel units", field="sigma")
    u = np.arange(1 << 16, dtype=np.uint64) << _TRAILING_BITS
    least = noise_steps(u, sigma) + np.int32(HALF_LEVEL)
    greatest = noise_steps(u | _ALL_TRAILING, sigma) + np.int32(HALF_LEVEL)
    floor = least // _COARSE_STEPS
    # What the coarse sum leaves out of the grid value is at most _COARSE_STEPS - 1 steps.
    climb = (greatest + np.int32(_COARSE_STEPS - 1)) // _COARSE_STEPS - floor
    climb[climb >= _COARSE_STEPS] = 0
    coarse = floor * np.int32(_COARSE_STEPS) + climb
    return _Reach(least, greatest, coarse, _bend(u, greatest - least, sigma))


def _bend(first: NDArray[np.uint64], span: GridArray, sigma: float) -> GridArray:
    """How far the noise can be from the line, over each value of the leading bits.

    The quantile is concave below one half and convex above it, so its distance from the chord is
    concave, and nowhere more than twice what it is in the middle. Rounding moves the noise and the
    line by half a step each, and the bits left out move the line by at most 1/65536 of its span
    and one step, as it is rounded down.
    """
    ends = quantile(first), quantile(first | _ALL_TRAILING)
    middle = quantile(first + (_ALL_TRAILING >> np.uint64(1)))
    deepest = np.abs((ends[0] + ends[1]) / 2 - middle) * (2 * sigma * STEPS_PER_UNIT)
    bend: GridArray = np.ceil(deepest).astype(np.int32) + (span >> np.int32(16)) + np.int32(4)
    return bend
