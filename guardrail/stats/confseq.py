"""Bounds that may be looked at after every draw: betting against a rate.

A gambler who bets on every outcome cannot be expected to gain when the rate named is the true
one; wealth of 1/alpha refutes it (Ville's inequality). The bets are the Krichevsky–Trofimov
mixture, whose wealth after k of n has a closed form, so a step costs O(1) and only the counts
are kept. The guarantee holds at every n at once: stop at any time, for any reason that does not
depend on future draws.

For a decision a plan (`plans.py`) needs far fewer samples; this is for estimation.

Sources: Ville (1939); Krichevsky & Trofimov (1981), IEEE Trans. Inf. Theory 27; Waudby-Smith &
Ramdas (2024), JRSS B 86; Voracek (arXiv 2406.17830).
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy import special

from guardrail.stats._checks import check_counts, check_open_unit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ConfidenceSequence",
    "anytime_interval",
    "anytime_lower",
    "anytime_upper",
    "log_wealth",
    "log_wealth_above",
]

_LOG_BETA_HALF = math.log(math.pi)
# Two logarithms of the gamma function at n <= 1e9 are good to this much of their own size.
_RELATIVE = 1e-13
_BISECTIONS = 60


def log_wealth(k: int, n: int, q: float) -> float:
    """Log-wealth against rate `q`, after k of n, betting on both sides.

    ln B(k + ½, n - k + ½) / B(½, ½) - k ln q - (n - k) ln(1 - q); a martingale of mean 1 at rate
    q. Infinite where the counts are impossible at q.
    """
    k, n = check_counts(k, n)
    return _log_mixture(k, n) - _log_likelihood(k, n, q)


def log_wealth_above(k: int, n: int, q: float) -> float:
    """Log-wealth against all rates of at most `q`, betting only on rates above it.

    The mixture is the arcsine prior cut at q. Each of its parts theta > q grows by at most 1 in
    mean at every rate q' <= q, since q' · theta / q + (1 - q')(1 - theta)/(1 - q) increases in
    q' and is 1 at q' = q. Sharper than `log_wealth` by up to ln of the prior's mass above q.
    """
    k, n = check_counts(k, n)
    check_open_unit("q", q)
    kept = float(special.betaincc(k + 0.5, n - k + 0.5, q))
    mass = 2.0 / math.pi * math.acos(math.sqrt(q))
    if kept < sys.float_info.min:
        return -math.inf  # subnormal numbers have lost their digits; less wealth refutes less
    return math.log(kept / mass) + _log_mixture(k, n) - _log_likelihood(k, n, q)


def anytime_lower(k: int, n: int, alpha: float) -> float:
    """Lower bound of the rate after k of n, valid at all n at once.

    The promise: P[for some n the bound exceeds q] <= alpha. Below (k - ½)/n the wealth against
    "at most q" falls in q (the hazard of the arcsine prior is at most ½/(q(1 - q)), the
    likelihood's slope (k - nq)/(q(1 - q))), so refuting the bound refutes everything below it.

    Args:
        k: harmless outcomes so far.
        n: outcomes so far; may be chosen by looking at them.
        alpha: failure probability in (0, 1), one-sided.

    Returns:
        A number in [0, 1), rounded down.

    Raises:
        CertificationError: an argument is outside its range.
    """
    k, n = check_counts(k, n)
    limit = -math.log(check_open_unit("alpha", alpha)) + _error(k, n)
    if k == 0:
        return 0.0
    return _last(0.0, (k - 0.5) / n, lambda q: log_wealth_above(k, n, q) >= limit)


def anytime_upper(k: int, n: int, alpha: float) -> float:
    """Upper bound of the rate after k of n, valid at all n at once; the mirror of the lower.

    Returns:
        A number in (0, 1], rounded up.

    Raises:
        CertificationError: an argument is outside its range.
    """
    k, n = check_counts(k, n)
    below = anytime_lower(n - k, n, alpha)
    return 1.0 if below == 0.0 else math.nextafter(1.0 - below, 1.0)


def anytime_interval(k: int, n: int, alpha: float) -> tuple[float, float]:
    """Both bounds together: P[for some n the rate lies outside] <= alpha.

    The rates that a gambler on both sides has not refuted; an interval, since the wealth is
    convex in q.

    Returns:
        (lower, upper) in [0, 1], rounded outwards.

    Raises:
        CertificationError: an argument is outside its range.
    """
    k, n = check_counts(k, n)
    check_open_unit("alpha", alpha)
    return _two_sided_lower(k, n, alpha), 1.0 - _two_sided_lower(n - k, n, alpha)


def _two_sided_lower(k: int, n: int, alpha: float) -> float:
    if k == 0:
        return 0.0
    limit = -math.log(alpha) + _error(k, n)
    return _last(0.0, k / n, lambda q: log_wealth(k, n, q) >= limit)


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """Counts with the tightest bounds seen so far; `after` adds one outcome.

    Both one-sided bounds hold at all times, each with probability 1 - alpha; keeping the best
    so far costs nothing because all times are covered together.
    """

    alpha: float
    harmless: int = 0
    total: int = 0
    lower: float = 0.0
    upper: float = 1.0

    def after(self, harmless: bool) -> ConfidenceSequence:
        k, n = self.harmless + int(harmless), self.total + 1
        return ConfidenceSequence(
            alpha=self.alpha,
            harmless=k,
            total=n,
            lower=max(self.lower, anytime_lower(k, n, self.alpha)),
            upper=min(self.upper, anytime_upper(k, n, self.alpha)),
        )


def _log_mixture(k: int, n: int) -> float:
    return float(special.betaln(k + 0.5, n - k + 0.5)) - _LOG_BETA_HALF


def _log_likelihood(k: int, n: int, q: float) -> float:
    return float(special.xlogy(k, q) + special.xlog1py(n - k, -q))


def _error(k: int, n: int) -> float:
    """More than the rounding errors of a log-wealth: it is added to the wealth asked for."""
    return _RELATIVE * (1.0 + abs(_log_mixture(k, n)) + n * math.log(n + 2.0))


def _last(low: float, high: float, refuted: Callable[[float], bool]) -> float:
    """The last refuted point of an interval whose refuted part is its beginning."""
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if middle > 0.0 and refuted(middle) else (low, middle)
    return low
