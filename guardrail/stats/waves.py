"""Which looks to take when a wave of parallel calls costs time as well as money.

The best rows of looks are found by trying many at once, each as one row of a batch at the prices
of the best so far, first a family (an early look that can only block, a first look that can
pass, then steps), then small changes of the winner. Any row gives a valid plan; the choice only
decides what it costs.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from guardrail.stats.lattice import Batch, Schedule, solve
from guardrail.stats.search import search_prices

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.stats.lattice import Lattice
    from guardrail.stats.search import Prices, Target

__all__ = ["choose_looks"]

Looks = tuple[int, ...]

_CLIMBS = 4
_QUICK_ROUNDS = 2
_BATCH = 256
_SHORT = 700
_CHOICES = 4


def choose_looks(
    lattice: Lattice,
    target: Target,
    prices: Prices,
    *,
    fewest: int,
    horizon: int,
    weight: float,
    parallel: int,
) -> list[Looks]:
    """A few rows of looks for which calls + weight · rounds of parallel calls is small.

    Args:
        lattice: the rates.
        target: alpha and power.
        prices: where the search for prices starts.
        fewest: the first look at which any plan could pass.
        horizon: the last look.
        weight: price of one round of parallel calls, in calls, > 0.
        parallel: calls that run at the same time.

    Returns:
        Rows in order of promise, one where the horizon is so long that trying more is slow.
    """

    def ranked(rows: list[Looks], at: Prices) -> list[Looks]:
        bounds = [bound for part in _parts(rows) for bound in values(part, at)]
        return [rows[i] for i in np.argsort(bounds, kind="stable")]

    def values(rows: list[Looks], at: Prices) -> list[float]:
        one = np.ones(len(rows))
        batch = Batch(at.log_lam * one, at.log_mu * one)
        schedule = Schedule.of(rows, weight, parallel)
        return [float(value) for value in solve(lattice, schedule, batch).value]

    short = horizon <= _SHORT
    rows = ranked(_family(fewest, horizon, parallel, fine=short), prices)
    for _ in range(_CLIMBS if short else 0):
        best = rows[0]
        schedule = Schedule.of([best], weight, parallel)
        prices = search_prices(lattice, schedule, target, prices, _QUICK_ROUNDS, far=False)
        rows = ranked([*rows[:_CHOICES], *_neighbours(best)], prices)
        if rows[0] == best:
            break
    return rows[: _CHOICES if short else 1]


def _parts(rows: list[Looks]) -> list[list[Looks]]:
    return [rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)]


def _family(fewest: int, horizon: int, parallel: int, *, fine: bool) -> list[Looks]:
    """Early look × first look that can pass × step × growth of the step."""
    early = (0, 4, 12) if fine else (0, 12)
    first = (1.0, 1.15, 1.4, 1.8, 2.6) if fine else (1.35, 2.0)
    steps = (0.15, 0.35, 0.8) if fine else (0.2, 0.6)
    growths = (1.0, 1.4) if fine else (1.0,)
    rows = {
        _row([e, *_stairs(round(fewest * f), fewest * s, g, horizon)], horizon, unit)
        for unit in {1, parallel}
        for e in early
        for f in first
        for s in steps
        for g in growths
    }
    return sorted(rows)


def _stairs(first: int, step: float, growth: float, horizon: int) -> list[int]:
    points, at = [], float(first)
    while at < horizon:
        points.append(round(at))
        at += max(step, 1.0)
        step *= growth
    return points


def _row(points: Iterable[int], horizon: int, unit: int) -> Looks:
    """Points as looks, rounded up to whole units."""
    whole = {-(-point // unit) * unit for point in points}
    return (*sorted(point for point in whole if 0 < point < horizon), horizon)


def _neighbours(row: Looks) -> list[Looks]:
    """One look moved, dropped or added."""
    inner = row[:-1]
    changed: list[list[int]] = [[*inner[:i], *inner[i + 1 :]] for i in range(len(inner))]
    changed += [
        [*inner[:i], look + shift, *inner[i + 1 :]]
        for i, look in enumerate(inner)
        for shift in (-8, -3, -1, 1, 3, 8)
    ]
    changed += [[*inner, (a + b) // 2] for a, b in pairwise((0, *row))]
    return sorted({_row(points, row[-1], 1) for points in changed} - {row})
