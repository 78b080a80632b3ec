"""Optimal sequential plans: the fewest expected calls at the same false-pass probability."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_increasing, check_non_negative
from guardrail.stats.fixed import check_rates, curtail, most_harmful
from guardrail.stats.plans import Plan, PlanKind
from guardrail.stats.question import PlanQuestion
from guardrail.stats.traffic import Traffic
from guardrail.stats.waves import best_at_looks, best_in_waves

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.stats.paths import Stages

__all__ = ["Objective", "Optimum", "expected_cost", "optimal_plan", "optimum"]

_WORST_RATES = 9
_WORST_GRID = 65
_NO_LIMIT = 2**31


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
    exact backward induction, a search over the two prices and single steps of the boundaries and,
    where they are free, of the looks. Plans are cached by their inputs.

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
    question = PlanQuestion(
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
def _solve(question: PlanQuestion) -> Optimum:
    fallback = _fallback(question)
    looks = _looks(question)
    found = best_in_waves(question) if looks is None else best_at_looks(question, looks)
    plan = None if found is None else _plan(question, found.stages)
    if found is None or plan is None:
        return fallback
    best = Optimum(plan, _cost(question, plan), found.cost_lower)
    # At equal cost the sequential plan wins: it costs less for harmful traffic.
    return min((best, fallback), key=lambda one: one.cost)


def _looks(question: PlanQuestion) -> tuple[int, ...] | None:
    """Where the plan may look; None where that is to be chosen."""
    if question.looks is not None:
        return _within(question, question.looks)
    # Where calls run one at a time every draw is a round, and looks are free.
    free = question.weight == 0.0 or question.parallel == 1
    return tuple(range(1, question.horizon + 1)) if free else None


def _cost(question: PlanQuestion, plan: Plan) -> float:
    return expected_cost(plan, question.traffic, question.weight, question.parallel)


@lru_cache(maxsize=64)
def _least_worst(question: PlanQuestion) -> Optimum:
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

    found = [
        _solve(replace(question, traffic=Traffic.at(float(rate)))) for rate in rates if rate > 0.0
    ]
    best = min(found, key=worst)
    return Optimum(best.plan, worst(best), -math.inf)


def _within(question: PlanQuestion, looks: tuple[int, ...]) -> tuple[int, ...]:
    """Given looks up to max_samples, and no further past the horizon than the next one."""
    allowed = [look for look in looks if look <= question.max_samples]
    horizon = question.horizon
    past = [look for look in allowed if look >= horizon][:1]
    return (*(look for look in allowed if look < horizon), *past)


def _fallback(question: PlanQuestion) -> Optimum:
    """The shortest fixed test that has the power, at the looks there are."""
    smallest = question.smallest
    if smallest > question.max_samples:
        raise CertificationError(
            f"{_cannot(question)}; the smallest max_samples that does is {smallest}"
        )
    ends = (smallest,) if question.looks is None else _within(question, question.looks)
    every = range(1, smallest) if question.weight == 0.0 else ()
    looks = (*every, smallest) if question.looks is None else question.looks
    for n in ends:
        c = most_harmful(n, question.q_required, question.alpha)
        plan = curtail(n, c, question.q_required, question.alpha, looks)
        if plan.power_at(question.q1) >= question.power:
            return Optimum(plan, _cost(question, plan), -math.inf)
    raise CertificationError(
        f"{_cannot(question)} at these looks; add a look at {smallest} samples"
    )


def _cannot(question: PlanQuestion) -> str:
    return (
        f"max_samples {question.max_samples} cannot prove a harmless rate of "
        f"{question.q_required:.6g} at alpha {question.alpha:g} with power {question.power:g} "
        f"for traffic at {question.q1:.6g}"
    )


def _plan(question: PlanQuestion, stages: Stages) -> Plan | None:
    """The plan of these stages; None where it breaks what is asked."""
    looks, most, least = zip(*stages, strict=True)
    try:
        plan = Plan(
            kind=PlanKind.OPTIMAL,
            q_required=question.q_required,
            alpha=question.alpha,
            looks=looks,
            pass_at_most=most,
            block_at_least=least,
        )
    except CertificationError:
        # Closing a table under fewer and more harmful may have cost the target.
        return None
    return plan if plan.power_at(question.q1) >= question.power else None
