"""Ways to a state of (samples, harmful), counted once and weighed under three measures.

How many ways lead to a state without stopping before does not depend on the harmless rate; their
number times the chance of one of them is the state's probability. So one forward pass serves the
false pass (under q0), the power (under q1) and the cost (under the traffic). `Begun` is a test as
far as some look, `Ending` what follows from some look on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

from guardrail.stats.lattice import log_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guardrail.stats.lattice import Lattice

__all__ = ["Begun", "Ending", "Paths", "Stage", "Stages", "drop_idle"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Stage = tuple[int, int, int]
"""A look: its samples, the most harmful that pass, the fewest harmful that block."""
Stages = tuple[Stage, ...]


def drop_idle(stages: Iterable[Stage]) -> Stages:
    """The stages at which some count that can occur there is decided, all else undecided.

    What follows a stage that decides every count is dropped, and the last leaves no gap.
    """
    rows = list(_live(stages))
    look, most, _ = rows[-1]
    return (*rows[:-1], (look, most, most + 1))


def _live(stages: Iterable[Stage]) -> Iterator[Stage]:
    low, high, drawn = 0, 0, 0
    for look, most, least in stages:
        if low > high:
            return
        high, drawn = high + look - drawn, look
        if low <= most or high >= least:
            yield look, most, min(least, look + 1)
        low, high = max(low, most + 1), min(high, least - 1)


@dataclass(frozen=True, slots=True)
class Begun:
    """The first stages of a test.

    Attributes:
        look: samples at the last of them; 0 where there is none.
        going: ways to each state that goes on from there, shape (width,).
        sums: (false pass, power, cost) so far, shape (3,).
    """

    look: int
    going: Floats
    sums: Floats


@dataclass(frozen=True, slots=True)
class Ending:
    """The last stages of a test.

    Attributes:
        look: samples at the first of them; 0 where there is none.
        worth: for one way to each state at that look, the (false pass, power, cost) that follow,
            the wave that leads there excepted; shape (3, width).
    """

    look: int
    worth: Floats


class Paths:
    """Up to `horizon` samples, with fewer than `width` harmful; more are blocked.

    Attributes:
        ways: shape (horizon + 1, width, width): [m, h, g] ways from h to g harmful in m draws.
        chance: shape (3, horizon + 1, width): of one path, at q0, at q1, under the traffic.
        wave: shape (horizon + 1,): price of a wave of m calls.
    """

    def __init__(
        self, lattice: Lattice, *, horizon: int, width: int, weight: float, parallel: int
    ) -> None:
        self.horizon, self.width = horizon, width
        draws, harmful = np.arange(horizon + 1), np.arange(width)
        more = harmful[None, :] - harmful[:, None]
        choose = special.binom(draws[:, None], harmful[None, :].astype(np.float64))
        self.ways = np.where(more >= 0, choose[:, np.maximum(more, 0)], 0.0)
        self.chance = _chances(lattice, draws, harmful.astype(np.float64))
        self.wave = draws + weight * np.ceil(draws / parallel)

    @property
    def start(self) -> Begun:
        return Begun(0, np.eye(1, self.width)[0], np.zeros(3))

    @property
    def end(self) -> Ending:
        return Ending(0, np.zeros((3, self.width)))

    def begin(self, begun: Begun, stage: Stage) -> Begun:
        """One stage more at the end of what has begun."""
        look, most, least = stage
        here = begun.going @ self.ways[look - begun.look]
        passed = here[: most + 1] @ self.chance[:2, look, : most + 1].T
        price = self.reach(begun) * self.wave[look - begun.look]
        going = here.copy()
        going[: most + 1] = going[least:] = 0.0
        return Begun(look, going, begun.sums + np.array((*passed, price)))

    def reach(self, begun: Begun) -> float:
        """P(going on) under the traffic."""
        return float(begun.going @ self.chance[2, begun.look])

    def end_with(self, stage: Stage, ending: Ending) -> Ending:
        """One stage more at the front of an ending."""
        look, most, least = stage
        worth: Floats = np.zeros((3, self.width))
        worth[:2, : most + 1] = self.chance[:2, look, : most + 1]
        going = slice(most + 1, least)
        worth[:, going] = self.onward(look, ending)[:, going]
        return Ending(look, worth)

    def onward(self, look: int, ending: Ending) -> Floats:
        """What follows for one way to each state from which the test goes on at `look`."""
        if not ending.look:
            return ending.worth
        worth: Floats = ending.worth @ self.ways[ending.look - look].T
        worth[2] += self.wave[ending.look - look] * self.chance[2, look]
        return worth

    def sums(self, stages: Stages) -> Floats:
        """(false pass, power, cost) of a whole test."""
        begun = self.start
        for stage in stages:
            begun = self.begin(begun, stage)
        return begun.sums


def _chances(lattice: Lattice, draws: Integers, harmful: Floats) -> Floats:
    logs = [
        [log_path(lattice.q0, int(n), harmful), log_path(lattice.q1, int(n), harmful)]
        for n in draws
    ]
    traffic = [lattice.traffic.log_path(int(n), harmful) for n in draws]
    both = np.asarray(logs).transpose(1, 0, 2)
    chances: Floats = np.exp(np.concatenate((both, np.asarray(traffic)[None])))
    return chances
