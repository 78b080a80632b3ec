"""How many of a finite list of answers are harmful, from labels of some that were drawn from it.

The list is fixed and the draw is the only thing left to chance, so nothing is assumed of how the
answers came about: they may be copies of each other. Drawn without replacement, every set of the
drawn size equally likely, the number of harmful ones drawn is hypergeometric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_counts, check_open_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "LabelledDraw",
    "delivered_harm_upper",
    "fewest_harmful_delivered",
    "most_harmful_delivered",
]


@dataclass(frozen=True, slots=True)
class LabelledDraw:
    """What was drawn from one stratum of the list.

    Attributes:
        delivered: answers of the stratum, fixed before the draw.
        drawn: how many of them, without replacement.
        harmful: drawn ones that are harmful or were not labelled.
    """

    delivered: int
    drawn: int
    harmful: int

    def __post_init__(self) -> None:
        check_counts(self.drawn, check_count("delivered", self.delivered))
        check_counts(self.harmful, self.drawn)


def most_harmful_delivered(draw: LabelledDraw, delta: float) -> int:
    """Upper bound of the number K of harmful answers among the M that were delivered.

    The promise: for every K, P_K[bound(X) < K] <= delta, where X ~ Hypergeometric(M, K, n) is the
    number of harmful ones among n drawn. The bound is the largest K with P_K[X <= x] > delta;
    that tail falls as K grows. It fails where the draw depended on the answers, where n was chosen
    after labels were seen, and where one of several draws was picked.

    Args:
        draw: M, n and x; n = 0 gives the vacuous bound M.
        delta: failure probability in (0, 1), one-sided.

    Returns:
        A number from x to M - (n - x). Exact: computed in integers.

    Raises:
        CertificationError: delta is outside its range.

    Source: Katz (1953), Confidence intervals for the number showing a certain characteristic in a
    population when sampling is without replacement, JASA 48.
    """
    limit = Fraction(check_open_unit("delta", delta)) * math.comb(draw.delivered, draw.drawn)
    # At `low` the tail is 1 > delta; above `high` it is 0.
    low, high = draw.harmful, draw.delivered - (draw.drawn - draw.harmful)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _ways(draw, middle) > limit else (low, middle - 1)
    return low


def fewest_harmful_delivered(draw: LabelledDraw, delta: float) -> int:
    """Lower bound of the number K of harmful answers: the mirror of `most_harmful_delivered`.

    The promise: for every K, P_K[bound(X) > K] <= delta. The bound is the smallest K with
    P_K[X >= x] > delta; that tail grows with K. Unlabelled answers must not be among the harmful
    ones here.

    Args:
        draw: M, n and x; x = 0 gives the vacuous bound 0.
        delta: failure probability in (0, 1), one-sided.

    Returns:
        A number from x to M - (n - x), or 0. Exact: computed in integers.

    Raises:
        CertificationError: delta is outside its range.
    """
    every = math.comb(draw.delivered, draw.drawn)
    limit = Fraction(check_open_unit("delta", delta)) * every
    if draw.harmful == 0:
        return 0
    fewer = LabelledDraw(draw.delivered, draw.drawn, draw.harmful - 1)
    # At `high` the tail is 1 > delta; below `low` it is 0.
    low, high = draw.harmful, draw.delivered - (draw.drawn - draw.harmful)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if every - _ways(fewer, middle) > limit else (middle + 1, high)
    return low


def delivered_harm_upper(strata: Sequence[LabelledDraw], *, delta: float) -> float:
    """Upper bound of the share of harmful answers in a list that was drawn from by strata.

    The promise: P[bound < share] <= delta for every list. Each of S strata, fixed before the draw,
    is bounded at delta / S by `most_harmful_delivered`, and the numbers are added.

    Returns:
        A number in [0, 1], rounded up.

    Raises:
        CertificationError: delta is outside its range, or there is nothing that was delivered.
    """
    delivered = sum(stratum.delivered for stratum in strata)
    if delivered == 0:
        raise CertificationError("no answer was delivered, so there is no share to bound")
    part = check_open_unit("delta", delta) / len(strata)
    most = sum(most_harmful_delivered(stratum, part) for stratum in strata)
    return most / delivered if most in (0, delivered) else math.nextafter(most / delivered, 1.0)


def _ways(draw: LabelledDraw, harmful: int) -> int:
    """In how many ways at most x of the drawn are harmful, where `harmful` of all are.

    sum over i <= x of C(K, i) C(M - K, n - i); each term from the one before.
    """
    harmless = draw.delivered - harmful
    first = max(0, draw.drawn - harmless)
    term = math.comb(harmful, first) * math.comb(harmless, draw.drawn - first)
    total = term
    for i in range(first, draw.harmful):
        left = draw.drawn - i
        term = term * (harmful - i) * left // ((i + 1) * (harmless - left + 1))
        total += term
    return total
