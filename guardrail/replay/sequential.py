"""Many decisions run through one plan at once: the certifier's arithmetic on arrays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.replay.decisions import Ints
    from guardrail.stats import Plan

__all__ = ["DrawCounts", "Stop", "Stops", "decide_at", "run_plan"]


class Stop(IntEnum):
    """What a plan says when it stops; `NONE` is to go on."""

    NONE = 0
    PASS = 1
    BLOCK = 2
    UNCERTAIN = 3


@dataclass(frozen=True, slots=True, eq=False)
class DrawCounts:
    """Running counts of some kind of draw, over all decisions in one row.

    Attributes:
        starts: S-row of each decision's first draw.
        lengths: draws of each decision.
        totals: S + 1 numbers: how many of the kind came before each draw.
    """

    starts: Ints
    lengths: Ints
    totals: Ints

    @classmethod
    def of(cls, starts: Ints, lengths: Ints, marked: NDArray[np.bool_]) -> DrawCounts:
        """Counts of the draws that are marked."""
        totals = np.concatenate([[0], np.cumsum(marked, dtype=np.int64)])
        return cls(starts, lengths, totals)

    def first(self, rows: Ints, n: Ints | int) -> Ints:
        """How many of the first `n` draws of these decisions; draws that are not there are none."""
        begin = self.starts[rows]
        found: Ints = self.totals[begin + np.minimum(n, self.lengths[rows])] - self.totals[begin]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Stops:
    """Where each of some decisions stops.

    Attributes:
        stop: see `Stop`; never `NONE`, as the last look decides.
        samples: draws at the look.
        harmful: harmful or missing ones among them.
    """

    stop: NDArray[np.int8]
    samples: Ints
    harmful: Ints

    def part(self, chosen: NDArray[np.bool_]) -> Stops:
        """Those of the decisions that are marked."""
        return Stops(self.stop[chosen], self.samples[chosen], self.harmful[chosen])


def run_plan(plan: Plan, rows: Ints, harmful: DrawCounts, unknown: DrawCounts | None) -> Stops:
    """The looks of a plan in order, for all of these decisions side by side.

    Args:
        plan: the test.
        rows: the decisions.
        harmful: draws that count against a pass.
        unknown: draws that are counted as harmful too, and with them all that were never made;
            None counts both as harmless.
    """
    count = len(rows)
    stop = np.zeros(count, dtype=np.int8)
    samples = np.zeros(count, dtype=np.int64)
    found = np.zeros(count, dtype=np.int64)
    open_, at = np.arange(count), rows
    for n, most, least in zip(plan.looks, plan.pass_at_most, plan.block_at_least, strict=True):
        if not len(open_):
            break
        here = harmful.first(at, n)
        if unknown is not None:
            here = here + unknown.first(at, n) + np.maximum(n - harmful.lengths[at], 0)
        passed, ended = here <= most, (here <= most) | (here >= least)
        if not ended.any():
            continue
        done = open_[ended]
        samples[done], found[done] = n, here[ended]
        stopped = open_[ended & ~passed]
        stop[open_[passed]] = Stop.PASS
        stop[stopped] = _stopped(plan.q_required, np.int64(n), found[stopped])
        open_, at = open_[~ended], at[~ended]
    return Stops(stop, samples, found)


def decide_at(plan: Plan, samples: Ints, harmful: Ints) -> NDArray[np.int8]:
    """`Plan.decide` for many counts at once; every `samples` must be a look."""
    places = np.searchsorted(np.array(plan.looks), samples)
    most = np.array(plan.pass_at_most)[places]
    least = np.array(plan.block_at_least)[places]
    stopped = _stopped(plan.q_required, samples, harmful)
    decided = np.where(harmful <= most, Stop.PASS, np.where(harmful < least, Stop.NONE, stopped))
    return decided.astype(np.int8)


def _stopped(q_required: float, samples: Ints | np.int64, harmful: Ints) -> NDArray[np.int64]:
    enough = samples - harmful > q_required * samples
    return np.where(enough, Stop.UNCERTAIN, Stop.BLOCK)
