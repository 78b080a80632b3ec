"""Optimal sequential plans: the fewest expected calls at the same false-pass probability."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_increasing, check_non_negative
from guardrail.stats.fixed import check_rates, curtailed, most_harmful, smallest_fixed
from guardrail.stats.lattice import Batch, Lattice, Schedule, solve
from guardrail.stats.plans import Plan, PlanKind
from guardrail.stats.polish import Table, polish
from guardrail.stats.radius import fewest_samples
from guardrail.stats.search import Prices, Target, guess_prices, search_prices
from guardrail.stats.traffic import Traffic
from guardrail.stats.waves import choose_looks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Objective", "Optimum", "expected_cost", "optimal_plan", "optimum"]

# Past twice the fixed test's size a longer horizon saves less than one call in a thousand.
_HORIZON = 2.0
# Polishing costs two passes a step; the longer a plan, the less there is to gain.
_POLISH_STEPS = ((700, 6), (6_000, 2))
_WORST_RATES = 9
_WORST_GRID = 65
_NO_LIMIT = 2**31
_ROOM = 1e-9


class Objective(StrEnum):
    """What is made small.

    `TRAFFIC`: the expected cost under the traffic (by default all of it at the expected harmless
    rate). `WORST`: the largest expected cost over all harmless rates (Kiefer & Weiss), for
    traffic that is not known; found among the plans that are best at some one rate.
    """

    TRAFFIC = "traffic"
    WORST = "worst"


@dataclass(frozen=True, slots=True)
class Optimum:
    """A plan with what it costs and what no plan can undercut.

    Attributes:
        plan: the plan.
        cost: its expected calls (and waves, at their price) under the traffic.
        cost_lower: no plan with the same looks, alpha and power costs less (nearest value);
            -inf where the plan is a fixed test.
    """

    plan: Plan
    cost: float
    cost_lower: float


@dataclass(frozen=True, slots=True)
class _Question:
    q_required: float
    alpha: float
    q1: float
    power: float
    max_samples: int
    looks: tuple[int, ...] | None
    weight: float
    parallel: int
    traffic: Traffic

    @property
    def target(self) -> Target:
        """A little inside what is asked, so that rounding cannot break the promise."""
        return Target(self.alpha * (1.0 - _ROOM), 1.0 - (1.0 - self.power) * (1.0 - _ROOM))


def optimal_plan(
    q_required: float,
    alpha: float,
    *,
    q1: float,
    power: float,
    max_samples: int,
    looks: Iterable[int] | None = None,
    latency_weight: float = 0.0,
    max_parallel: int | None = None,
    traffic: Traffic | None = None,
    objective: Objective = Objective.TRAFFIC,
) -> Plan:
    """The sequential plan with the fewest expected calls for the same guarantee.

    The promise is the plan's: P(pass) <= alpha for every harmless rate q <= q_required. Among
    such plans with P(pass) >= power at `q1` it makes calls + latency_weight · rounds small, by
    exact backward induction, a search over the two prices and single steps of the boundaries.
    Plans are cached by their inputs.

    Args:
        q_required: rate that a pass proves, in (0, 1).
        alpha: false-pass probability of one decision, in (0, 1).
        q1: harmless rate of usual traffic, in (q_required, 1].
        power: P(pass) wanted at `q1`, in (0, 1).
        max_samples: most draws allowed; the plan may be shorter where more would not pay.
        looks: sample counts at which it may decide; every draw where not given, or chosen to
            suit `latency_weight` where that is above 0.
        latency_weight: price of one round of parallel calls, in calls, >= 0.
        max_parallel: calls that run at the same time; no limit where not given.
        traffic: harmless rates under which the cost is counted; all at `q1` where not given.
        objective: see `Objective`.

    Raises:
        CertificationError: an argument is outside its range, or no fixed test within
            `max_samples` has the power; the message names the smallest `max_samples` that does.

    Source: Kiefer & Weiss (1957), Annals of Mathematical Statistics 28; the search and the
    lower bound are this package's own.
    """
    return optimum(
        q_required,
        alpha,
        q1=q1,
        power=power,
        max_samples=max_samples,
        looks=looks,
        latency_weight=latency_weight,
        max_parallel=max_parallel,
        traffic=traffic,
        objective=objective,
    ).plan


def optimum(
    q_required: float,
    alpha: float,
    *,
    q1: float,
    power: float,
    max_samples: int,
    looks: Iterable[int] | None = None,
    latency_weight: float = 0.0,
    max_parallel: int | None = None,
    traffic: Traffic | None = None,
    objective: Objective = Objective.TRAFFIC,
) -> Optimum:
    """`optimal_plan` together with its cost and the bound on every plan's cost."""
    check_rates(q_required, alpha, q1, power)
    question = _Question(
        q_required=float(q_required),
        alpha=float(alpha),
        q1=float(q1),
        power=float(power),
        max_samples=check_count("max_samples", max_samples, least=1),
        looks=None if looks is None else check_increasing("looks", looks),
        weight=check_non_negative("latency_weight", latency_weight),
        parallel=_NO_LIMIT
        if max_parallel is None
        else check_count("max_parallel", max_parallel, least=1),
        traffic=Traffic.at(q1) if traffic is None else traffic,
    )
    return _least_worst(question) if objective is Objective.WORST else _solve(question)


def expected_cost(
    plan: Plan, traffic: Traffic, weight: float = 0.0, parallel: int = _NO_LIMIT
) -> float:
    """Expected calls + weight · rounds of `parallel` calls, under the traffic."""
    parts = []
    for rate, share in zip(traffic.rates, traffic.weights, strict=True):
        walk = plan.walk(rate)
        rounds = walk.expected_rounds(parallel) if weight else 0.0
        parts.append(share * (walk.expected_calls + weight * rounds))
    return math.fsum(parts)


@lru_cache(maxsize=1024)
def _solve(question: _Question) -> Optimum:
    smallest = _smallest(question)
    lattice = _lattice(question)
    fallback = _fallback(question)
    found: list[Optimum] = []
    prices = guess_prices(question.target, smallest)
    for looks in _looks(question, lattice, prices):
        schedule = Schedule.of([looks], question.weight, question.parallel)
        prices = search_prices(lattice, schedule, question.target, prices)
        for plan in _plans(question, lattice, schedule, looks, prices):
            found.append(Optimum(plan, _cost(question, plan), prices.cost_lower))  # noqa: PERF401 - prices move on
    # At equal cost the first wins: a sequential plan is kinder to harmful traffic.
    return min([*found, fallback], key=lambda one: one.cost)


def _cost(question: _Question, plan: Plan) -> float:
    return expected_cost(plan, question.traffic, question.weight, question.parallel)


@lru_cache(maxsize=64)
def _least_worst(question: _Question) -> Optimum:
    """The plan, among those best at one rate each, whose worst expected cost is least."""
    gap = question.q1 - question.q_required
    rates = np.linspace(question.q_required - 0.5 * gap, question.q1, _WORST_RATES)

    def worst(found: Optimum) -> float:
        low = max(question.q_required - 2.0 * gap, 0.0)
        grid = np.linspace(low, 1.0, _WORST_GRID)
        return max(
            expected_cost(found.plan, Traffic.at(rate), question.weight, question.parallel)
            for rate in grid
        )

    found = [_solve(_at(question, float(rate))) for rate in rates if rate > 0.0]
    best = min(found, key=worst)
    return Optimum(best.plan, worst(best), -math.inf)


def _at(question: _Question, rate: float) -> _Question:
    return _Question(
        question.q_required,
        question.alpha,
        question.q1,
        question.power,
        question.max_samples,
        question.looks,
        question.weight,
        question.parallel,
        Traffic.at(rate),
    )


def _lattice(question: _Question) -> Lattice:
    """Its rates must lie inside (0, 1); q1 = 1 is approached, the plan is judged at 1 itself."""
    return Lattice(question.q_required, min(question.q1, 1.0 - 1e-12), question.traffic)


def _smallest(question: _Question) -> int:
    return smallest_fixed(question.q_required, question.alpha, question.q1, question.power)[0]


def _horizon(question: _Question) -> int:
    return min(question.max_samples, math.ceil(_HORIZON * _smallest(question)))


def _looks(question: _Question, lattice: Lattice, prices: Prices) -> list[tuple[int, ...]]:
    """Rows of looks to try."""
    horizon = _horizon(question)
    if question.looks is not None:
        return [_within(question, question.looks)]
    if question.weight == 0.0:
        return [tuple(range(1, horizon + 1))]
    return choose_looks(
        lattice,
        question.target,
        prices,
        fewest=fewest_samples(question.q_required, question.alpha),
        horizon=horizon,
        weight=question.weight,
        parallel=question.parallel,
    )


def _within(question: _Question, looks: tuple[int, ...]) -> tuple[int, ...]:
    """Given looks up to max_samples, and no further past the horizon than the next one."""
    allowed = [look for look in looks if look <= question.max_samples]
    horizon = _horizon(question)
    past = [look for look in allowed if look >= horizon][:1]
    return (*(look for look in allowed if look < horizon), *past)


def _fallback(question: _Question) -> Optimum:
    """The shortest fixed test that has the power, at the looks there are."""
    smallest = _smallest(question)
    if smallest > question.max_samples:
        raise CertificationError(
            f"{_cannot(question)}; the smallest max_samples that does is {smallest}"
        )
    ends = (smallest,) if question.looks is None else _within(question, question.looks)
    every = range(1, smallest) if question.weight == 0.0 else ()
    looks = (*every, smallest) if question.looks is None else question.looks
    for n in ends:
        c = most_harmful(n, question.q_required, question.alpha)
        plan = curtailed(n, c, question.q_required, question.alpha, looks)
        if plan.power_at(question.q1) >= question.power:
            return Optimum(plan, _cost(question, plan), -math.inf)
    raise CertificationError(
        f"{_cannot(question)} at these looks; add a look at {smallest} samples"
    )


def _cannot(question: _Question) -> str:
    return (
        f"max_samples {question.max_samples} cannot prove a harmless rate of "
        f"{question.q_required:.6g} at alpha {question.alpha:g} with power {question.power:g} "
        f"for traffic at {question.q1:.6g}"
    )


def _plans(
    question: _Question,
    lattice: Lattice,
    schedule: Schedule,
    looks: tuple[int, ...],
    prices: Prices,
) -> Iterator[Plan]:
    """The plan of the best prices, its boundaries polished; nothing where it misses the target."""
    if prices.feasible is None:
        return
    batch = Batch(np.array(prices.feasible[:1]), np.array(prices.feasible[1:]))
    tables = np.array(solve(lattice, schedule, batch).tables)
    rows = np.array(looks)
    least = np.minimum(tables[:, 1], rows + 1)
    least[-1] = tables[-1, 0] + 1
    table = Table(rows, tables[:, 0], least, schedule.leave[0])
    steps = next((steps for longest, steps in _POLISH_STEPS if looks[-1] <= longest), 0)
    table = polish(lattice, table, question.target, steps)
    try:
        plan = _plan(question, table)
    except CertificationError:
        # Closing the table under fewer and more harmful may have cost the target.
        return
    if plan.power_at(question.q1) >= question.power:
        yield plan


def _plan(question: _Question, table: Table) -> Plan:
    """The table without the looks at which nothing can happen."""
    rows = list(_live(table))
    return Plan(
        kind=PlanKind.OPTIMAL,
        q_required=question.q_required,
        alpha=question.alpha,
        looks=tuple(n for n, _, _ in rows),
        pass_at_most=tuple(most for _, most, _ in rows),
        block_at_least=(*(least for _, _, least in rows[:-1]), rows[-1][1] + 1),
    )


def _live(table: Table) -> Iterator[tuple[int, int, int]]:
    """(look, pass, block) wherever some count that can occur there is decided."""
    low, high, drawn = 0, 0, 0
    for n, most, least in zip(
        table.looks.tolist(), table.most.tolist(), table.least.tolist(), strict=True
    ):
        if low > high:
            return
        high, drawn = high + n - drawn, n
        if low <= most or high >= least:
            yield n, most, least
        low, high = max(low, most + 1), min(high, least - 1)
