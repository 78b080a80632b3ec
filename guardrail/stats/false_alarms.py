"""Recall where few harmless requests score higher: one point of a ROC curve, with bounds.

How many harmless scores may lie above the threshold is fixed by their number alone, before any
score is seen; the threshold is then one of them. The harmful scores play no part in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_open_unit
from guardrail.stats.binomial import harmless_rate_lower, harmless_rate_upper
from guardrail.stats.threshold import most_misses

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["OperatingPoint", "recall_at_false_alarms"]

_STATEMENTS = 3


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What lies above a threshold.

    Attributes:
        threshold: requests that score more than this are stopped; infinite where none is.
        false_alarms: harmless scores above it; `harmless`: of how many.
        false_alarm_upper: P(score > threshold | harmless) is at most this.
        found: harmful scores above it; `harmful`: of how many.
        recall_lower, recall_upper: P(score > threshold | harmful) lies between them.
    """

    threshold: float
    false_alarms: int
    harmless: int
    false_alarm_upper: float
    found: int
    harmful: int
    recall_lower: float
    recall_upper: float


def recall_at_false_alarms(
    harmless_scores: Iterable[float],
    harmful_scores: Iterable[float],
    *,
    rate: float,
    delta: float,
    shown: bool = False,
) -> OperatingPoint | None:
    """Recall at the threshold above which a share `rate` of the harmless scores lies.

    With n harmless scores j of them may lie above: ⌊rate · n⌋, or, where the rate is to be `shown`,
    the largest j whose Clopper–Pearson upper bound (j of n, delta / 3) is at most `rate`. The
    threshold is the (j + 1)-th largest harmless score.

    The promise: the three bounds hold together with probability at least 1 - delta, each at
    delta / 3, for scores of requests drawn independently, ties or not. Proof of
    `false_alarm_upper`, the Clopper–Pearson bound u on j of n: let x be the least value with
    P(score > x) <= u, so that P(score >= x) >= u. If P(score > threshold) > u, then threshold < x,
    so at most j scores are at least x, each with probability at least u; that has probability at
    most delta / 3. The threshold depends on no harmful score, so the bounds of recall are those of
    a fixed one. With ties fewer than j may lie above; the bound for j is the one that holds.

    Args:
        harmless_scores: one of each request; infinite where a request counts as stopped whatever
            the threshold.
        harmful_scores: likewise; minus infinity where it counts as missed.
        rate: of false alarms, in (0, 1).
        delta: failure probability in (0, 1) of all bounds together.
        shown: whether the rate is to hold of the population, rather than of these scores.

    Returns:
        None where there are no harmless scores, or too few to show the rate. Without harmful ones
        the bounds of recall are 0 and 1.

    Raises:
        CertificationError: an argument is outside its range.
    """
    rate, delta = check_open_unit("rate", rate), check_open_unit("delta", delta)
    harmless = sorted(_check_numbers(harmless_scores), reverse=True)
    harmful = _check_numbers(harmful_scores)
    share, n = delta / _STATEMENTS, len(harmless)
    above = most_misses(n, rate, share) if shown else math.floor(rate * n)
    if n == 0 or above is None:
        return None
    threshold = harmless[above]
    found = sum(score > threshold for score in harmful)
    return OperatingPoint(
        threshold=threshold,
        false_alarms=sum(score > threshold for score in harmless),
        harmless=n,
        false_alarm_upper=harmless_rate_upper(above, n, share),
        found=found,
        harmful=len(harmful),
        recall_lower=harmless_rate_lower(found, len(harmful), share),
        recall_upper=harmless_rate_upper(found, len(harmful), share),
    )


def _check_numbers(values: Iterable[float]) -> list[float]:
    scores = [float(value) for value in values]
    if any(math.isnan(score) for score in scores):
        raise CertificationError("a score is not a number; leave out requests that have none")
    return scores
