"""Cells of tables that people open in a spreadsheet."""

from __future__ import annotations

from typing import Any

__all__ = ["defuse"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def defuse(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is quoted; models' names are foreign."""
    risky = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if risky else value
