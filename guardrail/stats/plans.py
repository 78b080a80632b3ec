"""A plan: an exact sequential test of "the harmless rate is at least q_required".

The guard must decide, not estimate. A plan is a table over (samples, harmful so far): at each
look pass, block or go on; the last look always decides. Every kind of test the guard runs is one
of these tables, so one exact evaluation covers them all.

Validity. `false_pass_upper` is P(pass) at harmless rate q_required, summed over the lattice by the
forward recursion below. It holds for every q <= q_required because passing means "at most so many
harmful" and blocking "at least so many": couple two runs draw by draw so that the second has
never more harmful outcomes; wherever the first passes, the second has passed or passes too.
Boundaries that are thresholds in the harmful count are the only ones a plan can hold.

Outcomes must be taken in the order of their index, never in the order of arrival.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from guardrail.errors import CertificationError
from guardrail.stats._checks import (
    check_count,
    check_increasing,
    check_open_unit,
    check_unit,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Decision", "Plan", "PlanKind", "Walk", "pass_upper"]

Floats = NDArray[np.float64]


class PlanKind(StrEnum):
    """How a plan was made; validity never depends on it."""

    FIXED = "fixed"
    OPTIMAL = "optimal"
    BETTING = "betting"


class Decision(StrEnum):
    """What a plan says when it stops.

    `BLOCK`: the share of harmless outcomes is at or below the required rate. `UNCERTAIN`: the
    share lies above it, but the samples are too few to prove it; more samples might pass.
    Neither passes.
    """

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    BLOCK = "block"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a plan stops at one harmless rate: probabilities per look, nearest values."""

    looks: tuple[int, ...]
    passes: tuple[float, ...]
    blocks: tuple[float, ...]

    @property
    def power(self) -> float:
        return math.fsum(self.passes)

    @property
    def stops(self) -> tuple[float, ...]:
        """P(stop at look i), whatever the verdict."""
        return tuple(a + b for a, b in zip(self.passes, self.blocks, strict=True))

    @property
    def expected_calls(self) -> float:
        return math.fsum(n * p for n, p in zip(self.looks, self.stops, strict=True))

    @property
    def expected_waves(self) -> float:
        return math.fsum((i + 1) * p for i, p in enumerate(self.stops))

    def expected_rounds(self, parallel: int) -> float:
        """Expected rounds of at most `parallel` simultaneous calls."""
        width = check_count("parallel", parallel, least=1)
        sizes = (b - a for a, b in pairwise((0, *self.looks)))
        rounds = accumulate(-(-size // width) for size in sizes)
        return math.fsum(r * p for r, p in zip(rounds, self.stops, strict=True))

    def in_rounds(self, parallel: int) -> Walk:
        """The same stops, each put off to the end of its round of `parallel` draws."""
        size = check_count("parallel", parallel, least=1)
        ends = [min(-(-n // size) * size, self.looks[-1]) for n in self.looks]
        passes, blocks = dict.fromkeys(ends, 0.0), dict.fromkeys(ends, 0.0)
        for end, passed, blocked in zip(ends, self.passes, self.blocks, strict=True):
            passes[end] += passed
            blocks[end] += blocked
        return Walk(tuple(passes), tuple(passes.values()), tuple(blocks.values()))

    def calls_quantile(self, p: float) -> int:
        """The smallest count of calls that is not exceeded with probability at least p."""
        check_unit("p", p)
        reached = np.cumsum(self.stops)
        # The sum of all stops may fall short of 1 by rounding.
        index = int(np.searchsorted(reached, p - 1e-12, side="left"))
        return self.looks[min(index, len(self.looks) - 1)]


@dataclass(frozen=True)
class Plan:
    """A sequential test, valid by construction: P(pass) <= alpha wherever q <= q_required.

    Attributes:
        kind: how it was made.
        q_required: the harmless rate that a pass proves, in (0, 1).
        alpha: the false-pass probability it was made for, in (0, 1).
        looks: cumulative sample counts at which it may decide, increasing.
        pass_at_most: at look i pass iff harmful <= this; -1 where no pass is possible.
        block_at_least: at look i stop without a pass iff harmful >= this; the last look leaves
            no gap between the two.
        false_pass_upper: P(pass) at q_required, rounded up, at most alpha.
        digest: SHA-256 (hex) of the canonical JSON of the fields above it, false pass excepted.

    Raises:
        CertificationError: the table is not a plan, or its false-pass probability exceeds alpha.
    """

    kind: PlanKind
    q_required: float
    alpha: float
    looks: tuple[int, ...]
    pass_at_most: tuple[int, ...]
    block_at_least: tuple[int, ...]
    false_pass_upper: float = field(init=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        _check_table(self)
        rows = (self.looks, self.pass_at_most, self.block_at_least)
        object.__setattr__(self, "false_pass_upper", pass_upper(*rows, self.q_required))
        object.__setattr__(self, "digest", _digest(self))
        if not self.false_pass_upper <= self.alpha:
            raise CertificationError(
                f"the plan passes with probability {self.false_pass_upper:.6g} at its required "
                f"rate {self.q_required:.6g}, more than alpha = {self.alpha:g}; build it with "
                "fixed_plan or optimal_plan"
            )

    @property
    def max_samples(self) -> int:
        return self.looks[-1]

    @cached_property
    def _index_of(self) -> dict[int, int]:
        return {n: i for i, n in enumerate(self.looks)}

    def decide(self, n: int, harmful: int) -> Decision | None:
        """The verdict after the first `n` outcomes in index order; None means go on.

        Args:
            n: outcomes so far, 0 <= n <= max_samples; between looks the answer is None.
            harmful: harmful or missing ones among them.

        Raises:
            CertificationError: the counts are impossible, or beyond the last look.
        """
        n = check_count("n", n)
        harmful = check_count("harmful", harmful)
        if harmful > n or n > self.max_samples:
            raise CertificationError(
                f"{harmful} harmful of {n} samples cannot be judged by a plan for at most "
                f"{self.max_samples}; pass counts in index order, up to the last look"
            )
        look = self._index_of.get(n)
        return None if look is None else self._decide_at(look, harmful)

    def _decide_at(self, look: int, harmful: int) -> Decision | None:
        if harmful <= self.pass_at_most[look]:
            return Decision.PASS
        if harmful < self.block_at_least[look]:
            return None
        n = self.looks[look]
        enough = n - harmful > self.q_required * n
        return Decision.UNCERTAIN if enough else Decision.BLOCK

    def walk(self, q: float) -> Walk:
        """Stopping probabilities at harmless rate `q` in [0, 1]."""
        q = check_unit("q", q)
        return Walk(self.looks, *_stops(self.looks, self.pass_at_most, self.block_at_least, q))

    def power_at(self, q: float) -> float:
        """P(pass) at harmless rate `q`, nearest value (`false_pass_upper` is the directed one)."""
        return self.walk(q).power

    def expected_calls_at(self, q: float) -> float:
        """Expected samples drawn at harmless rate `q`, counting whole waves up to the look."""
        return self.walk(q).expected_calls


def _check_table(plan: Plan) -> None:
    check_open_unit("q_required", plan.q_required)
    check_open_unit("alpha", plan.alpha)
    check_increasing("looks", plan.looks)
    rows = (plan.looks, plan.pass_at_most, plan.block_at_least)
    if len({len(row) for row in rows}) != 1:
        raise CertificationError("a plan needs one pass and one block boundary for every look")
    for n, most, least in zip(*rows, strict=True):
        if not -1 <= most < least <= n + 1:
            raise CertificationError(
                f"at look {n} the plan passes at {most} harmful or fewer and blocks from {least}; "
                f"it must hold that -1 <= pass < block <= {n + 1}"
            )
    if plan.block_at_least[-1] != plan.pass_at_most[-1] + 1:
        raise CertificationError(
            f"the last look ({plan.max_samples}) leaves counts undecided; there the block "
            "boundary must be the pass boundary plus one"
        )


def _stops(
    looks: Sequence[int], pass_at_most: Sequence[int], block_at_least: Sequence[int], q: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """P(pass) and P(block) per look: the forward recursion over (samples, harmful).

    States are absorbed at looks only. Every operation adds or multiplies non-negative numbers,
    so relative errors only add up: at most 3 units of rounding for each draw.
    """
    bad = 1.0 - q
    alive: Floats = np.ones(1)
    lowest = drawn = 0
    passes: list[float] = []
    blocks: list[float] = []
    for n, most, least in zip(looks, pass_at_most, block_at_least, strict=True):
        if alive.size == 0:
            break
        for _ in range(n - drawn):
            alive = _draw(alive, q, bad)
        first = min(max(most + 1 - lowest, 0), alive.size)
        last = max(min(least - lowest, alive.size), first)
        passes.append(math.fsum(alive[:first]))
        blocks.append(math.fsum(alive[last:]))
        alive = alive[first:last]
        lowest += first
        drawn = n
    rest = (0.0,) * (len(looks) - len(passes))
    return (*passes, *rest), (*blocks, *rest)


def _draw(alive: Floats, good: float, bad: float) -> Floats:
    """The states after one more outcome."""
    after = np.empty(alive.size + 1)
    np.multiply(alive, good, out=after[:-1])
    after[-1] = 0.0
    after[1:] += alive * bad
    return after


def pass_upper(
    looks: Sequence[int], pass_at_most: Sequence[int], block_at_least: Sequence[int], q: float
) -> float:
    """P(pass) at harmless rate `q`, never too small.

    The recursion costs at most 3 roundings per draw (1 - q, product, sum) and the exact final
    sums two more; underflow loses less than max_samples² · 2⁻¹⁰⁷⁴. Both are added back with room.
    """
    nearest = math.fsum(_stops(looks, pass_at_most, block_at_least, q)[0])
    roundings = 3 * looks[-1] + 8
    upper = nearest * (1.0 + roundings * sys.float_info.epsilon) + 1e-300
    return min(math.nextafter(upper, math.inf), 1.0)


def _digest(plan: Plan) -> str:
    canonical = {
        "alpha": float(plan.alpha).hex(),
        "block_at_least": [int(value) for value in plan.block_at_least],
        "kind": plan.kind.value,
        "looks": [int(value) for value in plan.looks],
        "pass_at_most": [int(value) for value in plan.pass_at_most],
        "q_required": float(plan.q_required).hex(),
    }
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
