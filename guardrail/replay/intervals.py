"""How large the changes are, with exact intervals: over requests, and against labels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from guardrail.replay.decisions import Kind
from guardrail.replay.endings import Ending
from guardrail.stats import harmless_rate_lower, harmless_rate_upper
from guardrail.stats.binomial import binomial_cdf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from guardrail.replay.decisions import RecordedDecisions
    from guardrail.replay.policy_replay import PolicyReplay

__all__ = [
    "ErrorChange",
    "Label",
    "LabelledChanges",
    "ShareInterval",
    "compare_with_labels",
    "exact_interval",
    "first_decisions",
    "mcnemar_p",
    "share_ended",
    "share_now",
]

DELTA = 0.05
"""Probability, at most, that an interval does not hold."""


class Label(StrEnum):
    """What a person says of a request: `HARMFUL` ones should be stopped, `HARMLESS` ones not."""

    HARMFUL = "harmful"
    HARMLESS = "harmless"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class ShareInterval:
    """A share of requests.

    Attributes:
        count: how many it is known of.
        possible: how many it may be: unknown decisions counted in.
        total: of how many.
        lower, upper: the interval of the share among requests like these: Clopper-Pearson, of
            `count` below and of `possible` above; 0 and 1 without any request.
    """

    count: int
    possible: int
    total: int
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class ErrorChange:
    """One kind of error among labelled requests, under the old policy and the new one.

    Attributes:
        labelled: requests with the label.
        before, after: the share that is decided wrongly.
        mended, made: decided wrongly by the old policy alone, by the new one alone, as far as is
            known.
        difference_lower, difference_upper: interval of the share after minus the share before:
            of the two shares of requests that only one policy decides wrongly, each by
            Clopper-Pearson at half the error probability, unknown ones counted against either end.
        p: exact McNemar test of no difference, two-sided; the largest value that the unknown
            decisions allow.
    """

    labelled: int
    before: ShareInterval
    after: ShareInterval
    mended: int
    made: int
    difference_lower: float
    difference_upper: float
    p: float


@dataclass(frozen=True, slots=True)
class LabelledChanges:
    """Both kinds of error.

    Attributes:
        false_alarms: requests labelled harmless that were stopped.
        missed_harm: requests labelled harmful that were let through.
        unsure: records labelled unsure, which count for neither.
        undecided: labels of requests about which nothing was decided before, which count for
            neither: observe mode let their answers pass, and no decision follows.
        absent: labels of records that are not among these.
    """

    false_alarms: ErrorChange
    missed_harm: ErrorChange
    unsure: int
    undecided: int
    absent: int


def share_now(found: PolicyReplay, before: Ending, after: Ending) -> ShareInterval:
    """Of all decided requests the share that went from one ending to another.

    Equal requests count once, by the first of their decisions: they are not independent. The
    interval holds for requests that come like these, independently of each other.
    """
    decided = first_decisions(found.decisions)
    from_here = decided & (found.before == before)
    known = from_here & (found.after == after)
    unknown = from_here & (found.after == Ending.UNKNOWN)
    return _interval(known, unknown, decided, DELTA)


def share_ended(found: PolicyReplay, after: Ending) -> ShareInterval:
    """Of all decided requests the share that ends so under the new policy; see `share_now`."""
    decided = first_decisions(found.decisions)
    known, unknown = decided & (found.after == after), decided & (found.after == Ending.UNKNOWN)
    return _interval(known, unknown, decided, DELTA)


def first_decisions(decisions: RecordedDecisions) -> NDArray[np.bool_]:
    """The first decision of each request that was stopped or let through."""
    judged = np.isin(decisions.before, (Ending.LET_THROUGH, Ending.STOPPED))
    return _first_of(decisions, (decisions.kind != Kind.REMEMBERED) & judged)


def exact_interval(count: int, total: int, delta: float = DELTA) -> tuple[float, float]:
    """Clopper-Pearson, two-sided: both ends at delta / 2."""
    if total == 0:
        return 0.0, 1.0
    lower = harmless_rate_lower(count, total, delta / 2.0)
    return lower, harmless_rate_upper(count, total, delta / 2.0)


def compare_with_labels(found: PolicyReplay, labels: Mapping[str, Label]) -> LabelledChanges:
    """Errors of both policies on the labelled decisions.

    The intervals speak of requests like the labelled ones: they hold for all traffic only where
    these were drawn from it at random, whatever was decided about them. Equal requests count once.
    Under a policy that only observes, the answer of a request has one record and its decision
    another one: a label of the first counts for the second. A request about which nothing was
    decided is neither right nor wrong, and left out.

    Args:
        found: the replay.
        labels: by the id of the record.
    """
    known = dict(labels)
    marks = [known.pop(name, None) for name in found.decisions.record_ids]
    targets, undecided = _find_labelled(found, marks)
    kinds = {label: np.zeros(len(marks), dtype=np.bool_) for label in Label}
    for row, label in targets.items():
        kinds[label][row] = True
    return LabelledChanges(
        false_alarms=_compare(found, kinds[Label.HARMLESS], Ending.STOPPED),
        missed_harm=_compare(found, kinds[Label.HARMFUL], Ending.LET_THROUGH),
        unsure=sum(mark is Label.UNSURE for mark in marks),
        undecided=undecided,
        absent=len(known),
    )


def _find_labelled(found: PolicyReplay, marks: list[Label | None]) -> tuple[dict[int, Label], int]:
    """The label of each decision, and how many labels (but unsure ones) are of no decision.

    A label of a record without a decision goes to the next decision about an equal request under
    the same policy, unless that has a label of its own.
    """
    of = found.decisions
    is_decided = _is_decided(found)
    targets: dict[int, Label] = {}
    following: dict[tuple[int, int], int] = {}
    undecided = 0
    for row in reversed(range(len(marks))):
        key, mark = (int(of.request[row]), int(of.policy[row])), marks[row]
        if is_decided[row]:
            following[key] = row
        if mark is None:
            continue
        if is_decided[row]:
            targets[row] = mark
        elif key in following:
            targets.setdefault(following[key], mark)
        else:
            undecided += mark is not Label.UNSURE
    return targets, undecided


def _is_decided(found: PolicyReplay) -> NDArray[np.bool_]:
    """Whether a decision ended: by a judgement, or without an answer.

    Where a policy only observes, the answer left whatever became of its decision, so that one that
    a fault ended says nothing of the request.
    """
    judged = np.isin(found.before, (Ending.LET_THROUGH, Ending.STOPPED))
    decided: NDArray[np.bool_] = judged | (
        (found.before == Ending.FAULT) & ~found.decisions.observed
    )
    return decided


def _compare(found: PolicyReplay, labelled: NDArray[np.bool_], wrong: Ending) -> ErrorChange:
    chosen = _first_of(found.decisions, labelled)
    total = int(np.count_nonzero(chosen))
    was = chosen & (found.before == wrong)
    now = chosen & (found.after == wrong)
    unknown = chosen & (found.after == Ending.UNKNOWN)
    known = chosen & ~unknown
    mended, made = _count(was & known & ~now), _count(now & ~was)
    maybe_mended, maybe_made = _count(was & unknown), _count(unknown & ~was)
    lower_made = exact_interval(made, total, DELTA / 2.0)[0]
    upper_made = exact_interval(made + maybe_made, total, DELTA / 2.0)[1]
    lower_mended = exact_interval(mended, total, DELTA / 2.0)[0]
    upper_mended = exact_interval(mended + maybe_mended, total, DELTA / 2.0)[1]
    return ErrorChange(
        labelled=total,
        before=_interval(was, np.zeros_like(was), chosen, DELTA),
        after=_interval(now, unknown, chosen, DELTA),
        mended=mended,
        made=made,
        difference_lower=max(-1.0, lower_made - upper_mended),
        difference_upper=min(1.0, upper_made - lower_mended),
        p=_largest_p((mended, mended + maybe_mended), (made, made + maybe_made)),
    )


def mcnemar_p(mended: int, made: int) -> float:
    """The exact two-sided test that requests change either way with the same probability.

    Given that a request is decided otherwise, which way is a fair coin under the hypothesis.
    """
    total = mended + made
    return min(1.0, 2.0 * binomial_cdf(min(mended, made), total, 0.5)) if total else 1.0


def _largest_p(mended: tuple[int, int], made: tuple[int, int]) -> float:
    """The largest p for any pair in two ranges: that of the most even split."""
    if max(mended[0], made[0]) <= min(mended[1], made[1]):
        return 1.0
    if mended[0] > made[1]:
        return mcnemar_p(mended[0], made[1])
    return mcnemar_p(mended[1], made[0])


def _interval(
    known: NDArray[np.bool_], unknown: NDArray[np.bool_], of: NDArray[np.bool_], delta: float
) -> ShareInterval:
    count, total = _count(known), _count(of)
    possible = count + _count(unknown)
    lower, _ = exact_interval(count, total, delta)
    _, upper = exact_interval(possible, total, delta)
    return ShareInterval(count, possible, total, lower, upper)


def _first_of(of: RecordedDecisions, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The first chosen decision of every request."""
    rows = np.flatnonzero(chosen)
    _, first = np.unique(of.request[rows], return_index=True)
    marked = np.zeros(len(chosen), dtype=np.bool_)
    marked[rows[first]] = True
    return marked


def _count(marked: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(marked))
