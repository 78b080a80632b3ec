"""Which test each recorded decision would run under another policy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from guardrail.engine.plan import Geometry, plan_for
from guardrail.engine.rules import MODEL_SIDE
from guardrail.errors import CertificationError
from guardrail.images.canvas import canvas_for
from guardrail.replay.effects import Effect
from guardrail.stats import failover_alpha, spent_alpha

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.rules import Rules
    from guardrail.replay.comparison import PolicyComparison
    from guardrail.replay.decisions import Floats, Ints, RecordedDecisions
    from guardrail.stats import Plan

__all__ = ["NO_PLAN", "OTHER_CANVAS", "UNKNOWN_SHARE", "ChosenPlans", "choose_plans"]

NO_PLAN = -1
"""The new policy has no test for these pictures at this alpha."""
OTHER_CANVAS = -2
"""The pictures would be laid on another canvas, so that the recorded noise is none of its own."""
UNKNOWN_SHARE = -3
"""The alpha of the recorded test is no share of the decision's that is known."""

_MOST_UPSTREAMS = 64
_Sizes: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ChosenPlans:
    """The plan of each of some decisions: a place in `plans`, or one of the numbers above."""

    plans: tuple[Plan, ...]
    place: Ints


def choose_plans(
    decisions: RecordedDecisions,
    rows: Ints,
    numbers: Ints,
    rules: Rules,
    change: PolicyComparison,
) -> ChosenPlans:
    """The tests of decisions with a certificate.

    A decision keeps the very plan of its certificate where nothing that a plan follows from has
    changed. A new plan takes some seconds to compute the first time; plans are remembered.

    Args:
        decisions: what was recorded.
        rows: decisions of one policy.
        numbers: of the tries, one for each row, as the new policy counts them; -1 where it does
            not.
        rules: the policy that is asked about.
        change: it and the policy that decided.
    """
    finder = _Finder(decisions, rules, change)
    columns = (decisions.test[rows], decisions.alpha[rows], decisions.number[rows], numbers)
    first, inverse = _first_rows(columns)
    keys = zip(*(column[first].tolist() for column in columns), strict=True)
    place = np.array([finder.find(*key) for key in keys], dtype=np.int64)
    return ChosenPlans(tuple(finder.plans), place[inverse])


def _first_rows(columns: Sequence[Ints | Floats]) -> tuple[Ints, Ints]:
    """The first row of each combination of values, and which of these every row is like.

    For 20,000 rows this takes a third of the time of looking up each by itself.
    """
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, codes = _number(column)
        code = code * values + codes
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    return first, inverse


def _number(column: Ints | Floats) -> tuple[int, Ints | int]:
    """How many different values there are, and the number of each row's."""
    if len(column) and (column == column[0]).all():
        return 1, 0
    values, codes = np.unique(column, return_inverse=True)
    return len(values), codes


class _Finder:
    """Finds plans, each of them once."""

    def __init__(
        self, decisions: RecordedDecisions, rules: Rules, change: PolicyComparison
    ) -> None:
        self.plans: list[Plan] = []
        self._decisions, self._rules = decisions, rules
        self._keeps_test = not change.differs_in(Effect.TEST)
        self._old_alpha = float(change.old["smoothing"]["alpha"])
        old = change.old["advanced"]["smoothing"]
        self._sides = rules.canvas_max_side_px, rules.canvas_min_side_px
        self._same_canvas = (*self._sides, rules.canvas_limit_px) == tuple(
            old[name] for name in ("canvas_max_side_px", "canvas_min_side_px", "canvas_limit_px")
        )
        self._places: dict[str, int] = {}

    def find(self, place: int, alpha: float, recorded: int, number: int) -> int:
        test = self._decisions.tests[place]
        clients = tuple(size[0] for size in test.sizes)
        if not self._same_canvas and not self._keeps_canvas(clients, test.sizes):
            return OTHER_CANVAS
        if self._keeps_test and recorded == number:
            return self._place(test.plan())
        share = _find_share(test.alpha, alpha)
        if share is None:
            return UNKNOWN_SHARE
        wished = failover_alpha(self._wish(alpha, recorded, number), *share)
        geometry = Geometry(test.operator_norm, test.grid_slack, test.sampler_error)
        try:
            return self._place(plan_for(self._rules, geometry, alpha=wished))
        except CertificationError:
            return NO_PLAN

    def _keeps_canvas(self, clients: _Sizes, sizes: tuple[_Sizes, ...]) -> bool:
        most, least = self._sides
        # Records do not tell which size of pictures another policy would find for their model.
        return most != MODEL_SIDE and _canvases(clients, most, least) == sizes

    def _place(self, plan: Plan) -> int:
        if plan.digest not in self._places:
            self._places[plan.digest] = len(self.plans)
            self.plans.append(plan)
        return self._places[plan.digest]

    def _wish(self, alpha: float, recorded: int, number: int) -> float:
        """The alpha of a decision: by its number where tries count, else the policy's.

        One that had less than its policy's alpha for another reason is given no more now.
        """
        if number >= 1:
            return spent_alpha(self._rules.alpha, number)
        was_cut = recorded < 0 and alpha < self._old_alpha
        return min(alpha, self._rules.alpha) if was_cut else self._rules.alpha


@lru_cache(maxsize=4096)
def _find_share(part: float, whole: float) -> tuple[int, int] | None:
    """Position and number of upstreams by which `part` is a share of `whole`."""
    if part == whole:
        return 0, 1
    if part == failover_alpha(whole, 0, 2):
        return 0, 2
    for upstreams in range(2, _MOST_UPSTREAMS + 1):
        if part == failover_alpha(whole, 1, upstreams):
            return 1, upstreams
    return None


@lru_cache(maxsize=65_536)
def _canvases(clients: _Sizes, most: int | None, least: int) -> tuple[_Sizes, ...]:
    """What `RecordedTest.sizes` would be."""
    made = [canvas_for(*size, max_side_px=most, min_side_px=least) for size in clients]
    return tuple((one.source_size, one.scaled_size, one.size) for one in made)
