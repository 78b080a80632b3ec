"""Scores with thresholds of their own, brought to one scale."""

from __future__ import annotations

import math

__all__ = ["rescaled", "worse"]


def rescaled(score: float, threshold: float) -> float:
    """The score, bent so that its own threshold becomes 0.5.

    Monotone and continuous, from [0, 1] onto [0, 1]; NaN stays NaN.

    Args:
        score: in [0, 1].
        threshold: in (0, 1).
    """
    if score >= threshold:
        return 0.5 + 0.5 * (score - threshold) / (1.0 - threshold)
    return 0.5 * score / threshold


def worse(first: float, second: float) -> float:
    """The larger one; NaN wins, so that it is noticed and never lost in a maximum."""
    return math.nan if math.isnan(first) or math.isnan(second) else max(first, second)
