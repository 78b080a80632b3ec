"""Where to begin the search for looks, when a wave of parallel calls costs time as well as money.

A family of rows (an early look that can only block, a first look that can pass, then steps) is
priced at once, each row as one member of a batch. Beside the best of them, tests that are easy to
write down: of fixed size, and of fixed size with one look at the end of a full wave. Any of them
gives a valid plan; the choice only decides where `descend` begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guardrail.stats.fixed import most_harmful
from guardrail.stats.lattice import LatticeBatch, Schedule, solve
from guardrail.stats.radius import fewest_samples

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.stats.lattice import Lattice
    from guardrail.stats.paths import Paths, Stages
    from guardrail.stats.question import PlanQuestion
    from guardrail.stats.search import Prices

__all__ = ["choose_looks", "two_stage_tests"]

Looks = tuple[int, ...]

_BATCH = 256
_SHORT = 700
_PLACES = 40
_GROUPS = 12


def choose_looks(question: PlanQuestion, lattice: Lattice, prices: Prices) -> Looks:
    """The row of looks of a family with the least cost at the prices.

    Where the horizon is long the family is small.
    """
    fewest = fewest_samples(question.q_required, question.alpha)
    rows = _family(fewest, question.horizon, question.parallel)
    costs: list[float] = []
    for part in (rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)):
        one = np.ones(len(part))
        batch = LatticeBatch(prices.log_lam * one, prices.log_mu * one)
        schedule = Schedule.of(part, question.weight, question.parallel)
        costs += solve(lattice, schedule, batch).value.tolist()
    return rows[int(np.argmin(costs))]


def two_stage_tests(question: PlanQuestion, paths: Paths) -> list[Stages]:
    """Tests of one or two stages that meet the target, unlike each other, the cheapest first.

    The best for every count that passes at the first look, once with that look anywhere and once
    at the end of a full wave: a row of looks that misses the end of a wave is hard to move there,
    since all later looks must give way.
    """
    alpha = question.target.alpha
    apart = max(question.smallest // _GROUPS, 1)
    best: dict[tuple[int, int], tuple[float, Stages]] = {}
    for look in _first_looks(question):
        full = look % question.parallel == 0
        for most in range(-1, most_harmful(look, question.q_required, alpha) + 1):
            stages = _with_end(question, paths, ((look, most, paths.width - 1),))
            if stages:
                key = most, 0 if full else look // apart
                found = float(paths.sums(stages)[2]), stages
                best[key] = min(found, best.get(key, found))
    one = _with_end(question, paths, ())
    rest = [stages for _, stages in sorted(best.values())]
    return [one, *rest] if one else rest


def _first_looks(question: PlanQuestion) -> list[int]:
    last = question.smallest
    places = np.linspace(1, last, min(last, _PLACES)).round().astype(np.int64).tolist()
    return sorted({*places, *range(question.parallel, last, question.parallel)})


def _with_end(question: PlanQuestion, paths: Paths, stages: Stages) -> Stages:
    """With the earliest last stage that meets the target; no stages where none does."""
    begun = paths.start
    for stage in stages:
        begun = paths.begin(begun, stage)
    looks = np.arange(begun.look + 1, paths.horizon + 1)
    here = begun.going @ paths.ways[looks - begun.look]
    passed = np.cumsum(here * paths.chance[:2, looks], axis=2)
    target = question.target
    fits = (begun.sums[0] + passed[0] <= target.alpha) & (begun.sums[1] + passed[1] >= target.power)
    rows = np.flatnonzero(fits.any(axis=1))
    if not rows.size:
        return ()
    most = int(np.flatnonzero(fits[rows[0]])[0])
    return (*stages, (int(looks[rows[0]]), most, most + 1))


def _family(fewest: int, horizon: int, parallel: int) -> list[Looks]:
    """Early look × first look that can pass × step × growth of the step; and every whole unit."""
    fine = horizon <= _SHORT
    early = (0, 4, 12) if fine else (0, 12)
    first = (1.0, 1.15, 1.4, 1.8, 2.6) if fine else (1.35, 2.0)
    steps = (0.15, 0.35, 0.8) if fine else (0.2, 0.6)
    growths = (1.0, 1.4) if fine else (1.0,)
    units = {1, min(parallel, horizon)}
    rows = {
        _row([e, *_stairs(round(fewest * f), fewest * s, g, horizon)], horizon, unit)
        for unit in units
        for e in early
        for f in first
        for s in steps
        for g in growths
    }
    return sorted(rows | {_row(range(horizon), horizon, unit) for unit in units})


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
