"""Labelled requests with a fixed number of judged draws each, and any test run over them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from guardrail.engine.plan import plan_for
from guardrail.evaluation.recall_facts import Yardstick
from guardrail.policy_search.measured import BETA, CandidateOutcomes
from guardrail.policy_search.price_cap import PriceCap
from guardrail.replay.sequential import DrawCounts, Stop, run_plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.engine.plan import Geometry
    from guardrail.engine.rules import Rules
    from guardrail.stats import Plan

__all__ = ["NO_CAP", "Counted", "LabelledDraws", "run_test"]

NO_CAP = PriceCap()


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

    def digest(self) -> str:
        """SHA-256 (hex) of all of it."""
        found = hashlib.sha256(repr((self.digests, self.threshold, self.geometries)).encode())
        for array in (self.forbidden, self.counted, self.score, self.geometry, self.call_cost_usd):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def passable(self, threshold: float | None) -> NDArray[np.int64]:
        """Of each request the draws that could help it to pass: a missing one does here."""
        held = self.harmful(threshold) & (self.counted != Counted.MISSING)
        return np.asarray(self.draws - held.sum(axis=1), dtype=np.int64)


def run_test(
    of: LabelledDraws, rules: Rules, threshold: float | None, cap: PriceCap = NO_CAP
) -> CandidateOutcomes:
    """What the test of some rules does to every request.

    The test reads the draws in their order, as it would in service, so each outcome is a fresh draw
    of what that request meets. A test that needs more draws than there are is not known to pass an
    ordinary request, nor to stop a forbidden one. The limits of a decision's calls and cost stop
    an ordinary request that goes beyond them, and are no reason to stop a forbidden one.

    Args:
        of: the requests.
        rules: of the candidate, with the noise that the draws were made with.
        threshold: of the oracle; None for that of the draws.
        cap: what is stated of prices.

    Raises:
        CertificationError: pictures of some size have no test that could pass.
        ConfigError: a call costs more than is stated.
    """
    count, draws = len(of.digests), of.draws
    let_through = np.zeros(count, dtype=np.bool_)
    calls = np.zeros(count)
    radius = np.full(count, -np.inf)
    starts, lengths = np.arange(count) * draws, np.full(count, draws)
    harmful = DrawCounts.of(starts, lengths, of.harmful(threshold).ravel())
    unseen = DrawCounts.of(starts, lengths, np.zeros(count * draws, dtype=np.bool_))
    passable = of.passable(threshold)
    longest = 0
    for place, geometry in enumerate(of.geometries):
        rows = np.flatnonzero(of.geometry == place)
        plan = plan_for(rules, geometry)
        longest = max(longest, plan.max_samples)
        let_through[rows], calls[rows] = _run(plan, rows, of.forbidden, harmful, unseen, draws)
        table = np.array(_radii(Yardstick.of(rules, geometry), draws))
        radius[rows] = table[passable[rows]]
    cost_usd = calls * cap.price_calls(of.call_cost_usd)
    cut = _cut_short(calls, rules.max_calls) | _cut_short(cost_usd, cap.request_usd)
    return CandidateOutcomes(
        let_through=let_through & (of.forbidden | ~cut),
        calls=calls,
        cost_usd=np.minimum(cost_usd, np.inf if cap.request_usd is None else cap.request_usd),
        radius=radius,
        longest_test=longest,
        # Not that of the sizes of pictures that are here, nor of the calls that were made.
        most_calls=rules.max_samples,
        most_cost_usd=cap.most_usd(rules.max_samples),
        alpha=rules.alpha,
    )


def _cut_short(values: NDArray[np.float64], limit: float | None) -> NDArray[np.bool_]:
    """Whose decisions a limit ends; none where it or the value is not known."""
    return values > (np.inf if limit is None else limit)


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
