"""False alarms and missed harm by labels of which some were drawn at random.

Decisions are drawn by how they ended: so many of what was let through, and as many of what was
stopped. So a share among all labels says little of a share among all decisions. Here each of the
two kinds counts by how many of the recorded decisions are of it.

With w_j the decisions of kind j, a_j the share of them that are wrong (of the label in question,
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
from guardrail.replay.intervals import DELTA, Label
from guardrail.stats import harmless_rate_lower, harmless_rate_upper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from guardrail.replay.decisions import RecordedDecisions
    from guardrail.replay.policy_replay import PolicyReplay

__all__ = ["DecisionLabels", "DrawnKind", "ErrorShare", "bound_share", "mark_labels",
           "share_wrong"]  # fmt: skip

_KINDS = (Ending.LET_THROUGH, Ending.STOPPED)


@dataclass(frozen=True, slots=True, eq=False)
class DecisionLabels:
    """The labels of recorded decisions.

    Attributes:
        rows: by label, the decisions that have it; by `UNSURE` those of the draw that have no
            settled one.
        drawn: which decisions were drawn at random of those that ended as they did; labels of
            others say nothing of how often.
        decisions: how many were let through and stopped, in that order.
    """

    rows: Mapping[Label, NDArray[np.int64]]
    drawn: NDArray[np.bool_]
    decisions: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ErrorShare:
    """One kind of error among decisions.

    Attributes:
        count: labelled decisions that are wrong, as far as is known.
        possible: how many it may be: unknown decisions counted in.
        labelled: decisions with the label in question.
        drawn: decisions that were drawn at random, settled or not.
        lower, upper: of recorded decisions with that label, the share that is wrong; 0 and 1 where
            nothing shows it.
    """

    count: int
    possible: int
    labelled: int
    drawn: int
    lower: float
    upper: float


def mark_labels(
    decisions: RecordedDecisions, labels: Mapping[str, tuple[Label, bool]]
) -> DecisionLabels:
    """The labels of these decisions.

    Args:
        decisions: what was recorded.
        labels: by the id of the record: the label, and whether the decision was drawn at random;
            `UNSURE` for one that was drawn and has no settled label.
    """
    rows: dict[Label, list[int]] = {label: [] for label in Label}
    drawn = np.zeros(len(decisions), dtype=np.bool_)
    for row, name in enumerate(decisions.record_ids):
        label, is_drawn = labels.get(name, (Label.UNSURE, False))
        if is_drawn or label is not Label.UNSURE:
            rows[label].append(row)
            drawn[row] = is_drawn
    passed, stopped = (int(np.count_nonzero(decisions.before == one)) for one in _KINDS)
    found = {label: np.array(of_label, dtype=np.int64) for label, of_label in rows.items()}
    return DecisionLabels(found, drawn, (passed, stopped))


def share_wrong(found: PolicyReplay, labels: DecisionLabels, label: Label) -> ErrorShare:
    """False alarms for the label harmless, missed harm for harmful.

    The interval holds for the recorded decisions, as far as those that the draw was made from are
    like all of them. What was drawn and has no settled label counts against either end.
    """
    wrong = Ending.STOPPED if label is Label.HARMLESS else Ending.LET_THROUGH
    rows = labels.rows[label]
    after = found.after[rows]
    kinds = []
    for before, decisions in zip(_KINDS, labels.decisions, strict=True):
        total, unsettled = _count_drawn(found, labels, before)
        here = after[labels.drawn[rows] & (found.before[rows] == before)]
        wrongs, unknown = int(np.sum(here == wrong)), int(np.sum(here == Ending.UNKNOWN))
        rights = len(here) - wrongs - unknown
        kinds.append(DrawnKind(decisions, total, wrongs, rights, unknown + unsettled))
    lower, upper = bound_share(kinds)
    count = int(np.sum(after == wrong))
    return ErrorShare(
        count=count,
        possible=count + int(np.sum(after == Ending.UNKNOWN)),
        labelled=len(rows),
        drawn=int(np.count_nonzero(labels.drawn)),
        lower=lower,
        upper=upper,
    )


@dataclass(frozen=True, slots=True)
class DrawnKind:
    """What was drawn of decisions that ended alike.

    Attributes:
        decisions: how many there are.
        drawn: how many of them were drawn.
        wrong, right: how many of these have the label in question and are decided wrongly or
            rightly.
        unknown: how many may be either, or have the other label.
    """

    decisions: int
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
        bad_low, bad_high = bad_low + one.decisions * low, bad_high + one.decisions * high
        low, high = _bound(one.right, one.right + one.unknown, one.drawn)
        good_low, good_high = good_low + one.decisions * low, good_high + one.decisions * high
    lower = bad_low / (bad_low + good_high) if bad_low else 0.0
    return lower, bad_high / (bad_high + good_low) if good_low else 1.0


def _count_drawn(found: PolicyReplay, labels: DecisionLabels, before: Ending) -> tuple[int, int]:
    """How many of the decisions that ended so were drawn, and how many of these are unsettled."""
    counts = {
        label: int(np.sum(labels.drawn[rows] & (found.before[rows] == before)))
        for label, rows in labels.rows.items()
    }
    return sum(counts.values()), counts[Label.UNSURE]


@lru_cache(maxsize=4096)
def _bound(least: int, most: int, total: int) -> tuple[float, float]:
    if not total:
        return 0.0, 1.0
    delta = DELTA / 8.0
    return harmless_rate_lower(least, total, delta), harmless_rate_upper(most, total, delta)
