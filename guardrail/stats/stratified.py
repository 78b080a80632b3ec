"""Miss and false-alarm rates from answers that were drawn for labelling stratum by stratum.

Harmful answers are rare, so labelling effort goes where scores are high, and each stratum counts
by its share of all answers. Within a stratum the answers are a random draw. Every bound is a sum
of Clopper–Pearson bounds that share delta, so it holds for any finite number of labels.

Draws without replacement from a finite store are covered too while delta is at most 0.1: that far
out the hypergeometric distribution has less weight in its tails than the binomial one that the
bounds are made for (the tests enumerate small stores; at 0.2 it fails there).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_open_unit, check_positive
from guardrail.stats.binomial import harmless_rate_lower, harmless_rate_upper
from guardrail.stats.threshold import BoundedThreshold, check_scores, threshold_below

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ScoredStratum",
    "choose_stratified_threshold",
    "stratified_false_alarm_upper",
    "stratified_miss_upper",
]


@dataclass(frozen=True, slots=True)
class ScoredStratum:
    """The labelled answers of one stratum.

    Attributes:
        share: of the stratum among all answers, known exactly; only ratios count.
        harmful: scores of those labelled harmful, in [0, 1].
        harmless: scores of the others.
    """

    share: float
    harmful: tuple[float, ...]
    harmless: tuple[float, ...]

    def __post_init__(self) -> None:
        check_positive("share", self.share)
        object.__setattr__(self, "harmful", check_scores(self.harmful))
        object.__setattr__(self, "harmless", check_scores(self.harmless))

    @property
    def labelled(self) -> int:
        return len(self.harmful) + len(self.harmless)


def stratified_miss_upper(
    strata: Sequence[ScoredStratum], *, threshold: float, delta: float
) -> float:
    """Upper bound of P(score < threshold | harmful) at a threshold fixed beforehand.

    With A_s = P(harmful and below | s) and B_s = P(harmful and not below | s), the miss rate is
    sum(pi A) / (sum(pi A) + sum(pi B)): it grows with every A_s and falls with every B_s. Each A_s
    is replaced by its upper and each B_s by its lower bound, at delta / (2 S) for S strata.

    Returns:
        A number in (0, 1], rounded up.

    Raises:
        CertificationError: an argument is outside its range, or there is no stratum.
    """
    delta = _part(strata, 2, delta)
    below = above = 0.0
    for stratum in strata:
        misses = sum(score < threshold for score in stratum.harmful)
        caught, n = len(stratum.harmful) - misses, stratum.labelled
        below += stratum.share * harmless_rate_upper(misses, n, delta)
        above += stratum.share * harmless_rate_lower(caught, n, delta)
    return _up(below / (below + above), len(strata))


def choose_stratified_threshold(
    strata: Sequence[ScoredStratum], *, target: float, delta: float
) -> BoundedThreshold:
    """The largest threshold at which `stratified_miss_upper` is at most `target`.

    The promise is that of `choose_threshold`, with the same proof: the bound never falls as the
    threshold grows, because misses only grow and catches only fall.

    Raises:
        CertificationError: an argument is outside its range, or the labels are too few.
    """
    target = check_open_unit("target", target)
    scores = sorted({score for stratum in strata for score in stratum.harmful})
    fitting = _fitting(strata, scores, target, delta)
    if fitting == 0:
        raise CertificationError(
            f"these labels cannot show a miss rate of {target:g} at delta {delta:g}; label more "
            "answers, most of all in strata with a large share, or raise the target or delta"
        )
    threshold = threshold_below(scores[fitting - 1], target)
    harmful = [score for stratum in strata for score in stratum.harmful]
    misses = sum(score < threshold for score in harmful)
    return BoundedThreshold(threshold, misses, len(harmful), target, chosen=True)


def stratified_false_alarm_upper(
    strata: Sequence[ScoredStratum], *, threshold: float, delta: float
) -> float:
    """Upper bound of P(score >= threshold | harmless), also for a threshold chosen on misses.

    Given the labels, scores of harmless answers are independent of those of harmful ones, hence of
    a threshold that was chosen on the latter. The rate is sum(w F) / sum(w) with the shares
    w_s = pi_s P(harmless | s) and F_s = P(score >= threshold | harmless, s). F_s is bounded above
    and w_s on both sides, at delta / (3 S) each; the largest ratio within these bounds gives the
    strata with the largest F their upper w and the others their lower one.

    Returns:
        A number in (0, 1], rounded up; 1 where no harmless answer was labelled.

    Raises:
        CertificationError: an argument is outside its range, or there is no stratum.
    """
    delta = _part(strata, 3, delta)
    rows = sorted((_harmless_bounds(stratum, threshold, delta) for stratum in strata), reverse=True)
    return _up(max(_ratio(rows, cut) for cut in range(1, len(rows) + 1)), len(rows))


def _harmless_bounds(
    stratum: ScoredStratum, threshold: float, delta: float
) -> tuple[float, float, float]:
    """(F upper, w lower, w upper) of one stratum."""
    harmless = len(stratum.harmless)
    alarms = sum(score >= threshold for score in stratum.harmless)
    return (
        harmless_rate_upper(alarms, harmless, delta),
        stratum.share * harmless_rate_lower(harmless, stratum.labelled, delta),
        stratum.share * harmless_rate_upper(harmless, stratum.labelled, delta),
    )


def _ratio(rows: Sequence[tuple[float, float, float]], cut: int) -> float:
    """The false-alarm rate if the first `cut` rows have their upper shares."""
    shares = [high if i < cut else low for i, (_, low, high) in enumerate(rows)]
    alarms = sum(share * row[0] for share, row in zip(shares, rows, strict=True))
    return alarms / sum(shares)


def _fitting(
    strata: Sequence[ScoredStratum], scores: Sequence[float], target: float, delta: float
) -> int:
    """How many of the rising scores, as thresholds, keep the bound at most `target`."""
    low, high = 0, len(scores)
    while low < high:
        middle = (low + high) // 2
        bound = stratified_miss_upper(strata, threshold=scores[middle], delta=delta)
        low, high = (middle + 1, high) if bound <= target else (low, middle)
    return low


def _part(strata: Sequence[ScoredStratum], bounds: int, delta: float) -> float:
    """The delta of one of `bounds` bounds per stratum."""
    if not strata:
        raise CertificationError("there is no stratum; label at least one answer")
    return check_open_unit("delta", delta) / (bounds * len(strata))


def _up(value: float, terms: int) -> float:
    """Above what rounding may have taken from a ratio of sums of this many terms."""
    return min(1.0, value * (1.0 + (4 * terms + 8) * sys.float_info.epsilon))
