"""Bounds of a rate that was observed where some of the outcomes are unknown.

Some of what was to be looked at was not: a line was full, a call failed. Whether that has to do
with the outcome is not known, so that the worst is assumed on either side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_counts, check_open_unit
from guardrail.stats.binomial import harmless_rate_lower, harmless_rate_upper
from guardrail.stats.delivered import (
    LabelledDraw,
    fewest_harmful_delivered,
    most_harmful_delivered,
)

__all__ = ["ObservedCounts", "RateInterval", "fewest_observed", "list_interval", "rate_interval"]

_MOST_OBSERVED = 1 << 40


@dataclass(frozen=True, slots=True)
class ObservedCounts:
    """What was seen of some that were drawn.

    Attributes:
        drawn: all of them, whether the outcome is known or not.
        occurred: those in which it occurred.
        unknown: those of which the outcome is not known.
    """

    drawn: int
    occurred: int
    unknown: int = 0

    def __post_init__(self) -> None:
        check_counts(self.occurred, self.drawn)
        check_counts(self.unknown, self.drawn)
        check_counts(self.occurred + self.unknown, self.drawn)


@dataclass(frozen=True, slots=True)
class RateInterval:
    """Both bounds of a rate; `lower` is rounded down, `upper` up."""

    lower: float
    upper: float


def rate_interval(seen: ObservedCounts, delta: float) -> RateInterval:
    """The rate at which it occurs in what these were drawn from independently.

    The promise: for every rate q, P_q[lower <= q <= upper] >= 1 - delta, whatever the unknown
    outcomes are and whatever made them unknown. With k occurred and u unknown of n it is the lower
    Clopper–Pearson bound of k and the upper one of k + u, each at delta / 2: it holds the interval
    of every k + j, 0 <= j <= u, one of which is that of the outcomes themselves. It fails where n
    depends on the outcomes, and where the draws hang together.

    Args:
        seen: n, k and u; n = 0 gives [0, 1].
        delta: failure probability in (0, 1), of both sides together.

    Raises:
        CertificationError: delta is outside its range.

    Source: Clopper & Pearson (1934), Biometrika 26; for the unknown ones Manski (1989), J. Human
    Resources 24, worst-case bounds.
    """
    half = check_open_unit("delta", delta) / 2.0
    most = seen.occurred + seen.unknown
    return RateInterval(
        harmless_rate_lower(seen.occurred, seen.drawn, half),
        harmless_rate_upper(most, seen.drawn, half),
    )


def list_interval(size: int, seen: ObservedCounts, delta: float) -> RateInterval:
    """The share in which it occurs of a finite list from which these were drawn.

    The promise: for every list, P[lower <= share <= upper] >= 1 - delta, where every set of n of
    the list's M is equally likely to be drawn, and nothing else is left to chance. So it holds for
    lists whose parts hang together. Each side is the exact hypergeometric bound at delta / 2, the
    upper one of k + u; see `delivered.py`.

    Args:
        size: M, of the list; at least 1 and at least n.
        seen: n, k and u.
        delta: failure probability in (0, 1), of both sides together.

    Raises:
        CertificationError: delta is outside its range, or more were drawn than there are.
    """
    half = check_open_unit("delta", delta) / 2.0
    check_count("size", size, least=1)
    fewest = fewest_harmful_delivered(LabelledDraw(size, seen.drawn, seen.occurred), half)
    worst = LabelledDraw(size, seen.drawn, seen.occurred + seen.unknown)
    most = most_harmful_delivered(worst, half)
    lower, upper = fewest / size, most / size
    return RateInterval(
        lower if fewest in (0, size) else math.nextafter(lower, 0.0),
        upper if most in (0, size) else math.nextafter(upper, 1.0),
    )


def fewest_observed(rate: float, limit: float, delta: float) -> int:
    """How many must be seen, if it goes on occurring at this rate, until `upper` is below `limit`.

    A forecast and no bound: the least n, up to rounding, whose `rate_interval` for ⌈rate · n⌉
    occurrences has an upper bound of at most the limit.

    Args:
        rate: in [0, limit).
        limit: in (0, 1).
        delta: as in `rate_interval`.

    Raises:
        CertificationError: an argument is outside its range.
    """
    check_open_unit("limit", limit)
    check_open_unit("delta", delta)
    if not 0.0 <= rate < limit:
        raise CertificationError(f"rate is {rate!r}, but must be at least 0 and below the limit")

    def is_enough(n: int) -> bool:
        return rate_interval(ObservedCounts(n, math.ceil(rate * n)), delta).upper <= limit

    enough = 1
    while not is_enough(enough):
        enough *= 2
        if enough > _MOST_OBSERVED:
            raise CertificationError("rate is too close to the limit for any number to tell them")
    low = enough // 2
    while low + 1 < enough:
        middle = (low + enough) // 2
        low, enough = (low, middle) if is_enough(middle) else (middle, enough)
    return enough
