"""An upper bound of the mean of numbers in a known range, such as calls of a request.

A gambler bets against "the mean is at least m": with each number x in [0, 1] the wealth grows by
1 + c (m - x)/(1 - m), which is at most 1 in mean wherever the true mean is m or more. Averaged over
fixed stakes c, wealth of 1/alpha refutes m (Ville's inequality). Each factor grows with m, so what
refutes m refutes every larger one. The stakes are fixed beforehand, so nothing is chosen by the
numbers; where they spread little, the bound is far below that of Hoeffding's inequality.

Source: Waudby-Smith & Ramdas (2024), JRSS B 86.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_open_unit, check_positive

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["mean_upper"]

_STAKES = np.concatenate([np.geomspace(0.001, 0.5, 20), 1.0 - np.geomspace(0.5, 0.001, 20)[1:]])
_BISECTIONS = 36


def mean_upper(values: Sequence[float], most: float, alpha: float) -> float:
    """Upper bound of the mean that independent numbers in [0, most] were drawn with.

    The promise: it lies below the true mean with probability at most `alpha`. It holds at any
    stopping time: how many numbers are drawn may depend on those before, since the wealth reaches
    1/alpha at any time with probability at most alpha. `most` must be fixed beforehand: taken from
    the numbers themselves, such as the largest one seen, it promises nothing.

    Args:
        values: in [0, most]; none give the vacuous bound `most`.
        most: the largest number that can come, > 0.
        alpha: failure probability in (0, 1), one-sided.

    Raises:
        CertificationError: an argument is outside its range.
    """
    most = check_positive("most", most)
    limit = -math.log(check_open_unit("alpha", alpha)) * (1.0 + 1e-9) + 1e-9
    shares = np.asarray(values, dtype=np.float64) / most
    if shares.size and not (np.all(shares >= 0.0) and np.all(shares <= 1.0)):
        raise CertificationError(f"numbers whose mean is bounded must lie between 0 and {most:g}")
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        if _log_wealth(shares, middle) >= limit:
            high = middle
        else:
            low = middle
    return math.nextafter(high * most, math.inf) if high < 1.0 else most


def _log_wealth(shares: np.ndarray[tuple[int], np.dtype[np.float64]], mean: float) -> float:
    """Log-wealth against a mean of `mean` or more, below 1, averaged over the stakes."""
    edge = (mean - shares) / (1.0 - mean)
    grown = np.log1p(_STAKES[:, None] * edge[None, :]).sum(axis=1)
    top = float(grown.max())
    return top + math.log(float(np.exp(grown - top).mean()))
