"""The cheapest test whose looks are free, when a wave of parallel calls costs time and money.

From a few starts `descend` moves looks and boundaries together. The prices at the looks it found
give one start more, as long as that leads to a cheaper test; once it does not, they bound what
other boundaries at those looks could save.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.stats.descent import descend, leave
from guardrail.stats.lattice import Schedule
from guardrail.stats.paths import Paths
from guardrail.stats.polish import Table, polish
from guardrail.stats.search import PRICE_ROUNDS, guess_prices, search_prices
from guardrail.stats.starts import choose_looks, two_stage_tests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.stats.lattice import Lattice
    from guardrail.stats.paths import Stages
    from guardrail.stats.question import PlanQuestion
    from guardrail.stats.search import Prices

__all__ = ["FoundPlan", "best_at_looks", "best_in_waves"]

# Samples · states² up to which a descent is quick, and up to which detours from its end are, too.
_QUICK = 2_500_000
_QUICKEST = 100_000
# So many simple tests are tried beside the priced one, divided by samples · states².
_STARTS = 60_000
# More stages than these are near the best the prices can do, and too many to move one by one.
_FEW = 40
# Harmful outcomes for which there is room beyond the longest start.
_MORE_HARMFUL = 5
_CUTS = 150
_ROUNDS_AGAIN = 4
# A descent from new prices must save this share of the cost, or it was the last.
_LEAST_SAVING = 5e-4


@dataclass(frozen=True, slots=True)
class FoundPlan:
    """Stages, and what no test with the same looks and target can undercut (nearest value)."""

    stages: Stages
    cost_lower: float


def best_at_looks(question: PlanQuestion, looks: tuple[int, ...]) -> FoundPlan | None:
    """The cheapest boundaries found at given looks; None where the target is out of reach."""
    lattice = question.lattice()
    guess = guess_prices(question.target, question.fixed_cost)
    return _polish(question, lattice, *_price(question, lattice, looks, guess))


def best_in_waves(question: PlanQuestion) -> FoundPlan | None:
    """The cheapest looks and boundaries found; None where no start meets the target."""
    lattice = question.lattice()
    guess = guess_prices(question.target, question.fixed_cost)
    looks = choose_looks(question, lattice, guess)
    table, prices = _price(question, lattice, looks, guess)
    priced = () if table is None else table.stages()
    width = max([question.most, *(most for _, most, _ in priced)]) + _MORE_HARMFUL
    size = question.horizon * width * width
    if size > _QUICK or len(priced) > _FEW:
        return _polish(question, lattice, table, prices)
    paths = Paths(
        lattice,
        horizon=question.horizon,
        width=width,
        weight=question.weight,
        parallel=question.parallel,
    )
    more = max(_STARTS // size, 0 if priced else 1)
    others = two_stage_tests(question, paths)[:more] if more else []
    found = _descend(question, paths, [priced, *others] if priced else others)
    return None if found is None else _price_again(question, lattice, paths, found, prices)


def _price(
    question: PlanQuestion,
    lattice: Lattice,
    looks: tuple[int, ...],
    start: Prices,
    rounds: int = PRICE_ROUNDS,
) -> tuple[Table | None, Prices]:
    """The cheapest boundaries at some prices that meet the target, if any do."""
    schedule = Schedule.of([looks], question.weight, question.parallel)
    far = rounds == PRICE_ROUNDS
    prices = search_prices(lattice, schedule, question.target, start, rounds, far=far)
    best = prices.feasible
    return None if best is None else Table.at(lattice, schedule, best), prices


def _polish(
    question: PlanQuestion, lattice: Lattice, table: Table | None, prices: Prices
) -> FoundPlan | None:
    if table is None:
        return None
    return FoundPlan(polish(lattice, table, question.target).stages(), prices.cost_lower)


def _descend(question: PlanQuestion, paths: Paths, starts: Iterable[Stages]) -> Stages | None:
    """The cheapest end of a descent; None where no start meets the target."""
    ends = []
    for start in starts:
        stages = tuple((n, most, min(least, paths.width - 1)) for n, most, least in start)
        false_pass, power, _ = paths.sums(stages)
        # A priced table may miss the target once it is closed under fewer and more harmful.
        if false_pass <= question.target.alpha and power >= question.target.power:
            ends.append(descend(paths, question.target, stages, _CUTS))
    return min(ends, key=lambda stages: paths.sums(stages)[2], default=None)


def _price_again(
    question: PlanQuestion, lattice: Lattice, paths: Paths, stages: Stages, prices: Prices
) -> FoundPlan:
    """Begins again from the prices at the looks found, as long as that saves enough."""
    while True:
        stages = _leave(question, paths, stages)
        looks = tuple(look for look, _, _ in stages)
        table, prices = _price(question, lattice, looks, prices, _ROUNDS_AGAIN)
        again = None if table is None else _descend(question, paths, [table.stages()])
        enough = (1.0 - _LEAST_SAVING) * paths.sums(stages)[2]
        if again is None or paths.sums(again)[2] > enough:
            return FoundPlan(stages, prices.cost_lower)
        stages = again


def _leave(question: PlanQuestion, paths: Paths, stages: Stages) -> Stages:
    """Goes on from detours, where that is quick."""
    if question.horizon * paths.width**2 > _QUICKEST:
        return stages
    while better := leave(paths, question.target, stages):
        stages = descend(paths, question.target, better, _CUTS)
    return stages
