"""The fixed-n test: one-sided Clopper–Pearson on n draws, stopped when its verdict is settled."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_increasing, check_open_unit, check_unit
from guardrail.stats.binomial import binomial_cdf
from guardrail.stats.plans import Plan, PlanKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["check_rates", "curtail", "fixed_plan", "most_harmful", "smallest_fixed"]

# Accepting a count only when its tail clears alpha by this much keeps the plan's own, upward
# rounded evaluation below alpha too.
_MARGIN = 1e-9
_BLOCK = 64
_LARGEST = 2**32


def most_harmful(n: int, q_required: float, alpha: float) -> int:
    """The most harmful outcomes with which `n` draws still prove `q_required`; -1 where none do.

    The largest c with P[Bin(n, 1 - q_required) <= c] <= alpha, which is to say that
    `harmless_rate_lower(n - c, n, alpha)` reaches `q_required`.
    """
    n = check_count("n", n, least=1)
    limit = check_open_unit("alpha", alpha) * (1.0 - _MARGIN)
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        inside = binomial_cdf(middle, n, 1.0 - q_required) <= limit
        low, high = (middle, high) if inside else (low, middle)
    return low


@lru_cache(maxsize=256)
def smallest_fixed(q_required: float, alpha: float, q1: float, power: float) -> tuple[int, int]:
    """The smallest (n, c) that passes with probability at least `power` at rate `q1`.

    For each c the fewest draws that prove q_required with c harmful are the best for c, and they
    grow with c; so the first c whose power suffices gives the smallest n.
    """
    check_rates(q_required, alpha, q1, power)
    start = 0
    while True:
        c = np.arange(start, start + _BLOCK)
        n = _fewest_for(c, q_required, alpha * (1.0 - _MARGIN))
        enough = np.flatnonzero(_cdf(c, n, q1) >= power)
        if enough.size:
            return int(n[enough[0]]), int(c[enough[0]])
        if n[-1] >= _LARGEST:
            raise CertificationError(
                f"expected_harmless_rate times expected_success_rate, {q1:.6g}, is so close to the "
                "required rate "
                f"{q_required:.6g} that no practical number of samples tells them apart; "
                "choose a smaller radius or a larger sigma"
            )
        start += _BLOCK * max(1, start // (4 * _BLOCK))


def fixed_plan(
    q_required: float,
    alpha: float,
    *,
    q1: float,
    power: float,
    max_samples: int,
    looks: Iterable[int] | None = None,
) -> Plan:
    """The smallest fixed-n Clopper–Pearson test with the wanted power, stopped early.

    It stops as soon as the remaining draws cannot change the verdict, so its verdict is that of
    the full n draws in any order, at any choice of looks.

    Args:
        q_required: rate that a pass proves, in (0, 1).
        alpha: false-pass probability, in (0, 1).
        q1: harmless rate of usual traffic, in (q_required, 1].
        power: P(pass) wanted at `q1`, in (0, 1).
        max_samples: most draws allowed.
        looks: sample counts at which to look (n is added); every draw where not given.

    Raises:
        CertificationError: an argument is outside its range, or no n <= max_samples has the
            power; the message names the smallest `max_samples` that does.
    """
    n, c = smallest_fixed(q_required, alpha, q1, power)
    if n > check_count("max_samples", max_samples, least=1):
        raise CertificationError(
            f"max_samples {max_samples} cannot prove a harmless rate of {q_required:.6g} at alpha "
            f"{alpha:g} with power {power:g} for traffic at {q1:.6g}; the smallest max_samples "
            f"that does is {n}"
        )
    return curtail(n, c, q_required, alpha, looks)


def curtail(
    n: int, c: int, q_required: float, alpha: float, looks: Iterable[int] | None = None
) -> Plan:
    """The test "at most c harmful of n", stopped as soon as its verdict is settled.

    Args:
        n: draws.
        c: most harmful outcomes that pass, -1 <= c < n.
        q_required: rate that a pass proves.
        alpha: false-pass probability.
        looks: as in `fixed_plan`; those beyond `n` are dropped.

    Raises:
        CertificationError: the test is not valid at alpha.
    """
    chosen = range(1, n + 1) if looks is None else check_increasing("looks", looks)
    kept = (*(look for look in chosen if look < n), n)
    return Plan(
        kind=PlanKind.FIXED,
        q_required=q_required,
        alpha=alpha,
        looks=kept,
        pass_at_most=tuple(max(c - (n - look), -1) for look in kept),
        block_at_least=tuple(min(c, look) + 1 for look in kept),
    )


def check_rates(q_required: float, alpha: float, q1: float, power: float) -> None:
    """Refuses a question that no test can answer."""
    check_open_unit("q_required", q_required)
    check_open_unit("alpha", alpha)
    check_open_unit("power", power)
    if not q_required < check_unit("expected_harmless_rate", q1):
        raise CertificationError(
            f"expected_harmless_rate times expected_success_rate, {q1:.6g}, must lie above the "
            f"required rate {q_required:.6g}; choose a smaller radius, a larger sigma or a lower "
            "floor"
        )


def _fewest_for(c: NDArray[np.int64], q_required: float, limit: float) -> NDArray[np.int64]:
    """For each c the fewest n with P[Bin(n, 1 - q_required) <= c] <= limit."""
    low, high = c.copy(), c + 1
    while np.any(open_ := (_cdf(c, high, q_required) > limit) & (high < _LARGEST)):
        low = np.where(open_, high, low)
        high = np.where(open_, 2 * high, high)
    while np.any(high - low > 1):
        middle = (low + high) // 2
        inside = _cdf(c, middle, q_required) <= limit
        high = np.where(inside, middle, high)
        low = np.where(inside, low, middle)
    return high


def _cdf(c: NDArray[np.int64], n: NDArray[np.int64], q: float) -> NDArray[np.float64]:
    """P[harmful <= c] among n > c draws at harmless rate q."""
    return np.asarray(special.betainc(n - c, c + 1.0, q))
