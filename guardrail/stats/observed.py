"""Bounds of a rate that was observed where some of the outcomes are unknown.

Some of what was to be looked at was not: a line was full, a call failed. Whether that has to do
with the outcome is not known, so that the worst is assumed on either side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_counts, check_open_unit
from guardrail.stats.binomial import harmless_rate_lower, harmless_rate_upper
from guardrail.stats.confseq import anytime_lower, anytime_upper
from guardrail.stats.delivered import (
    LabelledDraw,
    fewest_harmful_delivered,
    most_harmful_delivered,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "ObservedCounts",
    "ObservedStratum",
    "RateInterval",
    "anytime_rate_interval",
    "fewest_observed",
    "mixture_interval",
    "rate_interval",
    "stratified_list_interval",
]

_MOST_OBSERVED = 1 << 40
_ROUNDING = 2.0**-50  # more than the relative error of a weighted mean of a few bounds


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
class ObservedStratum:
    """One of the parts of what was to be looked at, fixed by something other than the outcomes.

    Attributes:
        size: how many belong to it, drawn or not.
        seen: of those that were drawn from it.
    """

    size: int
    seen: ObservedCounts

    def __post_init__(self) -> None:
        check_count("size", self.size)
        check_counts(self.seen.drawn, self.size)


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


def anytime_rate_interval(seen: ObservedCounts, delta: float) -> RateInterval:
    """The same rate, by bounds that may be looked at after every draw.

    The promise: for every rate q, P_q[for some n the rate lies outside] <= delta, whatever the
    unknown outcomes are: also where one looks every day and ends when one likes what one sees. It
    is the lower anytime bound of k and the upper one of k + u, each at delta / 2, and wider than
    `rate_interval`, which holds at one n fixed beforehand. It fails where the draws hang together.

    Args:
        seen: n, k and u; n = 0 gives [0, 1].
        delta: failure probability in (0, 1), of both sides and all looks together.

    Raises:
        CertificationError: delta is outside its range.

    Source: see `confseq.py`.
    """
    half = check_open_unit("delta", delta) / 2.0
    most = seen.occurred + seen.unknown
    return RateInterval(
        anytime_lower(seen.occurred, seen.drawn, half), anytime_upper(most, seen.drawn, half)
    )


def mixture_interval(
    strata: Sequence[ObservedStratum],
    delta: float,
    interval: Callable[[ObservedCounts, float], RateInterval],
) -> RateInterval:
    """The rate in a mixture of strata, in the proportions of their sizes, drawn unequally.

    The promise: that of `interval`, for Σ size_i · q_i / Σ size_i, whatever the rates q_i of the
    strata are. Each stratum has its interval at delta / s of s that are not empty; their weighted
    means bound the rate (union bound). Where nothing was left undrawn, all of it is one sample of
    what came, and no delta is divided. Pooled counts of strata that were drawn unequally bound
    nothing: 9 of 10 in a stratum of 10 and 0 of 10 in one of 1000 are no 45 %, but 1 %.

    Args:
        strata: those without a draw count as anything between 0 and 1; none gives [0, 1].
        delta: failure probability in (0, 1), of everything together.
        interval: `rate_interval` or `anytime_rate_interval`.

    Raises:
        CertificationError: delta is outside its range.
    """
    parts = [one for one in strata if one.size]
    if len(parts) < 2 or all(one.seen.drawn == one.size for one in parts):
        return interval(_pool(parts), delta)
    bounds = [(one.size, interval(one.seen, delta / len(parts))) for one in parts]
    size = sum(one.size for one in parts)
    lower = math.fsum(weight * bound.lower for weight, bound in bounds) / size
    upper = math.fsum(weight * bound.upper for weight, bound in bounds) / size
    return RateInterval(lower * (1.0 - _ROUNDING), min(1.0, upper * (1.0 + _ROUNDING)))


def stratified_list_interval(strata: Sequence[ObservedStratum], delta: float) -> RateInterval:
    """The share in which it occurs of a finite list that consists of strata.

    The promise: for every list, P[lower <= share <= upper] >= 1 - delta, where in each stratum
    every set of n of its M is equally likely to be drawn, and nothing else is left to chance. So it
    holds for lists whose parts hang together. Each side of a stratum is the exact hypergeometric
    bound at delta / 2s, the upper one of k + u; see `delivered.py`. s counts the strata of which
    something was not drawn: of the others the number is known but for the unknown ones. It holds
    for one look at one list.

    Args:
        strata: at least one that is not empty.
        delta: failure probability in (0, 1), of both sides together.

    Raises:
        CertificationError: delta is outside its range, or the list is empty.
    """
    check_open_unit("delta", delta)
    size = check_count("size", sum(one.size for one in strata), least=1)
    uncertain = sum(one.seen.drawn < one.size for one in strata)
    half = delta / (2.0 * max(1, uncertain))
    counts = [_count_in_list(one, half) for one in strata if one.size]
    fewest, most = sum(low for low, _ in counts), sum(high for _, high in counts)
    lower, upper = fewest / size, most / size
    return RateInterval(
        lower if fewest in (0, size) else math.nextafter(lower, 0.0),
        upper if most in (0, size) else math.nextafter(upper, 1.0),
    )


def _count_in_list(one: ObservedStratum, half: float) -> tuple[int, int]:
    seen = one.seen
    fewest = fewest_harmful_delivered(LabelledDraw(one.size, seen.drawn, seen.occurred), half)
    worst = LabelledDraw(one.size, seen.drawn, seen.occurred + seen.unknown)
    return fewest, most_harmful_delivered(worst, half)


def _pool(strata: Sequence[ObservedStratum]) -> ObservedCounts:
    return ObservedCounts(
        sum(one.seen.drawn for one in strata),
        sum(one.seen.occurred for one in strata),
        sum(one.seen.unknown for one in strata),
    )


def fewest_observed(rate: float, limit: float, delta: float) -> int:
    """How many must be seen, if it goes on occurring at this rate, until `upper` is below `limit`.

    A forecast and no bound: the least n, up to rounding, whose `anytime_rate_interval` for
    ⌈rate · n⌉ occurrences has an upper bound of at most the limit.

    Args:
        rate: in [0, limit).
        limit: in (0, 1).
        delta: as in `anytime_rate_interval`.

    Raises:
        CertificationError: an argument is outside its range.
    """
    check_open_unit("limit", limit)
    check_open_unit("delta", delta)
    if not 0.0 <= rate < limit:
        raise CertificationError(f"rate is {rate!r}, but must be at least 0 and below the limit")

    def is_enough(n: int) -> bool:
        return anytime_rate_interval(ObservedCounts(n, math.ceil(rate * n)), delta).upper <= limit

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
