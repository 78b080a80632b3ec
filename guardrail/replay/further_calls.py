"""How many further calls it would take to know the decisions that replay cannot know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln, xlog1py, xlogy

from guardrail.engine.plan import UNSCALED, plan_for
from guardrail.replay.decisions import Kind
from guardrail.replay.endings import Need

if TYPE_CHECKING:
    from guardrail.replay.decisions import Floats, Ints
    from guardrail.replay.policy_replay import PolicyReplay
    from guardrail.stats import Plan

__all__ = ["FurtherCalls", "calls_to_go", "expect_further_calls"]


@dataclass(frozen=True, slots=True)
class FurtherCalls:
    """What it would take to make the unknown decisions.

    Attributes:
        decisions: how many are unknown for lack of calls or of new answers.
        going_on: those among them whose recorded test goes on; the others begin anew.
        calls: expected number of calls.
        cost_usd: at the mean price of a recorded call; None where no price is known.
    """

    decisions: int
    going_on: int
    calls: float
    cost_usd: float | None


def expect_further_calls(found: PolicyReplay) -> FurtherCalls:
    """The expected number of calls for all that further calls can decide.

    Each request is taken to be answered harmlessly as often as its recorded draws were, one
    harmless and one harmful draw added. Repeats of lost calls are not reckoned.
    """
    of = found.decisions
    rows = np.flatnonzero(np.isin(found.need, (Need.CALLS, Need.NEW_DRAWS)))
    opened = [one.rows[np.isin(one.rows, rows)] for one in found.open_tests]
    going = np.concatenate(opened) if opened else np.zeros(0, dtype=np.int64)
    calls = sum(
        _sum_to_go(one.plan, one.samples[kept], one.harmful[kept])
        for one in found.open_tests
        for kept in [np.isin(one.rows, rows)]
    )
    anew = np.setdiff1d(rows, going)
    texts = of.pictures[anew] == 0
    calls += int(np.count_nonzero(texts))
    calls += _sum_anew(found, anew[~texts])
    return FurtherCalls(len(rows), len(going), float(calls), _price(found, calls))


def calls_to_go(plan: Plan, samples: int, harmful: int, rate: float) -> float:
    """Expected draws until the plan decides, from a state in which it goes on.

    Args:
        plan: the test.
        samples: draws so far; harmful ones among them are `harmful`.
        harmful: see above.
        rate: harmless rate of further draws.
    """
    alive = np.ones(1)
    drawn, total = samples, 0.0
    for n, most, least in zip(plan.looks, plan.pass_at_most, plan.block_at_least, strict=True):
        if n <= samples:
            continue
        alive = np.convolve(alive, _binomial(n - drawn, 1.0 - rate))
        drawn = n
        counts = harmful + np.arange(len(alive))
        ends = (counts <= most) | (counts >= least)
        total += (n - samples) * float(alive[ends].sum())
        alive = np.where(ends, 0.0, alive)
    return total


def _sum_to_go(plan: Plan, samples: Ints, harmful: Ints) -> float:
    if not len(samples):
        return 0.0
    states, counts = np.unique(np.stack([samples, harmful]), axis=1, return_counts=True)
    return math.fsum(
        int(count) * calls_to_go(plan, int(n), int(bad), (n - bad + 1.0) / (n + 2.0))
        for (n, bad), count in zip(states.T.tolist(), counts, strict=True)
    )


def _sum_anew(found: PolicyReplay, rows: Ints) -> float:
    """Whole tests, of pictures that fit the canvas."""
    if not len(rows):
        return 0.0
    of = found.decisions
    plan = plan_for(found.rules, UNSCALED)
    totals = np.concatenate([[0], np.cumsum(of.outcome == 0, dtype=np.int64)])
    tested = of.kind[rows] == Kind.TEST
    good = np.where(tested, totals[of.starts[rows + 1]] - totals[of.starts[rows]], 0)
    drawn = np.where(tested, of.lengths[rows], 0)
    rates, counts = np.unique((good + 1.0) / (drawn + 2.0), return_counts=True)
    return math.fsum(
        int(count) * plan.expected_calls_at(float(rate))
        for rate, count in zip(rates, counts, strict=True)
    )


def _price(found: PolicyReplay, calls: float) -> float | None:
    of = found.decisions
    priced = ~np.isnan(of.cost_usd) & (of.calls > 0)
    if not priced.any():
        return None
    return float(calls * of.cost_usd[priced].sum() / of.calls[priced].sum())


def _binomial(n: int, p: float) -> Floats:
    """P[k of n] for k from 0 to n; `scipy.stats` takes five times as long for as few."""
    k = np.arange(n + 1.0)
    ways = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    chances: Floats = np.exp(ways + xlogy(k, p) + xlog1py(n - k, -p))
    return chances
