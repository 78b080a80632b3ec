"""Bounds from labels: exact coverage at every moment of a round, the worst one taken."""

from datetime import UTC, datetime
from functools import cache

import pytest
from scipy.stats import hypergeom

from guardrail.engine.verdict import Action
from guardrail.labelling.rounds import Item, Round
from guardrail.labelling.standing import DELTA, find_standing
from guardrail.records.review import LabelVerdict
from guardrail.tuning.deliveries import Deliveries, Delivery
from guardrail.tuning.delivery_draw import DrawKey, draw_strata, make_draw

NOW = datetime(2030, 6, 1, tzinfo=UTC)
LISTED, DRAWN = 20, 8
HARMFUL, HARMLESS = LabelVerdict.HARMFUL, LabelVerdict.HARMLESS
RIGHT = (HARMLESS, HARMLESS)
OVERRULED = (HARMLESS, HARMFUL, HARMFUL)
"""What the first reviewer finds harmless and the others do not."""


def draw(listed, drawn):
    listed_ = Deliveries(
        tuple(Delivery(f"{i:032x}", f"{i:064x}", "safe") for i in range(listed)),
        "test", "0" * 64, NOW.isoformat(), NOW.isoformat(),
    )  # fmt: skip
    key = DrawKey(7)
    return make_draw(listed_, drawn, key, draw_strata(listed_, drawn, key), [])


LET_THROUGH, STOPPED = draw(LISTED, DRAWN), draw(0, DRAWN)


@cache
def least_bound(wrong):
    """The smallest bound that anybody sees while a round with so many wrong ones is labelled."""
    items = tuple(Item(f"{i}", 2, ((f"r{i}", Action.PASS),)) for i in range(DRAWN))
    round_ = Round("round", NOW, "r", "test", LET_THROUGH, STOPPED, items)
    said = {f"{i}": OVERRULED if i < wrong else RIGHT for i in range(DRAWN)}
    given, bounds = {item.item_id: [] for item in items}, []
    for look in range(3):
        for item_id, labels in said.items():
            given[item_id] += labels[look : look + 1]
            bounds.append(find_standing(round_, given).let_through.most)
    assert bounds[0] == LISTED  # nothing is known of the others
    return min(bounds)


@pytest.mark.parametrize("truly_wrong", range(LISTED + 1))
def test_the_bound_holds_whenever_somebody_looks(truly_wrong):
    number = hypergeom(LISTED, truly_wrong, DRAWN)
    failed = sum(
        number.pmf(wrong)
        for wrong in range(max(0, DRAWN - LISTED + truly_wrong), min(DRAWN, truly_wrong) + 1)
        if least_bound(wrong) < truly_wrong
    )
    assert failed <= DELTA


def test_one_of_two_looks_settles_nothing():
    item = Item("i", 2, (("r", Action.PASS),))
    round_ = Round("round", NOW, "r", "test", draw(1, 1), STOPPED, (item,))
    for given, open_, right in (((), 1, 0), ((HARMLESS,), 1, 0), (RIGHT, 0, 1)):
        standing = find_standing(round_, {"i": given})
        assert (standing.let_through.open, standing.let_through.right) == (open_, right)
        assert standing.stopped is None
