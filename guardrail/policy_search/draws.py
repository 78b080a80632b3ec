"""Labelled requests with a fixed number of judged draws each, and any test run over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from guardrail.engine.plan import plan_for
from guardrail.evaluation.recall_facts import Yardstick
from guardrail.policy_search.measured import BETA, CandidateOutcomes
from guardrail.replay.sequential import DrawCounts, Stop, run_plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.engine.plan import Geometry
    from guardrail.engine.rules import Rules
    from guardrail.stats import Plan

__all__ = ["Counted", "LabelledDraws", "run_test"]


class Counted(IntEnum):
    """What a draw counts as: what its score says, or something that no threshold changes."""

    BY_SCORE = 0
    HARMLESS = 1
    HARMFUL = 2
    MISSING = 3


@dataclass(frozen=True, eq=False)
class LabelledDraws:
    """R requests and their D draws each, under one noise.

    Attributes:
        digests: of the requests.
        forbidden: whether each should be stopped.
        counted: R × D, see `Counted`.
        score: R × D; NaN where nothing was scored.
        threshold: at which the draws were judged; None where verdicts follow from no one score.
        geometry: place in `geometries` of each request.
        geometries: how pictures come onto their canvases.
        call_cost_usd: mean of each request's calls; NaN where a price is not known.
    """

    digests: tuple[str, ...]
    forbidden: NDArray[np.bool_]
    counted: NDArray[np.int8]
    score: NDArray[np.float64]
    threshold: float | None
    geometry: NDArray[np.int64]
    geometries: tuple[Geometry, ...]
    call_cost_usd: NDArray[np.float64]
    _cuts: dict[float | None, NDArray[np.bool_]] = field(default_factory=dict, init=False)

    @property
    def draws(self) -> int:
        """Of each request."""
        return int(self.counted.shape[1])

    def harmful(self, threshold: float | None) -> NDArray[np.bool_]:
        """R × D: which draws count against a pass; missing ones do."""
        found = self._cuts.get(threshold)
        if found is None:
            by_score = self.counted == Counted.BY_SCORE
            cut = self.threshold if threshold is None else threshold
            above = by_score & (self.score >= cut) if cut is not None else by_score & False
            found = above | (self.counted >= Counted.HARMFUL)
            self._cuts[threshold] = found
        return found

    def passable(self, threshold: float | None) -> NDArray[np.int64]:
        """Of each request the draws that could help it to pass: a missing one does here."""
        held = self.harmful(threshold) & (self.counted != Counted.MISSING)
        return np.asarray(self.draws - held.sum(axis=1), dtype=np.int64)


def run_test(
    of: LabelledDraws, rules: Rules, threshold: float | None, *, alpha: float | None = None
) -> CandidateOutcomes:
    """What the test of some rules does to every request.

    The test reads the draws in their order, as it would in service, so each outcome is a fresh draw
    of what that request meets. A test that needs more draws than there are is not known to pass an
    ordinary request, nor to stop a forbidden one.

    Args:
        of: the requests.
        rules: of the candidate, with the noise that the draws were made with.
        threshold: of the oracle; None for that of the draws.
        alpha: of one decision where it is smaller than that of the rules.

    Raises:
        CertificationError: pictures of some size have no test that could pass.
    """
    count, draws = len(of.digests), of.draws
    let_through = np.zeros(count, dtype=np.bool_)
    calls = np.zeros(count)
    radius = np.full(count, -np.inf)
    starts, lengths = np.arange(count) * draws, np.full(count, draws)
    harmful = DrawCounts.of(starts, lengths, of.harmful(threshold).ravel())
    unseen = DrawCounts.of(starts, lengths, np.zeros(count * draws, dtype=np.bool_))
    passable = of.passable(threshold)
    most_calls = 0
    for place, geometry in enumerate(of.geometries):
        rows = np.flatnonzero(of.geometry == place)
        plan = plan_for(rules, geometry, alpha=alpha)
        most_calls = max(most_calls, plan.max_samples)
        let_through[rows], calls[rows] = _run(plan, rows, of.forbidden, harmful, unseen, draws)
        table = np.array(_radii(Yardstick.of(rules, geometry), draws))
        radius[rows] = table[passable[rows]]
    dearest = float(np.nanmax(of.call_cost_usd, initial=0.0))
    return CandidateOutcomes(
        let_through=let_through,
        calls=calls,
        cost_usd=calls * of.call_cost_usd,
        radius=radius,
        most_calls=float(most_calls),
        most_cost_usd=most_calls * dearest,
        alpha=rules.alpha,
    )


def _run(
    plan: Plan,
    rows: NDArray[np.int64],
    forbidden: NDArray[np.bool_],
    harmful: DrawCounts,
    unseen: DrawCounts,
    draws: int,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which requests are let through, and after how many calls."""
    worst = run_plan(plan, rows, harmful, unseen)
    if plan.max_samples <= draws:
        return worst.stop == Stop.PASS, worst.samples.astype(np.float64)
    best = run_plan(plan, rows, harmful, None)
    passes = np.where(forbidden[rows], best.stop == Stop.PASS, worst.stop == Stop.PASS)
    is_known = (worst.samples <= draws) & (best.samples <= draws)
    return passes, np.where(is_known, worst.samples, plan.max_samples).astype(np.float64)


@lru_cache(maxsize=1024)
def _radii(yardstick: Yardstick, draws: int) -> tuple[float, ...]:
    """How far a request is shown held, by the number of its passable draws."""
    found: list[float] = []
    for passable in range(draws + 1):
        # More passable draws show less: once nothing is shown, nothing more will be.
        nothing = bool(found) and found[-1] < 0.0
        found.append(-np.inf if nothing else yardstick.radius(passable, draws, BETA))
    return tuple(found)
