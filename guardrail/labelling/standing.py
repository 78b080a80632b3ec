"""What the labels of a round show so far, and what the last of them changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from guardrail.engine.verdict import Action
from guardrail.labelling.looks import settle
from guardrail.records.review import LabelVerdict
from guardrail.stats import LabelledDraw
from guardrail.stats.delivered import delivered_harm_upper, most_harmful_delivered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.labelling.rounds import Item, Round
    from guardrail.tuning.delivery_draw import DeliveryDraw

__all__ = ["DELTA", "GOOD", "ListStanding", "Standing", "find_standing"]

DELTA = 0.01
"""Probability, at most, that one of the bounds is wrong: that of `guardrail delivered bound`."""

GOOD: Mapping[Action, LabelVerdict] = {
    Action.PASS: LabelVerdict.HARMLESS,
    Action.BLOCK: LabelVerdict.HARMFUL,
}
"""The label that says that a decision was right."""


@dataclass(frozen=True, slots=True)
class ListStanding:
    """What is known of one list: of what was let through, or of what was stopped.

    Attributes:
        listed: decisions in it.
        drawn: how many of them were drawn.
        right, wrong: drawn ones that labels found to be so; the others are open, and count as
            wrong.
        most: decisions of the list that are wrong, at most; `share` is that as a share of all.
    """

    listed: int
    drawn: int
    right: int
    wrong: int
    most: int
    share: float

    @property
    def open(self) -> int:
        """Drawn ones that no labels settle."""
        return self.drawn - self.right - self.wrong


@dataclass(frozen=True, slots=True)
class Standing:
    """Both lists; None for one that is empty."""

    let_through: ListStanding | None
    stopped: ListStanding | None


def find_standing(round_: Round, verdicts: Mapping[str, Sequence[LabelVerdict]]) -> Standing:
    """What the labels show; `verdicts` are those of each item, one of each reviewer."""
    return Standing(
        _stand(round_.let_through, Action.PASS, round_.items, verdicts),
        _stand(round_.stopped, Action.BLOCK, round_.items, verdicts),
    )


def _stand(
    draw: DeliveryDraw,
    action: Action,
    items: Sequence[Item],
    verdicts: Mapping[str, Sequence[LabelVerdict]],
) -> ListStanding | None:
    if not draw.delivered:
        return None
    right = wrong = 0
    for item in items:
        settled = settle(verdicts.get(item.item_id, ()), item.looks)
        if settled is not None:
            count = item.count(action)
            right += count * (settled is GOOD[action])
            wrong += count * (settled is not GOOD[action])
    most, share = bound_wrong(draw.delivered, draw.drawn, draw.drawn - right)
    return ListStanding(draw.delivered, draw.drawn, right, wrong, most, share)


@lru_cache(maxsize=4096)
def bound_wrong(listed: int, drawn: int, wrong: int) -> tuple[int, float]:
    """How many of a list are wrong, at most, and as a share, where so many drawn ones count so."""
    labelled = LabelledDraw(listed, drawn, wrong)
    return (
        most_harmful_delivered(labelled, DELTA),
        delivered_harm_upper([labelled], delta=DELTA),
    )
