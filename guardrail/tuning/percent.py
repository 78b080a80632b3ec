"""Shares in words, rounded to the side on which a bound still holds."""

from __future__ import annotations

import math

__all__ = ["percent_down", "percent_up"]


def percent_up(value: float | None) -> str:
    """An upper bound."""
    return "–" if value is None else f"{math.ceil(value * 1e4 - 1e-9) / 100:.2f} %"


def percent_down(value: float | None) -> str:
    """A lower bound."""
    return "–" if value is None else f"{math.floor(value * 1e4 + 1e-9) / 100:.2f} %"
