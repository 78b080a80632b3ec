"""From an oracle's scores of labelled harmful answers to a threshold and a bound of its misses.

miss(t) = P[score < t | harmful] never falls as t grows, and neither does the number of labelled
harmful answers below t. That alone makes it safe to pick the threshold on the data that bounds it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_open_unit
from guardrail.stats.binomial import harmless_rate_upper

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BoundedThreshold",
    "check_scores",
    "choose_threshold",
    "false_alarm_upper_at_any_threshold",
    "fewest_harmful",
    "fixed_threshold",
    "most_misses",
    "threshold_below",
]

_LARGEST = 0.999999
_DIGITS = 6
_SMALLEST_ROUNDED = 1e-9


@dataclass(frozen=True, slots=True)
class BoundedThreshold:
    """A threshold and what is known of it.

    Attributes:
        threshold: answers that score at least this are harmful, in (0, 1).
        misses: labelled harmful answers below it; `harmful`: of how many.
        miss_rate_upper: P(score < threshold | harmful) is at most this, except with probability
            delta. For a chosen threshold it is the target: see `choose_threshold`.
        chosen: whether the threshold was picked on these scores.
    """

    threshold: float
    misses: int
    harmful: int
    miss_rate_upper: float
    chosen: bool


def most_misses(n: int, target: float, delta: float) -> int | None:
    """The largest k whose Clopper–Pearson bound at `delta` on k of n is at most `target`.

    None where even k = 0 is not enough, see `fewest_harmful`. Depends on no score.
    """
    n = check_count("n", n)
    target, delta = check_open_unit("target", target), check_open_unit("delta", delta)
    if harmless_rate_upper(0, n, delta) > target:
        return None
    enough, too_many = 0, n
    while too_many - enough > 1:
        middle = (enough + too_many) // 2
        fits = harmless_rate_upper(middle, n, delta) <= target
        enough, too_many = (middle, too_many) if fits else (enough, middle)
    return enough


def fewest_harmful(target: float, delta: float) -> int:
    """The fewest labelled harmful answers that can show `target`, none of them missed."""
    target, delta = check_open_unit("target", target), check_open_unit("delta", delta)
    n = max(1, math.floor(math.log(delta) / math.log1p(-target)))
    while harmless_rate_upper(0, n, delta) > target:
        n += 1
    return n


def choose_threshold(
    harmful_scores: Iterable[float], *, target: float, delta: float
) -> BoundedThreshold:
    """The largest threshold whose Clopper–Pearson bound of the miss rate is at most `target`.

    The promise: P[miss(chosen) > target] <= delta, the choice included, for every distribution of
    the scores, ties or not. Proof: let t* be the largest t with miss(t) <= target. The choice lies
    above t* only if it is at least some t > t*; then, counts being monotone, the bound at that t is
    at most target < miss(t), which has probability <= delta at a fixed t. These events grow as t
    falls to t*, so their union has probability <= delta as well: no price for the many thresholds.

    What may be reported is therefore `target`. The smaller Clopper–Pearson bound at the chosen
    threshold does not hold: with ties it fails more often than delta. The promise needs answers
    drawn independently of each other from those that the oracle will meet. It is the first step of
    fixed-sequence testing in Angelopoulos et al. (arXiv 2110.01052), over all thresholds at once.

    Args:
        harmful_scores: of the labelled harmful answers, each in [0, 1].
        target: bound wanted for the miss rate, in (0, 1), fixed before the scores were seen.
        delta: failure probability in (0, 1), one-sided.

    Returns:
        The (k + 1)-th smallest score for k = `most_misses`, rounded down to six digits: a lower
        threshold misses less.

    Raises:
        CertificationError: an argument is outside its range, the scores are too few to show
            `target`, or only threshold 0 would do.
    """
    scores = check_scores(harmful_scores)
    k = most_misses(len(scores), target, delta)
    if k is None:
        raise CertificationError(
            f"harmful answers to {len(scores)} requests cannot show a miss rate of {target:g} at "
            f"delta {delta:g}; it takes {fewest_harmful(target, delta)} without a miss: label "
            "answers to more requests, or raise the target or delta"
        )
    threshold = threshold_below(scores[k], target)
    misses = sum(score < threshold for score in scores)
    return BoundedThreshold(threshold, misses, len(scores), float(target), chosen=True)


def fixed_threshold(
    harmful_scores: Iterable[float], *, threshold: float, delta: float
) -> BoundedThreshold:
    """The Clopper–Pearson bound at a threshold that was fixed before the scores were seen.

    The promise: P[miss(threshold) > bound] <= delta. It fails for a threshold picked on the same
    scores.

    Raises:
        CertificationError: an argument is outside its range.
    """
    scores = check_scores(harmful_scores)
    threshold = check_open_unit("threshold", threshold)
    misses = sum(score < threshold for score in scores)
    bound = harmless_rate_upper(misses, len(scores), delta)
    return BoundedThreshold(threshold, misses, len(scores), bound, chosen=False)


def false_alarm_upper_at_any_threshold(
    harmless_scores: Iterable[float], *, threshold: float, delta: float
) -> float:
    """Upper bound of P(score >= threshold | harmless) for a threshold chosen in any way.

    The promise: P[for some t, bound(t) < P(score >= t)] <= delta, so the choice may depend on
    these very scores, or on scores of harmful answers to the same requests. Proof: fix J counts
    c_1 < … < c_J < n. With U_j the Clopper–Pearson bound on c_j of n at delta / J, let t run
    through the thresholds with P(score >= t) > U_j. At each of them at most c_j of n scores lie at
    or above with probability <= delta / J, and these events grow with t; so their union has
    probability <= delta / J too. The bound at a count is the U_j of the next larger c_j.

    Where the choice is independent of the scores, Clopper–Pearson at delta is smaller.

    Args:
        harmless_scores: one of each request, drawn independently of each other, each in [0, 1].
        threshold: answers that score at least this are harmful, in (0, 1).
        delta: failure probability in (0, 1), one-sided.

    Returns:
        A number in (0, 1], rounded up; 1 where there is no score.

    Raises:
        CertificationError: an argument is outside its range.
    """
    scores = check_scores(harmless_scores)
    threshold, delta = check_open_unit("threshold", threshold), check_open_unit("delta", delta)
    alarms, steps = sum(score >= threshold for score in scores), _steps(len(scores))
    larger = [step for step in steps if step >= alarms]
    return harmless_rate_upper(larger[0], len(scores), delta / len(steps)) if larger else 1.0


def _steps(n: int) -> list[int]:
    """0, 1, 2, … 8, 10, 12, 15 and on by a quarter, below n."""
    steps, step = [], 0
    while step < n:
        steps.append(step)
        step += max(1, step // 4)
    return steps


def check_scores(values: Iterable[float]) -> tuple[float, ...]:
    """Scores in rising order. Raises CertificationError where one, NaN too, is not in [0, 1]."""
    scores = tuple(float(value) for value in values)
    if not all(0.0 <= score <= 1.0 for score in scores):
        raise CertificationError("a score lies outside [0, 1]; an oracle's scores never do")
    return tuple(sorted(scores))


def threshold_below(score: float, target: float) -> float:
    """A threshold in (0, 1) that is at most `score`, with few digits.

    Raises:
        CertificationError: the score is 0, so that nothing above 0 would do.
    """
    if score <= 0.0:
        raise CertificationError(
            f"too many harmful answers score 0 for a miss rate of {target:g} at any threshold "
            "above 0; this oracle does not see such harm: raise the target or choose another oracle"
        )
    if score >= _LARGEST or score < _SMALLEST_ROUNDED:
        return min(score, _LARGEST)
    scale = 10.0 ** (_DIGITS - 1 - math.floor(math.log10(score)))
    rounded = math.floor(score * scale) / scale
    return rounded if 0.0 < rounded <= score else score
