"""Scores with thresholds of their own, brought to one scale."""

from __future__ import annotations

import math
from typing import TypeVar

__all__ = ["rescale", "worse"]

_Score = TypeVar("_Score", bound=float)


def rescale(score: float, threshold: float) -> float:
    """The score on a piecewise linear scale where its own threshold becomes 0.5.

    Monotone and continuous, from [0, 1] onto [0, 1]; NaN stays NaN.

    Args:
        score: in [0, 1].
        threshold: in (0, 1).
    """
    if score >= threshold:
        return 0.5 + 0.5 * (score - threshold) / (1.0 - threshold)
    return 0.5 * score / threshold


def worse(first: _Score, second: _Score) -> _Score:
    """The larger one; NaN wins, so that it is noticed and never lost in a maximum."""
    if math.isnan(first):
        return first
    return second if math.isnan(second) else max(first, second)
