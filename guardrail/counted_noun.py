"""Counts with their nouns in sentences: `1 view`, `2,000 views`."""

from __future__ import annotations

__all__ = ["agree", "count_of"]


def agree(number: int, one: str, many: str = "") -> str:
    """The form of a noun or a verb that goes with a number; by default `many` is `one` and an s."""
    return one if number == 1 else many or f"{one}s"


def count_of(number: int, one: str, many: str = "") -> str:
    """A number, with commas between thousands, and the form that goes with it, as in `agree`.

    It may be more than a noun: `count_of(n, "answer was", "answers were")`.
    """
    return f"{number:,} {agree(number, one, many)}"
