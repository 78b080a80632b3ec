"""The prices at which the cheapest rule meets alpha and power: a maximum of a concave function.

For prices lambda, mu let V be the least cost with prices included. Then
V - lambda · alpha - mu · beta is at most the expected cost of every plan with false pass <= alpha
and miss <= beta, randomised ones included; its maximum over prices is a bound on what any plan
could save, and the rules near the maximum are the plans to choose from.

For q_required 0.5, q1 = traffic = 0.95, alpha 0.05, power 0.9 and a look after each of 12 draws the
maximum lies at lambda = 35.8 and mu = 10.7 and is 4.92: no plan has fewer expected calls. At
lambda = 40.9 and mu = 11.0 the cheapest rule has false pass 0.040 and power 0.912 and takes 5.42
calls: the cheapest one found that meets the target, and where `polish` begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guardrail.stats.lattice import LatticeBatch, solve

if TYPE_CHECKING:
    from guardrail.stats.lattice import Lattice, Schedule

__all__ = ["PRICE_ROUNDS", "Prices", "Target", "guess_prices", "search_prices"]

_GRID = 7
PRICE_ROUNDS = 6
_FIRST_SPAN = 2.4
# Long horizons are expensive and their guessed prices good: a coarser search is enough.
_LONG = 3_000
_LONG_GRID = 5
_LONG_ROUNDS = 6
_LONG_FIRST_SPAN = 0.9
_SHRINK = 0.4
_WIDE_SPAN = 9.0
_WIDE_GRID = 19


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan must reach: P(pass at q0) <= alpha and P(pass at q1) >= power."""

    alpha: float
    power: float


@dataclass(frozen=True, slots=True)
class Prices:
    """Log-prices that met the target, if any did, and those of the largest bound.

    Attributes:
        log_lam: of a false pass, at the bound's maximum.
        log_mu: of a miss, there.
        cost_lower: no plan on this schedule has a smaller expected cost (nearest value).
        feasible: (log_lam, log_mu) of the cheapest rule found that meets the target.
        cost: its expected cost; infinite where none was found.
    """

    log_lam: float
    log_mu: float
    cost_lower: float
    feasible: tuple[float, float] | None
    cost: float


def guess_prices(target: Target, cost: float) -> Prices:
    """Where to begin: the slopes of Wald's approximation for a test of about that cost."""
    log_lam = math.log(0.6 * cost / (target.alpha * math.log(1.0 / target.alpha) + 1e-300))
    return Prices(log_lam, math.log(cost), -math.inf, None, math.inf)


def search_prices(
    lattice: Lattice,
    schedule: Schedule,
    target: Target,
    start: Prices,
    rounds: int = PRICE_ROUNDS,
    *,
    far: bool = True,
) -> Prices:
    """Zooms in on the bound's maximum; with `far`, searches farther if nothing met the target."""
    found = Prices(start.log_lam, start.log_mu, -math.inf, None, math.inf)
    long = schedule.horizon > _LONG
    span, grid = (_LONG_FIRST_SPAN, _LONG_GRID) if long else (_FIRST_SPAN, _GRID)
    for _ in range(min(rounds, _LONG_ROUNDS) if long else rounds):
        before = found
        found = _round(lattice, schedule, target, found, span, grid)
        moved = max(abs(found.log_lam - before.log_lam), abs(found.log_mu - before.log_mu))
        if moved < 0.99 * span:
            span *= _SHRINK
    if far and found.feasible is None:
        found = _round(lattice, schedule, target, found, _WIDE_SPAN, _WIDE_GRID)
    return found


def _round(
    lattice: Lattice, schedule: Schedule, target: Target, at: Prices, span: float, grid: int
) -> Prices:
    offsets = np.linspace(-span, span, grid)
    log_lam = np.repeat(at.log_lam + offsets, grid)
    log_mu = np.tile(at.log_mu + offsets, grid)
    solved = solve(lattice, schedule, LatticeBatch(log_lam, log_mu))
    lam, mu = np.exp(log_lam), np.exp(log_mu)
    bound = solved.value - lam * target.alpha - mu * (1.0 - target.power)
    met = (solved.false_pass <= target.alpha) & (solved.power >= target.power)
    cost = solved.value - lam * solved.false_pass - mu * (1.0 - solved.power)
    best, cheapest = int(np.argmax(bound)), int(np.argmin(np.where(met, cost, np.inf)))
    better = bool(met[cheapest]) and cost[cheapest] < at.cost
    return Prices(
        log_lam=float(log_lam[best]),
        log_mu=float(log_mu[best]),
        cost_lower=max(float(bound[best]), at.cost_lower),
        feasible=(float(log_lam[cheapest]), float(log_mu[cheapest])) if better else at.feasible,
        cost=float(cost[cheapest]) if better else at.cost,
    )
