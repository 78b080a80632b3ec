"""Several tests of one decision, of which all must pass: what each may fail by, and what they do.

The false-pass probability is no sum. Where one view's harmless rate lies below what its test
requires, the decision passes only if that test does, with probability at most alpha, whatever the
others do and however they depend on it: each is made at the decision's own alpha. What adds up is
the share of clean requests that are stopped: at most the sum over the tests (certification.md,
section 13).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from guardrail.stats._checks import check_count, check_open_unit, check_unit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["combined_power", "power_of_each"]


def power_of_each(power: float, views: int) -> float:
    """The power that each of `views` tests needs so that all pass with probability `power`.

    Rounded up, and the same for counts up to the next of 1, 2, 3, 4, 6, 8, 12, …, so that a few
    plans serve requests of all sizes.

    Args:
        power: wanted of all together, in (0, 1).
        views: how many tests there are, at least 1.

    Raises:
        CertificationError: an argument is outside its range.
    """
    power = check_open_unit("power", power)
    shared = (1.0 - power) / _round_up(check_count("views", views, least=1))
    return math.nextafter(1.0 - shared, 1.0)


def combined_power(powers: Iterable[float]) -> float:
    """What all tests pass with at least, however they depend on each other; rounded down.

    1 - Σ(1 - power), and 0 where that is negative; 1 where there is no test.

    Raises:
        CertificationError: a power is outside [0, 1].
    """
    lost = math.fsum(1.0 - check_unit("power", power) for power in powers)
    return max(0.0, math.nextafter(1.0 - lost, 0.0)) if lost else 1.0


def _round_up(views: int) -> int:
    """The next larger one of 1, 2, 3, 4, 6, 8, 12, 16 and so on."""
    above = 1 << (views - 1).bit_length()
    between = 3 * above // 4
    return between if views <= between else above
