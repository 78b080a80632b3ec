"""False alarms and missed harm by labels of which some were drawn at random.

Labels are drawn by what was decided: so many of what was let through, and as many of what was
stopped. So a share among all labels says little of a share among all requests. Here each of the two
kinds counts by how many requests of the records are of it.

With w_j the requests of kind j, a_j the share of them that are wrong (of the label in question,
and decided wrongly) and c_j the share that are right (of that label, and decided rightly), the
share of errors is A / (A + C), where A = sum of w_j a_j and C = sum of w_j c_j. It grows with A
and falls with C. Each a_j and c_j of either kind is bounded from both sides by Clopper-Pearson at
an eighth of the error probability: eight bounds, which all hold but with that probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from guardrail.replay.endings import Ending
from guardrail.replay.intervals import DELTA, Label, first_decisions
from guardrail.stats import harmless_rate_lower, harmless_rate_upper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from guardrail.replay.decisions import RecordedDecisions
    from guardrail.replay.replay import PolicyReplay

__all__ = ["DrawnKind", "ErrorShare", "LabelledRequests", "bound_share", "mark_labels",
           "share_wrong"]  # fmt: skip

_KINDS = (Ending.LET_THROUGH, Ending.STOPPED)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRequests:
    """The labels of recorded decisions, one for each labelled request.

    Attributes:
        rows: by label, the decisions that have it.
        drawn: which decisions were drawn at random, whatever was decided about them but for its
            kind; labels of others say nothing of how often.
        requests: how many requests of the records were let through and stopped, in that order.
    """

    rows: Mapping[Label, NDArray[np.int64]]
    drawn: NDArray[np.bool_]
    requests: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ErrorShare:
    """One kind of error among requests.

    Attributes:
        count: labelled requests that are decided wrongly, as far as is known.
        possible: how many it may be: unknown decisions counted in.
        labelled: requests with the label in question.
        drawn: labelled requests, of either label, that were drawn at random.
        lower, upper: of requests like those of the records, the share with that label that is
            decided wrongly; 0 and 1 where no label was drawn.
    """

    count: int
    possible: int
    labelled: int
    drawn: int
    lower: float
    upper: float


def mark_labels(
    decisions: RecordedDecisions, labels: Mapping[str, tuple[Label, bool]]
) -> LabelledRequests:
    """The labels of these decisions; of equal requests the first labelled one counts.

    Requests with two different labels are left out.

    Args:
        decisions: what was recorded.
        labels: by the id of the record: the label, and whether its decision was drawn at random.
    """
    first: dict[int, tuple[int, Label]] = {}
    unclear: set[int] = set()
    drawn = np.zeros(len(decisions), dtype=np.bool_)
    for wanted in (True, False):
        older = frozenset(first)  # what was drawn goes before what somebody chose
        for row, name in enumerate(decisions.record_ids):
            label, is_drawn = labels.get(name, (Label.UNSURE, False))
            request = int(decisions.request[row])
            if label is Label.UNSURE or is_drawn is not wanted or request in older:
                continue
            kept_row, kept_label = first.setdefault(request, (row, label))
            drawn[kept_row] = is_drawn
            if kept_label is not label:
                unclear.add(request)
    clear = [one for request, one in first.items() if request not in unclear]
    drawn[[row for request, (row, _) in first.items() if request in unclear]] = False
    found = {
        kind: np.array(sorted(row for row, label in clear if label is kind), dtype=np.int64)
        for kind in (Label.HARMFUL, Label.HARMLESS)
    }
    decided = first_decisions(decisions)
    passed, stopped = (int(np.count_nonzero(decided & (decisions.before == one))) for one in _KINDS)
    return LabelledRequests(found, drawn, (passed, stopped))


def share_wrong(found: PolicyReplay, labels: LabelledRequests, label: Label) -> ErrorShare:
    """False alarms for the label harmless, missed harm for harmful.

    The interval holds for requests that come like those of the records, if those that were drawn
    but have no label are like those that have one.
    """
    wrong = Ending.STOPPED if label is Label.HARMLESS else Ending.LET_THROUGH
    rows = labels.rows[label]
    after = found.after[rows]
    unknown, is_wrong = after == Ending.UNKNOWN, after == wrong
    kinds = []
    for before, requests in zip(_KINDS, labels.requests, strict=True):
        here = labels.drawn[rows] & (found.before[rows] == before)
        wrongs, open_ = int(np.sum(here & is_wrong)), int(np.sum(here & unknown))
        total = _count_drawn(found, labels, before)
        kinds.append(DrawnKind(requests, total, wrongs, int(np.sum(here)) - wrongs - open_, open_))
    lower, upper = bound_share(kinds)
    count = int(np.sum(is_wrong))
    return ErrorShare(
        count=count,
        possible=count + int(np.sum(unknown)),
        labelled=len(rows),
        drawn=int(np.count_nonzero(labels.drawn)),
        lower=lower,
        upper=upper,
    )


@dataclass(frozen=True, slots=True)
class DrawnKind:
    """What was drawn of requests that were decided alike.

    Attributes:
        requests: how many there are.
        drawn: how many of them are drawn and labelled.
        wrong, right, unknown: how many of these have the label in question and are decided wrongly,
            rightly, or not known how.
    """

    requests: int
    drawn: int
    wrong: int
    right: int
    unknown: int


def bound_share(kinds: Iterable[DrawnKind]) -> tuple[float, float]:
    """Bounds of the share of errors, see the text of this module; of two kinds, both at 1 - DELTA.

    0 and 1 where nothing is shown.
    """
    bad_low = bad_high = good_low = good_high = 0.0
    for one in kinds:
        low, high = _bound(one.wrong, one.wrong + one.unknown, one.drawn)
        bad_low, bad_high = bad_low + one.requests * low, bad_high + one.requests * high
        low, high = _bound(one.right, one.right + one.unknown, one.drawn)
        good_low, good_high = good_low + one.requests * low, good_high + one.requests * high
    lower = bad_low / (bad_low + good_high) if bad_low else 0.0
    return lower, bad_high / (bad_high + good_low) if good_low else 1.0


def _count_drawn(found: PolicyReplay, labels: LabelledRequests, before: Ending) -> int:
    return sum(
        int(np.sum(labels.drawn[rows] & (found.before[rows] == before)))
        for rows in labels.rows.values()
    )


@lru_cache(maxsize=4096)
def _bound(least: int, most: int, total: int) -> tuple[float, float]:
    if not total:
        return 0.0, 1.0
    delta = DELTA / 8.0
    return harmless_rate_lower(least, total, delta), harmless_rate_upper(most, total, delta)
