"""The fixed-point grid on which pictures live while noise is added (certification.md, section 6).

A value v in [0, 1] pixel units is the integer v * 255 * 2**16. Eight-bit pixels lie on the grid
exactly; a resized picture is rounded to it, and `grid_slack` accounts for that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FRACTION_BITS",
    "HALF_LEVEL",
    "STEPS_PER_LEVEL",
    "STEPS_PER_UNIT",
    "GridArray",
    "round_to_levels",
]

GridArray = NDArray[np.int32]

FRACTION_BITS = 16
STEPS_PER_LEVEL = 1 << FRACTION_BITS
HALF_LEVEL = STEPS_PER_LEVEL // 2
STEPS_PER_UNIT = 255 * STEPS_PER_LEVEL


def round_to_levels(grid: GridArray) -> NDArray[np.int32]:
    """The nearest 8-bit level of each grid value, halves upward, not yet clipped to [0, 255]."""
    return (grid + np.int32(HALF_LEVEL)) >> np.int32(FRACTION_BITS)
