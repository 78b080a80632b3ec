"""Checks of arguments in `stats`, all of which raise one kind of error.

Nothing here is clamped silently: a number outside its range is a mistake of the caller, and a
certificate computed from it would look like any other.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "check_count",
    "check_counts",
    "check_increasing",
    "check_non_negative",
    "check_open_unit",
    "check_positive",
    "check_unit",
]


def _refuse(name: str, value: object, wanted: str) -> CertificationError:
    return CertificationError(f"{name} is {value!r}, but must be {wanted}")


def check_count(name: str, value: int, *, least: int = 0) -> int:
    """An integer (NumPy's included, booleans not) of at least `least`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < least:
        raise _refuse(name, value, f"an integer of at least {least}")
    return int(value)


def check_counts(k: int, n: int) -> tuple[int, int]:
    """A count `k` out of `n`."""
    trials = check_count("n", n)
    count = check_count("k", k)
    if count > trials:
        raise _refuse("k", k, f"at most n = {trials}")
    return count, trials


def check_unit(name: str, value: float) -> float:
    """A probability; 0 and 1 are allowed."""
    if not 0.0 <= value <= 1.0:
        raise _refuse(name, value, "a probability in [0, 1]")
    return float(value)


def check_open_unit(name: str, value: float) -> float:
    """A probability strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise _refuse(name, value, "strictly between 0 and 1")
    return float(value)


def check_positive(name: str, value: float) -> float:
    if not (value > 0.0 and math.isfinite(value)):
        raise _refuse(name, value, "a finite number above 0")
    return float(value)


def check_non_negative(name: str, value: float) -> float:
    if not (value >= 0.0 and math.isfinite(value)):
        raise _refuse(name, value, "a finite number of at least 0")
    return float(value)


def check_increasing(name: str, values: Iterable[int]) -> tuple[int, ...]:
    """Positive integers, each above the one before, at least one."""
    row = tuple(check_count(name, value, least=1) for value in values)
    if not row or any(a >= b for a, b in itertools.pairwise(row)):
        raise _refuse(name, row, "a strictly increasing row of positive integers")
    return row
