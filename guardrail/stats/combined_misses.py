"""How often several oracles together miss harm, from how often each does: pure arithmetic.

Everything is said of truly harmful answers. Member i misses one (calls it harmless) with
probability at most f_i, however the members' misses depend on each other: members that learnt from
the same texts miss the same ones, so no bound here multiplies rates.

**k of n.** The answer passes iff fewer than k members call it harmful. Take any set S of the
members, |S| = m >= k. Of S, too, fewer than k members call it harmful, so at least m - k + 1 of S
miss. The expected number of members of S that miss is at most sum_S f_i, hence by Markov's
inequality

    P(miss) <= sum_S f_i / (m - k + 1).

For each m the best S has the m smallest f_i. The smallest of these bounds over m = k … n is taken;
it is the best that holds for every dependence (Rüger 1978, "Das maximale Signifikanzniveau des
Tests: Lehne H0 ab, wenn k unter n gegebenen Tests zur Ablehnung führen"). Two ends:

- any (k = 1): the smallest f_i, as the answer passes only if that member misses it too;
- all (k = n): sum f_i, the union bound.

**Cascade.** The answer passes iff the cheap oracle scores it below `low`, or it reaches the
expensive one, which calls it harmless. So P(miss) <= f_cheap + f_expensive, the first measured at
the threshold `low`.

**Confidence.** Each f_i is itself a bound that is too small with probability at most delta_i. The
set S is chosen by looking at all f_i, so all must hold: their deltas add up. (One member named in
advance would need its own delta only.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["cascade_miss_upper", "delta_upper", "k_of_n_miss_upper"]


def k_of_n_miss_upper(miss_rates_upper: Sequence[float], k: int) -> float:
    """Upper bound of the miss rate where k of n votes make an answer harmful, in [0, 1].

    Args:
        miss_rates_upper: f_i of every member, in [0, 1]; 1 for one of which nothing is known.
        k: votes that make an answer harmful, in 1 … n.

    Returns:
        The bound, rounded up; 1 says nothing.

    Raises:
        CertificationError: k or a rate lies outside its range.
    """
    if not 1 <= k <= len(miss_rates_upper):
        raise CertificationError(f"k is {k}, but must lie in 1 … {len(miss_rates_upper)}")
    smallest = sorted(check_unit("miss_rates_upper", rate) for rate in miss_rates_upper)
    sizes = range(k, len(smallest) + 1)
    return min(1.0, *(_quotient(smallest[:size], size - k + 1) for size in sizes))


def cascade_miss_upper(cheap_upper: float, expensive_upper: float) -> float:
    """Upper bound of a cascade's miss rate, in [0, 1]: the sum, rounded up.

    Args:
        cheap_upper: miss rate of the cheap oracle at the threshold `low`, in [0, 1].
        expensive_upper: that of the expensive one, in [0, 1].

    Raises:
        CertificationError: a rate lies outside its range.
    """
    return k_of_n_miss_upper((cheap_upper, expensive_upper), k=2)


def delta_upper(deltas: Iterable[float]) -> float:
    """Probability, at most, that any of the members' bounds is too small: the sum, rounded up.

    Args:
        deltas: that of each bound, in [0, 1].

    Raises:
        CertificationError: one lies outside its range.
    """
    return min(1.0, _quotient([check_unit("delta", delta) for delta in deltas], 1))


def _quotient(rates: Sequence[float], divisor: int) -> float:
    """The sum over the divisor, exact where one rate stands alone, else rounded up."""
    if len(rates) == divisor == 1:
        return rates[0]
    return math.nextafter(math.nextafter(math.fsum(rates), math.inf) / divisor, math.inf)
