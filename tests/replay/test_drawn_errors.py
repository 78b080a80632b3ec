"""Shares by labels that were drawn: what they count, and how often their interval holds."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.replay.drawn_errors import DrawnKind, bound_share, mark_labels, share_wrong
from guardrail.replay.endings import Ending
from guardrail.replay.intervals import DELTA, Label, share_ended
from guardrail.replay.replay import PolicyReplayer, replay_policy

DRAWN, DECISIONS = 6, (900, 100)


def chance(counts, shares):
    """Of these counts of three kinds."""
    ways = math.factorial(sum(counts)) / math.prod(map(math.factorial, counts))
    return ways * math.prod(p**k for p, k in zip(shares, counts, strict=True))


def draws():
    return [(a, c, DRAWN - a - c) for a in range(DRAWN + 1) for c in range(DRAWN + 1 - a)]


@pytest.mark.parametrize(
    "shares",
    list(itertools.product([(0.02, 0.9), (0.3, 0.3), (0.5, 0.0)], [(0.1, 0.8), (0.6, 0.05)])),
)
def test_an_interval_holds_as_often_as_it_says(shares):
    """Enumerated over all that can be drawn of either kind."""
    (a0, c0), (a1, c1) = shares
    wrong = DECISIONS[0] * a0 + DECISIONS[1] * a1
    right = DECISIONS[0] * c0 + DECISIONS[1] * c1
    truth, missed = wrong / (wrong + right), 0.0
    for one, other in itertools.product(draws(), draws()):
        kinds = [
            DrawnKind(decisions, DRAWN, counts[0], counts[1], 0)
            for decisions, counts in zip(DECISIONS, (one, other), strict=True)
        ]
        lower, upper = bound_share(kinds)
        if not lower <= truth <= upper:
            missed += chance(one, (a0, c0, 1 - a0 - c0)) * chance(other, (a1, c1, 1 - a1 - c1))
    assert missed <= DELTA


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_what_is_not_known_counts_against_either_end(wrong, right, unknown):
    drawn = wrong + right + unknown + 1
    lower, upper = bound_share([DrawnKind(10, drawn, wrong, right, unknown)])
    for mended in range(unknown + 1):
        kind = DrawnKind(10, drawn, wrong + mended, right + unknown - mended, 0)
        low, high = bound_share([kind])
        assert lower <= low <= high <= upper


def test_nothing_drawn_shows_nothing():
    assert bound_share([DrawnKind(10, 0, 0, 0, 0)]) == (0.0, 1.0)
    assert bound_share([]) == (0.0, 1.0)


@pytest.fixture
def recorded(kit):
    policy = kit.make_policy()
    records = [kit.decide(kit.make_engine(policy, kit.World(salt=i, harm=(0.05, 0.9)[i % 2])),
                          number=i // 2 * 2 + i % 2)[1] for i in range(12)]  # fmt: skip
    return policy, kit.load(*records), [record.record_id for record in records]


def test_labels_are_counted_and_chosen_ones_carry_no_interval(recorded):
    policy, decisions, ids = recorded
    found = replay_policy(decisions, policy)
    stopped = {name for name, after in zip(ids, found.after, strict=True) if after}
    labels = dict.fromkeys(ids, (Label.HARMLESS, True))
    labels[ids[0]] = (Label.HARMLESS, False)
    labels[ids[1]] = (Label.UNSURE, True)
    labels[ids[2]] = (Label.UNSURE, False)
    marked = mark_labels(decisions, labels)
    assert marked.decisions == (12 - len(stopped), len(stopped))
    share = share_wrong(found, marked, Label.HARMLESS)
    wrong = stopped - {ids[1], ids[2]}
    assert (share.count, share.labelled, share.drawn) == (len(wrong), 10, 10)
    assert share_wrong(found, marked, Label.HARMFUL).labelled == 0
    settled = mark_labels(decisions, labels | {ids[1]: (Label.HARMLESS, True)})
    narrower = share_wrong(found, settled, Label.HARMLESS)
    assert share.lower <= narrower.lower <= narrower.upper <= share.upper
    chosen = mark_labels(decisions, dict.fromkeys(ids, (Label.HARMLESS, False)))
    alone = share_wrong(found, chosen, Label.HARMLESS)
    assert (alone.drawn, alone.lower, alone.upper) == (0, 0.0, 1.0)


def test_one_replayer_finds_what_replay_finds_in_any_order(recorded, kit):
    policy, decisions, _ = recorded
    replayer = PolicyReplayer(decisions)
    others = [
        kit.make_policy("new", oracle={"threshold": cut}, smoothing={"radius": radius})
        for cut in (0.5, 0.2, 0.8, 0.5)
        for radius in (0.25, 0.1, 0.3)
    ]
    for other in [*others, policy, *reversed(others)]:
        replayer.prepare(other)
        mine, alone = replayer.replay(other), replay_policy(decisions, other)
        for name in ("after", "reason", "need", "used"):
            assert np.array_equal(getattr(mine, name), getattr(alone, name)), name


def test_the_share_that_ends_so_counts_each_request_once(recorded):
    policy, decisions, _ = recorded
    found = replay_policy(decisions, policy)
    share = share_ended(found, Ending.STOPPED)
    assert (share.count, share.total) == (int(np.sum(found.after == Ending.STOPPED)), 12)
    assert share.lower < share.count / share.total < share.upper
