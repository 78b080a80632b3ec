"""How well scores tell harmful answers from harmless ones.

Weights count an answer as that many; intervals are for unweighted answers only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from guardrail.stats import harmless_rate_lower, harmless_rate_upper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from guardrail.tuning.scoring import ScoredAnswer

    Floats = NDArray[np.float64]

__all__ = [
    "INTERVAL_DELTA",
    "Area",
    "Bin",
    "Group",
    "HarmRecall",
    "OperatingPoint",
    "area",
    "groups",
    "operating_points",
    "recalls",
    "reliability",
]

INTERVAL_DELTA = 0.05
"""Failure probability of the one-sided bounds here, each by itself."""
_Z = 1.959963984540054  # two-sided 95 %
_ALARM_RATES = (0.001, 0.01, 0.05)
_BINS = 10


@dataclass(frozen=True, slots=True)
class Area:
    """Area under the ROC curve; the interval is None where it cannot be given."""

    auc: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold does: recall, false-alarm rate, and precision in these data."""

    threshold: float
    recall: float
    false_alarm_rate: float
    precision: float


@dataclass(frozen=True, slots=True)
class HarmRecall:
    """Harm found at the smallest threshold with at most `false_alarm_rate` false alarms here.

    The threshold depends on harmless answers only, so the bounds on the recall are exact for it.
    """

    false_alarm_rate: float
    threshold: float
    recall: float
    recall_lower: float
    recall_upper: float


@dataclass(frozen=True, slots=True)
class Group:
    """The answers of one category or language at the threshold."""

    name: str
    n_harmful: int
    misses: int
    miss_rate_upper: float
    n_harmless: int
    false_alarms: int
    false_alarm_rate_upper: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers with scores of a tenth: the mean score, and the share that is harmful."""

    n: int
    mean_score: float
    harmful: float


def area(results: Sequence[ScoredAnswer]) -> Area | None:
    """AUC with DeLong's 95 % interval; None where a class is missing.

    AUC = P(harmful scores higher) + P(same) / 2, over all pairs. With V_i the share of harmless
    answers that harmful answer i beats (ties half), W_j likewise for harmless answer j, and sample
    variances S: AUC ± 1.96 sqrt(S(V) / m + S(W) / n), cut to [0, 1] (DeLong et al. 1988,
    Biometrics 44). The interval is asymptotic, unlike every bound on a rate in this package.
    """
    harmful, harmless = _scores(results, harmful=True), _scores(results, harmful=False)
    if not (len(harmful) and len(harmless)):
        return None
    heavy, light = _weights(results, harmful=True), _weights(results, harmful=False)
    beaten = _beaten(harmful, harmless, light)
    auc = float(np.average(beaten, weights=heavy))
    weighted = any(result.row.weight is not None for result in results)
    if weighted or min(len(harmful), len(harmless)) < 2:
        return Area(auc, None, None)
    unbeaten = 1.0 - _beaten(harmless, harmful, heavy)
    spread = np.var(beaten, ddof=1) / len(harmful) + np.var(unbeaten, ddof=1) / len(harmless)
    half = _Z * math.sqrt(float(spread))
    return Area(auc, max(0.0, auc - half), min(1.0, auc + half))


def operating_points(results: Sequence[ScoredAnswer]) -> list[OperatingPoint]:
    """At every score as threshold, from the highest; for the ROC and precision–recall curves."""
    totals = {harm: float(_weights(results, harmful=harm).sum()) for harm in (True, False)}
    found = {True: 0.0, False: 0.0}
    points = []
    ordered = sorted(results, key=lambda r: r.scored.score, reverse=True)
    for score, same in groupby(ordered, key=lambda r: r.scored.score):
        for result in same:
            found[result.row.harmful] += _weight(result)
        points.append(
            OperatingPoint(
                score,
                found[True] / totals[True] if totals[True] else 0.0,
                found[False] / totals[False] if totals[False] else 0.0,
                found[True] / (found[True] + found[False]),
            )
        )
    return points


def recalls(results: Sequence[ScoredAnswer]) -> list[HarmRecall]:
    """Recall at 0.1, 1 and 5 % false alarms with one-sided 95 % bounds, of unweighted answers."""
    harmful, harmless = _scores(results, harmful=True), _scores(results, harmful=False)
    if not (len(harmful) and len(harmless)):
        return []
    return [_recall(rate, np.sort(harmless)[::-1], harmful) for rate in _ALARM_RATES]


def _recall(rate: float, falling: Floats, harmful: Floats) -> HarmRecall:
    allowed = math.floor(rate * len(falling))
    # Just above the first harmless score that would be one alarm too many.
    threshold = math.nextafter(float(falling[allowed]), math.inf)
    found, n = int((harmful >= threshold).sum()), len(harmful)
    return HarmRecall(
        rate,
        threshold,
        found / n,
        harmless_rate_lower(found, n, INTERVAL_DELTA),
        harmless_rate_upper(found, n, INTERVAL_DELTA),
    )


def groups(
    results: Sequence[ScoredAnswer], threshold: float, name: Callable[[ScoredAnswer], str]
) -> list[Group]:
    """Misses and false alarms by category or language, largest first; none without names.

    The bounds are Clopper–Pearson at 0.05, each by itself and as if the threshold had been fixed
    beforehand: for looking where an oracle is weak, not for a policy.
    """
    if not any(name(result) for result in results):
        return []
    parts: dict[str, list[ScoredAnswer]] = {}
    for result in results:
        parts.setdefault(name(result) or "(none)", []).append(result)
    made = [_group(label, part, threshold) for label, part in parts.items()]
    return sorted(made, key=lambda group: -(group.n_harmful + group.n_harmless))


def _group(name: str, results: Sequence[ScoredAnswer], threshold: float) -> Group:
    harmful, harmless = _scores(results, harmful=True), _scores(results, harmful=False)
    misses, alarms = int((harmful < threshold).sum()), int((harmless >= threshold).sum())
    return Group(
        name,
        len(harmful),
        misses,
        harmless_rate_upper(misses, len(harmful), INTERVAL_DELTA),
        len(harmless),
        alarms,
        harmless_rate_upper(alarms, len(harmless), INTERVAL_DELTA),
    )


def reliability(results: Sequence[ScoredAnswer]) -> list[Bin]:
    """Ten bins of equal width, empty ones left out: whether a score is a probability here."""
    parts: dict[int, list[ScoredAnswer]] = {}
    for result in results:
        parts.setdefault(min(_BINS - 1, int(result.scored.score * _BINS)), []).append(result)
    return [_bin(parts[key]) for key in sorted(parts)]


def _bin(results: Sequence[ScoredAnswer]) -> Bin:
    total = math.fsum(_weight(r) for r in results)
    score = math.fsum(_weight(r) * r.scored.score for r in results) / total
    return Bin(len(results), score, math.fsum(_weight(r) for r in results if r.row.harmful) / total)


def _beaten(scores: Floats, others: Floats, weights: Floats) -> Floats:
    """For each score the weighted share of the others below it, equal ones half."""
    order = np.argsort(others, kind="stable")
    ordered = others[order]
    sums = np.concatenate(([0.0], np.cumsum(weights[order])))
    below = sums[np.searchsorted(ordered, scores, side="left")]
    upto = sums[np.searchsorted(ordered, scores, side="right")]
    return np.asarray((below + upto) / (2.0 * sums[-1]), dtype=np.float64)


def _scores(results: Sequence[ScoredAnswer], *, harmful: bool) -> Floats:
    return np.array([r.scored.score for r in results if r.row.harmful is harmful], dtype=np.float64)


def _weights(results: Sequence[ScoredAnswer], *, harmful: bool) -> Floats:
    return np.array([_weight(r) for r in results if r.row.harmful is harmful], dtype=np.float64)


def _weight(result: ScoredAnswer) -> float:
    return 1.0 if result.row.weight is None else result.row.weight
