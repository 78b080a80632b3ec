"""Backward induction over (samples, harmful): the best stopping rule for given prices.

A false pass at q_required costs lambda, a missed pass at q1 costs mu, a call costs 1 and leaving
a look for the next costs `leave`. For these prices the cheapest rule is found exactly by working
back from the horizon, in units of the path's probability under the traffic; probabilities never
appear, only ratios of them, so nothing underflows. Many pairs of prices, or many choices of
looks, are solved at once as the rows of one batch.

For q_required 0.5, q1 = traffic = 0.9, looks after 1, 2 and 3 draws, `leave` 0 and lambda = mu = 20
the cheapest rule blocks at the first harmful outcome and passes after three harmless ones. Its
false pass is 0.5³ = 0.125, its power 0.9³ = 0.729, its calls 1 + 0.9 + 0.81 = 2.71; so it costs
2.71 + 20 · 0.125 + 20 · 0.271 = 10.63, which is `value`.

Source: the Lagrangian of Kiefer & Weiss (1957), Annals of Mathematical Statistics 28.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from guardrail.stats.traffic import Traffic

__all__ = [
    "Lattice",
    "LatticeBatch",
    "Row",
    "Schedule",
    "Solved",
    "calls_to_next_look",
    "log_path",
    "solve",
]

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

_LOG_LARGEST = 600.0
_ROWS_KEPT = 6000


def log_path(q: float, n: int, harmful: Floats) -> Floats:
    """Log-probability of one path with `harmful` harmful of `n` outcomes, q in (0, 1)."""
    return (n - harmful) * math.log(q) + harmful * math.log1p(-q)


@dataclass(frozen=True, slots=True)
class Row:
    """The states with n samples and 0, 1, 2 … harmful ones.

    Attributes:
        ratio0: a path's probability at q0 over that under the traffic, clipped above at e^600.
        ratio1: the same at q1.
        good: P(next outcome harmless | path) under the traffic.
    """

    ratio0: Floats
    ratio1: Floats
    good: Floats


class Lattice:
    """The rates of a question: q0 (required), q1 (usual), traffic; all inside (0, 1)."""

    def __init__(self, q0: float, q1: float, traffic: Traffic) -> None:
        self.q0, self.q1, self.traffic = q0, q1, traffic
        self._rows: dict[int, Row] = {}

    def row(self, n: int, width: int) -> Row:
        """At least `width` states; the recent thousands of rows are remembered."""
        row = self._rows.get(n)
        if row is None or row.good.size < width:
            if len(self._rows) > _ROWS_KEPT:
                self._rows.clear()
            row = self._rows[n] = self._make(n, width)
        return row

    def _make(self, n: int, width: int) -> Row:
        harmful = np.arange(width, dtype=np.float64)
        # No path has more than n harmful; the states above only fill the row.
        base = self.traffic.log_path(n, harmful)
        later = self.traffic.log_path(n + 1, harmful)
        return Row(
            ratio0=_exp(log_path(self.q0, n, harmful) - base),
            ratio1=_exp(log_path(self.q1, n, harmful) - base),
            good=np.exp(np.minimum(later - base, 0.0)),
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """Where a plan may look, in a row for each batch member or one row for all.

    Attributes:
        looks: shape (rows, horizon + 1), true where it may stop; the horizon always.
        leave: same shape, price of going on from a look (or from the start) to the next.
        wait: same shape, calls from here to the next look; 0 at a look.
    """

    looks: Booleans
    leave: Floats
    wait: Floats

    @property
    def horizon(self) -> int:
        return int(self.looks.shape[1]) - 1

    @classmethod
    def of(cls, rows: list[tuple[int, ...]], weight: float, parallel: int) -> Schedule:
        """From rows of looks that end at the same horizon.

        A wave of m calls costs weight · ⌈m / parallel⌉ beside the calls themselves.
        """
        shape = (len(rows), rows[0][-1] + 1)
        looks, leave, wait = np.zeros(shape, dtype=bool), np.zeros(shape), np.zeros(shape)
        for i, row in enumerate(rows):
            points = np.array((0, *row))
            looks[i, points[1:]] = True
            leave[i, points[:-1]] = weight * np.ceil(np.diff(points) / parallel)
            wait[i] = calls_to_next_look(points[1:])
        return cls(looks, leave, wait)


def calls_to_next_look(looks: NDArray[np.int64]) -> Floats:
    """Calls from n to the first look at or after n, for n = 0 … last look."""
    n = np.arange(looks[-1] + 1)
    return np.asarray(looks[np.searchsorted(looks, n)] - n, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class LatticeBatch:
    """Log-prices of a false pass and of a missed pass, shape (rows,) each."""

    log_lam: Floats
    log_mu: Floats


@dataclass(frozen=True, slots=True)
class Solved:
    """The cheapest rule for every row of a batch, shape (rows,) each.

    Attributes:
        value: cost with both prices included (a minimum over all stopping rules).
        false_pass: P(pass) at q0.
        power: P(pass) at q1.
        tables: one (pass_at_most, block_at_least) per look for row 0, earliest first.
    """

    value: Floats
    false_pass: Floats
    power: Floats
    tables: tuple[tuple[int, int], ...]


def solve(lattice: Lattice, schedule: Schedule, batch: LatticeBatch) -> Solved:
    """Works back from the horizon for all rows at once."""
    step = _Step(lattice, schedule, batch)
    for n in range(schedule.horizon - 1, -1, -1):
        step.back_to(n)
    return Solved(
        value=step.value[:, 0],
        false_pass=step.false_pass[:, 0],
        power=step.power[:, 0],
        tables=tuple(reversed(step.tables)),
    )


class _Step:
    """The values of all states with n samples, shape (rows, harmful), for one n at a time."""

    def __init__(self, lattice: Lattice, schedule: Schedule, batch: LatticeBatch) -> None:
        self._lattice, self._schedule = lattice, schedule
        self._lam, self._mu = np.exp(batch.log_lam)[:, None], np.exp(batch.log_mu)[:, None]
        horizon = schedule.horizon
        self._most = _most_harmful(lattice, horizon, batch)
        self.tables: list[tuple[int, int]] = []
        passing, blocking = self._stops(horizon, self._width(horizon))
        passes = passing < blocking
        self.value = np.minimum(passing, blocking)
        self.false_pass = passes.astype(np.float64)
        self.power = self.false_pass
        self._record(horizon, passes, ~passes)

    def _width(self, n: int) -> int:
        """States that matter: harmful = 0 … min(n, most)."""
        return min(n, self._most) + 1

    def _stops(self, n: int, width: int) -> tuple[Floats, Floats]:
        """The price of passing and of blocking in each state."""
        row = self._lattice.row(n, width)
        return self._lam * row.ratio0[:width], self._mu * row.ratio1[:width]

    def back_to(self, n: int) -> None:
        width = self._width(n)
        self._grow(n + 1, width + 1)
        good = self._lattice.row(n, width).good[:width]
        go = 1.0 + good * self.value[:, :-1] + (1.0 - good) * self.value[:, 1:]
        go += self._schedule.leave[:, n][:, None]
        q0, q1 = self._lattice.q0, self._lattice.q1
        false_pass = q0 * self.false_pass[:, :-1] + (1.0 - q0) * self.false_pass[:, 1:]
        power = q1 * self.power[:, :-1] + (1.0 - q1) * self.power[:, 1:]
        looks = self._schedule.looks[:, n][:, None]
        if n > 0 and looks.any():
            go, false_pass, power = self._stop_or(n, looks, go, false_pass, power)
        self.value, self.false_pass, self.power = go, false_pass, power

    def _stop_or(
        self, n: int, looks: Booleans, go: Floats, false_pass: Floats, power: Floats
    ) -> tuple[Floats, Floats, Floats]:
        passing, blocking = self._stops(n, go.shape[1])
        stopping = np.minimum(passing, blocking)
        stops = (stopping <= go) & looks
        passes = stops & (passing < blocking)
        if looks[0, 0]:
            self._record(n, passes, stops & ~passes)
        return (
            np.where(stops, stopping, go),
            np.where(stops, passes, false_pass),
            np.where(stops, passes, power),
        )

    def _grow(self, n: int, width: int) -> None:
        """Adds the state beyond the most harmful one: nothing passes from there.

        It is blocked at the next look; until then the wave costs its calls. The price of a miss
        stays what it is, since a path's ratio is a martingale.
        """
        if self.value.shape[1] == width:
            return
        blocked = self._stops(n, width)[1][:, -1:] + self._schedule.wait[:, n][:, None]
        nothing = np.zeros_like(blocked)
        self.value = np.concatenate((self.value, blocked), axis=1)
        self.false_pass = np.concatenate((self.false_pass, nothing), axis=1)
        self.power = np.concatenate((self.power, nothing), axis=1)

    def _record(self, n: int, passes: Booleans, blocks: Booleans) -> None:
        """Row 0 as thresholds: what is not closed under fewer or more harmful goes on."""
        del n
        row, last = passes[0], blocks[0]
        most = row.size if row.all() else int(np.argmin(row))
        least = 0 if last.all() else last.size - int(np.argmin(last[::-1]))
        self.tables.append((most - 1, least))


def _exp(logs: Floats) -> Floats:
    return np.exp(np.minimum(logs, _LOG_LARGEST))


def _most_harmful(lattice: Lattice, horizon: int, batch: LatticeBatch) -> int:
    """No state with more harmful outcomes than this can be worth passing at the horizon.

    There lambda · L0 < mu · L1 must hold, and L0/L1 grows with harmful and falls with n; so such
    a state can only be blocked, at the next look.
    """
    widest = float(np.max(batch.log_mu - batch.log_lam))
    per_good = math.log(lattice.q1 / lattice.q0)
    per_bad = math.log1p(-lattice.q0) - math.log1p(-lattice.q1)
    most = (widest + horizon * per_good) / (per_good + per_bad)
    return max(0, min(horizon, math.ceil(most)))
