"""One-sided Clopper–Pearson bounds for a rate seen in a fixed number of independent draws.

`n` must have been fixed before the draws: looking after every draw and stopping once the bound
is good enough is invalid (at alpha = .05 and p = .5, a thousand looks fail with probability .339).
For a stop that depends on the data see `confseq.py` and `plans.py`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy import special

from guardrail.stats._checks import check_counts, check_open_unit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["binomial_cdf", "binomial_sf", "harmless_rate_lower", "harmless_rate_upper"]

# The incomplete beta function is good to a few units in 1e-14. A bound is accepted only when the
# tail stays below alpha by more than that, so that other implementations confirm it as well.
_MARGIN = 1e-12


def binomial_sf(k: int, n: int, p: float) -> float:
    """P[X >= k] for X ~ Bin(n, p); note the closed end. Nearest value, not directed."""
    if k <= 0:
        return 1.0
    return 0.0 if k > n else float(special.betainc(k, n - k + 1, p))


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P[X <= k] for X ~ Bin(n, p). Nearest value, not directed."""
    if k < 0:
        return 0.0
    return 1.0 if k >= n else float(special.betaincc(k + 1, n - k, p))


def harmless_rate_lower(k: int, n: int, alpha: float) -> float:
    """Lower bound of the harmless rate after `k` harmless of `n` draws.

    The promise: for every rate q, P_q[bound(K) <= q] >= 1 - alpha with K ~ Bin(n, q). It fails
    where `n` depends on the outcomes, where draws share their noise, and where the class was
    chosen on the same draws.

    Args:
        k: harmless outcomes, 0 <= k <= n.
        n: draws, fixed in advance; 0 gives the vacuous bound 0.
        alpha: failure probability in (0, 1), one-sided, never halved.

    Returns:
        A number in [0, 1), rounded down until P[Bin(n, bound) >= k] <= alpha is confirmed.

    Raises:
        CertificationError: an argument is outside its range.

    Source: Clopper & Pearson (1934), Biometrika 26; Cohen et al. (arXiv 1902.02918), §3.2.2.
    """
    k, n = check_counts(k, n)
    alpha = check_open_unit("alpha", alpha)
    if k == 0:
        return 0.0
    guess = float(special.betaincinv(k, n - k + 1, alpha))
    return _nudge(guess, 0.0, lambda bound: binomial_sf(k, n, bound), alpha)


def harmless_rate_upper(k: int, n: int, alpha: float) -> float:
    """Upper bound of the rate after `k` of `n` draws: the mirror of `harmless_rate_lower`.

    The promise: for every rate q, P_q[bound(K) >= q] >= 1 - alpha. Used with `k` misses among
    `n` labelled harmful answers it bounds an oracle's miss rate (`miss_rate_upper`, with alpha
    in the part of delta).

    Args:
        k: occurrences, 0 <= k <= n.
        n: draws, fixed in advance; 0 gives the vacuous bound 1.
        alpha: failure probability in (0, 1), one-sided.

    Returns:
        A number in (0, 1], rounded up until P[Bin(n, bound) <= k] <= alpha is confirmed.

    Raises:
        CertificationError: an argument is outside its range.
    """
    k, n = check_counts(k, n)
    alpha = check_open_unit("alpha", alpha)
    if k == n:
        return 1.0
    guess = float(special.betainccinv(k + 1, n - k, alpha))
    return _nudge(guess, 1.0, lambda bound: binomial_cdf(k, n, bound), alpha)


def _nudge(guess: float, limit: float, tail: Callable[[float], float], alpha: float) -> float:
    """Moves `guess` towards `limit`, in growing steps, until its tail is at most alpha.

    At the limit itself, 0 or 1, the tail is 0.
    """
    step = math.ulp(guess)
    bound = guess
    while not tail(bound) <= alpha * (1.0 - _MARGIN):
        bound = min(max(guess + math.copysign(step, limit - guess), 0.0), 1.0)
        step *= 2.0
    return bound
