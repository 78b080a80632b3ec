"""From exact fractions to floats on a known side."""

from __future__ import annotations

import math
from fractions import Fraction

__all__ = ["round_down"]


def round_down(exact: Fraction) -> float:
    """The largest float that is no more than `exact`, which is 0 or more."""
    nearest = float(exact)
    return nearest if Fraction(nearest) <= exact else math.nextafter(nearest, 0.0)
