"""The betting test as a plan: what an anytime-valid sequence needs for the same decision."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from guardrail.stats._checks import check_count, check_open_unit
from guardrail.stats.plans import Plan, PlanKind

__all__ = ["betting_plan"]

Integers = NDArray[np.int64]

_LOG_PI = math.log(math.pi)
_ROOM = 1e-9


def betting_plan(q_required: float, alpha: float, *, block_alpha: float, max_samples: int) -> Plan:
    """Passes once a bettor refutes "at most q_required", blocks once one refutes "at least".

    The bettors are the cut Krichevsky–Trofimov mixtures of `confseq.log_wealth_above`, with
    wealth 1/alpha to pass and 1/block_alpha to block; what is undecided after `max_samples` is
    blocked as uncertain.

    Args:
        q_required: rate that a pass proves, in (0, 1).
        alpha: false-pass probability, in (0, 1).
        block_alpha: probability of blocking by evidence at rates above q_required, in (0, 1).
        max_samples: most draws.

    Raises:
        CertificationError: an argument is outside its range.
    """
    check_open_unit("block_alpha", block_alpha)
    check_open_unit("q_required", q_required)
    check_open_unit("alpha", alpha)
    n = np.arange(1, check_count("max_samples", max_samples, least=1) + 1)
    passing = n - _fewest_to_refute(n, q_required, alpha)
    blocking = _fewest_to_refute(n, 1.0 - q_required, block_alpha)
    last = int(passing[-1])
    return Plan(
        kind=PlanKind.BETTING,
        q_required=q_required,
        alpha=alpha,
        looks=tuple(n.tolist()),
        pass_at_most=tuple(passing.tolist()),
        block_at_least=(*blocking[:-1].tolist(), last + 1),
    )


def _fewest_to_refute(n: Integers, q: float, alpha: float) -> Integers:
    """For each n the fewest k whose wealth against "at most q" is 1/alpha; n + 1 where none.

    Every part theta > q of the mixture gains from one more success, so wealth grows with k and
    bisection finds the step.
    """
    limit = -math.log(alpha) + _ROOM
    low, high = np.full(n.shape, -1), n + 1
    while np.any(high - low > 1):
        middle = (low + high) // 2
        # Where the search is over, the middle is `low`; the answer there is not used.
        enough = _log_wealth(np.maximum(middle, 0), n, q) >= limit
        open_ = high - low > 1
        high = np.where(open_ & enough, middle, high)
        low = np.where(open_ & ~enough, middle, low)
    return high


def _log_wealth(k: Integers, n: Integers, q: float) -> NDArray[np.float64]:
    """`confseq.log_wealth_above` for many counts, -inf where the tail underflows."""
    kept = special.betaincc(k + 0.5, n - k + 0.5, q)
    mass = 2.0 / math.pi * math.acos(math.sqrt(q))
    log_kept = np.full(kept.shape, -np.inf)
    np.log(kept / mass, out=log_kept, where=kept > 0.0)
    likelihood = special.xlogy(k, q) + special.xlog1py(n - k, -q)
    return np.asarray(log_kept + special.betaln(k + 0.5, n - k + 0.5) - _LOG_PI - likelihood)
