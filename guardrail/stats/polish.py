"""The last fraction of a call: boundaries moved one step at a time, with exact effects.

Prices reach only the plans on the convex hull of (false pass, miss, cost). Between them lie
cheaper ones. Moving one boundary of one look by one changes false pass, power and cost by
amounts that follow exactly from a forward and a backward pass; moves are tried alone and in
pairs, and one is kept only when the recomputed plan still meets the target and costs less.

For q_required 0.5, q1 = traffic = 0.95, alpha 0.05, power 0.9 and a look after each of 12 draws the
cheapest priced rule takes 5.42 calls at false pass 0.040. Its boundaries moved, among them "pass
with one harmful of 8" in place of none, it ends after 8 draws and takes 5.26 calls at 0.047.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from guardrail.stats.lattice import LatticeBatch, calls_to_next_look, solve
from guardrail.stats.paths import drop_idle

if TYPE_CHECKING:
    from guardrail.stats.lattice import Lattice, Schedule
    from guardrail.stats.paths import Stages
    from guardrail.stats.search import Target

__all__ = ["Flow", "Table", "flow", "polish"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# (up to so many samples, so many steps)
_STEPS = ((700, 6), (6_000, 2))
_PAIRED = 240
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Table:
    """Looks with their boundaries, and the price of leaving each n (0 … horizon)."""

    looks: Integers
    most: Integers
    least: Integers
    leave: Floats

    @classmethod
    def at(cls, lattice: Lattice, schedule: Schedule, prices: tuple[float, float]) -> Table:
        """The cheapest rule on a schedule of one row for given log-prices."""
        batch = LatticeBatch(np.array(prices[:1]), np.array(prices[1:]))
        tables = np.array(solve(lattice, schedule, batch).tables)
        looks = np.flatnonzero(schedule.looks[0])
        least = np.minimum(tables[:, 1], looks + 1)
        least[-1] = tables[-1, 0] + 1
        return cls(looks, tables[:, 0], least, schedule.leave[0])

    def stages(self) -> Stages:
        """The looks at which anything is decided."""
        rows = (self.looks.tolist(), self.most.tolist(), self.least.tolist())
        return drop_idle(zip(*rows, strict=True))


@dataclass(frozen=True, slots=True)
class Flow:
    """Shape (3, horizon + 1, states): P(state reached), and what follows from going on there.

    The three measures are q0, q1 and the traffic; what follows is P(pass) at q0, P(pass) at q1
    and the expected cost under the traffic.
    """

    reach: Floats
    onward: Floats

    @property
    def false_pass(self) -> float:
        return float(self.onward[0, 0, 0])

    @property
    def power(self) -> float:
        return float(self.onward[1, 0, 0])

    @property
    def cost(self) -> float:
        return float(self.onward[2, 0, 0])

    def meets(self, target: Target) -> bool:
        return self.false_pass <= target.alpha and self.power >= target.power


@dataclass(frozen=True, slots=True)
class _Moves:
    """Candidate moves: look, boundary (0 pass, 1 block), step, and effect, shape (3, moves)."""

    look: Integers
    boundary: Integers
    step: Integers
    effect: Floats

    def only(self, index: NDArray[np.intp]) -> _Moves:
        return _Moves(
            self.look[index], self.boundary[index], self.step[index], self.effect[:, index]
        )


def flow(lattice: Lattice, table: Table) -> Flow:
    """Forward and backward recursion for one table under all three measures."""
    horizon, width = int(table.looks[-1]), int(table.least.max()) + 2
    good = np.empty((3, horizon, width))
    good[0], good[1] = lattice.q0, lattice.q1
    for n in range(horizon):
        good[2, n] = lattice.row(n, width).good[:width]
    going, passing = _regions(table, horizon, width)
    reach = _forward(good, going)
    onward = _backward(good, going, passing, table.leave, calls_to_next_look(table.looks))
    return Flow(reach, onward)


def _regions(table: Table, horizon: int, width: int) -> tuple[Floats, Floats]:
    """Indicators of going on and of passing, shape (horizon + 1, width)."""
    harmful = np.arange(width)
    going, passing = np.ones((horizon + 1, width)), np.zeros((horizon + 1, width))
    most, least = table.most[:, None], table.least[:, None]
    going[table.looks] = (harmful > most) & (harmful < least)
    passing[table.looks] = harmful <= most
    return going, passing


def _forward(good: Floats, going: Floats) -> Floats:
    measures, horizon, width = good.shape
    reach = np.zeros((measures, horizon + 1, width))
    reach[:, 0, 0] = 1.0
    for n in range(horizon):
        moving = reach[:, n] * going[n]
        kept = moving * good[:, n]
        reach[:, n + 1] = kept
        reach[:, n + 1, 1:] += (moving - kept)[:, :-1]
    return reach


def _backward(good: Floats, going: Floats, passing: Floats, leave: Floats, wait: Floats) -> Floats:
    """What follows from going on; one harmful more than the last state waits to be blocked."""
    measures, horizon, width = good.shape
    onward = np.zeros((measures, horizon + 1, width))
    prize = np.array([1.0, 1.0, 0.0])[:, None]
    for n in range(horizon - 1, -1, -1):
        then = onward[:, n + 1] * going[n + 1] + prize * passing[n + 1]
        here = onward[:, n]
        here[:] = good[:, n] * then
        here[:, :-1] += (1.0 - good[:, n, :-1]) * then[:, 1:]
        here[2, -1] += (1.0 - good[2, n, -1]) * wait[n + 1]
        here[2] += 1.0 + leave[n]
    return onward


def polish(lattice: Lattice, table: Table, target: Target, steps: int | None = None) -> Table:
    """At most `steps` improving moves from `table`; the table itself where none is found.

    Without `steps` there are fewer the longer the table is: a step costs two passes, and the
    longer it is, the less there is to gain.
    """
    if steps is None:
        steps = next((few for longest, few in _STEPS if table.looks[-1] <= longest), 0)
    if steps == 0:
        return table
    current = flow(lattice, table)
    for _ in range(steps):
        improved = _improve(lattice, table, current, target)
        if improved is None:
            break
        table, current = improved
    return table


def _improve(
    lattice: Lattice, table: Table, current: Flow, target: Target
) -> tuple[Table, Flow] | None:
    moves = _moves(table, current)
    for chosen in _promising(moves, current, target):
        moved = _apply(table, moves.only(chosen))
        after = flow(lattice, moved)
        if after.meets(target) and after.cost < current.cost:
            return moved, after
    return None


def _moves(table: Table, current: Flow) -> _Moves:
    """Every single step of a boundary; at the last look both boundaries move together."""
    inner = np.arange(table.looks.size) < table.looks.size - 1
    gap = (table.most + 1 < table.least) | ~inner
    rows = (
        # boundary, step, state that changes, sign (+1: from going on to stopping), allowed
        (0, +1, table.most + 1, +1.0, gap & (table.most < table.looks)),
        (0, -1, table.most, -1.0, table.most >= 0),
        (1, -1, table.least - 1, +1.0, gap & inner),
        (1, +1, table.least, -1.0, (table.least <= table.looks) & inner),
    )
    parts = [_effects(table, current, *row) for row in rows]
    return _Moves(
        look=np.concatenate([part.look for part in parts]),
        boundary=np.concatenate([part.boundary for part in parts]),
        step=np.concatenate([part.step for part in parts]),
        effect=np.concatenate([part.effect for part in parts], axis=1),
    )


def _effects(
    table: Table,
    current: Flow,
    boundary: int,
    step: int,
    state: Integers,
    sign: float,
    allowed: NDArray[np.bool_],
) -> _Moves:
    look = np.flatnonzero(allowed)
    n, harmful = table.looks[look], state[look]
    stopped = np.array([1.0, 1.0, 0.0])[:, None] * (boundary == 0)
    change = stopped - current.onward[:, n, harmful]
    effect = sign * current.reach[:, n, harmful] * change
    real = np.flatnonzero(current.reach[2, n, harmful] > 0.0)
    count = real.size
    return _Moves(
        look[real],
        np.full(count, boundary, dtype=np.int64),
        np.full(count, step, dtype=np.int64),
        effect[:, real],
    )


def _promising(moves: _Moves, current: Flow, target: Target) -> list[NDArray[np.intp]]:
    """The few single moves or pairs that are predicted to save most within the target."""
    keep = _near_hull(moves, current, target)
    if keep.size == 0:
        return []
    effect = np.concatenate((moves.effect[:, keep], np.zeros((3, 1))), axis=1)
    false_pass, power, cost = (row[:, None] + row[None, :] for row in effect)
    fits = (current.false_pass + false_pass <= target.alpha) & (
        current.power + power >= target.power
    )
    look = np.append(moves.look[keep], -1)
    fits &= look[:, None] != look[None, :]
    saving = np.where(fits, cost, 0.0)
    order = np.argsort(saving, axis=None)[: 2 * _TRIES : 2]
    pairs = (np.unravel_index(i, saving.shape) for i in order if saving.flat[i] < -1e-12)
    return [keep[[i for i in pair if i < keep.size]] for pair in pairs]


def _near_hull(moves: _Moves, current: Flow, target: Target) -> NDArray[np.intp]:
    """Moves worth pairing: those with the largest effect on cost that could fit at all."""
    room = 4.0 * target.alpha, 4.0 * (1.0 - target.power)
    small = (np.abs(moves.effect[0]) <= room[0]) & (np.abs(moves.effect[1]) <= room[1])
    index = np.flatnonzero(small)
    scale = current.cost / np.array([target.alpha, 1.0 - target.power])
    size = (
        np.abs(moves.effect[2, index])
        + np.abs(moves.effect[0, index]) * scale[0] * 0.1
        + np.abs(moves.effect[1, index]) * scale[1] * 0.1
    )
    return index[np.argsort(-size)[:_PAIRED]]


def _apply(table: Table, moves: _Moves) -> Table:
    """The table with the moves made; at different looks, so boundaries cannot cross."""
    most, least = table.most.copy(), table.least.copy()
    for row, boundary in ((most, 0), (least, 1)):
        here = moves.boundary == boundary
        row[moves.look[here]] += moves.step[here]
    least[-1] = most[-1] + 1
    return replace(table, most=most, least=least)
