"""Rounds and their queue: each request once, leases, second looks, and bounds that hold."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from guardrail.cli.records_labels import write_labels
from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError, RequestError
from guardrail.labelling.effect import read_effect
from guardrail.labelling.export import all_labels
from guardrail.labelling.oracle_errors import STEP
from guardrail.labelling.queue import LEASE, judge, last_item, next_item, read_queue
from guardrail.labelling.standing import find_standing
from guardrail.records.origin import TRIED_ROUTE
from guardrail.records.query import RecordFilter, open_source
from guardrail.replay.labels import read_labels
from guardrail.sealed import read_sealed
from guardrail.stats.delivered import LabelledDraw, delivered_harm_upper
from guardrail.tuning.deliveries import Deliveries, Delivery
from guardrail.tuning.delivery_bound import bound_delivered_harm
from guardrail.tuning.delivery_draw import DeliveryDraw, DrawKey, check_draw
from tests.labelling.conftest import NOW, Decision, begin, keep_all, open_kept, some

RIGHT = {Action.PASS: "harmless", Action.BLOCK: "harmful"}


def right(item):
    """What a reviewer says who finds the guard right."""
    return RIGHT[item.records[0][1]]


def label_all(database, round_, reviewer="a", say=right, now=NOW):
    """Labels until nothing is left; the items in their order."""
    items = []
    while (item := next_item(database, round_, reviewer, now)) is not None:
        judge(database, round_, item.item_id, reviewer, say(item), now)
        items.append(item)
        now += timedelta(seconds=1)
    return items


def test_every_request_comes_once_and_equal_ones_together(database_url):
    decisions = [*some(), *some(passes=2, blocks=1)]  # p0, p1 and b0 a second time
    with open_kept(database_url, decisions) as (database, ids):
        round_ = begin(database)
        items = label_all(database, round_)
        assert len(items) == len({item.item_id for item in items}) == 10
        assert sorted(name for item in items for name, _ in item.records) == sorted(ids)
        assert sum(len(item.records) == 2 for item in items) == 3
        assert next_item(database, round_, "b", NOW) is None  # one reviewer is enough


def test_what_was_only_tried_is_in_no_list(sqlite_url):
    with open_kept(sqlite_url, [*some(), *some(3, 3, route=TRIED_ROUTE)]) as (database, _):
        round_ = begin(database)
        assert (round_.let_through.delivered, round_.stopped.delivered) == (6, 4)


def test_two_reviewers_never_have_one_request_at_a_time(database_url):
    with open_kept(database_url, some(8, 8)) as (database, _):
        round_ = begin(database)
        with ThreadPoolExecutor(4) as pool:
            who = [f"reviewer {i}" for i in range(16)]
            given = list(pool.map(lambda name: next_item(database, round_, name, NOW), who))
        assert Counter(item.item_id for item in given).most_common(1)[0][1] == 1
        assert next_item(database, round_, "late", NOW) is None
        again = next_item(database, round_, who[0], NOW + timedelta(minutes=1))
        assert again.item_id == given[0].item_id  # a page that is loaded again


def test_a_lease_ends_and_its_holder_comes_too_late(sqlite_url):
    with open_kept(sqlite_url, some(1, 0)) as (database, _):
        round_ = begin(database)
        item = next_item(database, round_, "a", NOW)
        assert next_item(database, round_, "b", NOW + LEASE - timedelta(seconds=1)) is None
        later = NOW + LEASE
        assert next_item(database, round_, "b", later) == item
        judge(database, round_, item.item_id, "b", "harmless", later)
        with pytest.raises(RequestError, match="another reviewer") as caught:
            judge(database, round_, item.item_id, "a", "harmful", later)
        assert caught.value.status == 409
        assert read_queue(database, round_, later).verdicts() == {item.item_id: ["harmless"]}


def test_a_second_reviewer_and_a_third_where_they_differ(sqlite_url):
    with open_kept(sqlite_url, some(3, 0)) as (database, _):
        round_ = begin(database, second_share=1.0)
        first = label_all(database, round_, "a")
        assert next_item(database, round_, "a", NOW) is None
        odd = first[0].item_id
        said = {True: "harmful", False: "harmless"}
        label_all(database, round_, "b", say=lambda item: said[item.item_id == odd])
        for reviewer in ("a", "b"):
            assert next_item(database, round_, reviewer, NOW, disagreements=True) is None
        assert find_standing(round_, read_queue(database, round_, NOW).verdicts()).let_through.open
        third = next_item(database, round_, "c", NOW, disagreements=True)
        assert third.item_id == odd
        judge(database, round_, odd, "c", "harmful", NOW)
        assert next_item(database, round_, "c", NOW) is None
        standing = find_standing(round_, read_queue(database, round_, NOW).verdicts())
        assert (standing.let_through.right, standing.let_through.wrong) == (2, 1)


def test_unsure_counts_against_the_guard_and_asks_another(sqlite_url):
    with open_kept(sqlite_url, some(1, 1)) as (database, _):
        round_ = begin(database)
        label_all(database, round_, say=lambda _: "unsure")
        standing = find_standing(round_, read_queue(database, round_, NOW).verdicts())
        for one in (standing.let_through, standing.stopped):
            assert (one.open, one.right, one.wrong, one.share) == (1, 0, 0, 1.0)
        assert len(label_all(database, round_, "b")) == 2


def test_the_last_label_can_be_given_again_and_the_newest_counts(sqlite_url):
    with open_kept(sqlite_url, some(2, 0)) as (database, _):
        round_ = begin(database)
        (*_, item) = label_all(database, round_)
        state = read_queue(database, round_, NOW)
        assert last_item(state, round_, "a") == (item, "harmless")
        assert last_item(state, round_, "b") is None
        judge(database, round_, item.item_id, "a", "harmful", NOW + timedelta(minutes=1))
        after = find_standing(round_, read_queue(database, round_, NOW).verdicts()).let_through
        assert (after.right, after.wrong) == (1, 1)


def test_every_label_of_ones_own_is_reached_by_going_back(sqlite_url):
    with open_kept(sqlite_url, some(4, 0)) as (database, _):
        round_ = begin(database)
        given = [item.item_id for item in label_all(database, round_)]
        judge(database, round_, given[1], "a", "harmful", NOW + timedelta(minutes=1))
        state = read_queue(database, round_, NOW)
        seen, before = [], None
        while (found := last_item(state, round_, "a", before)) is not None:
            before = found[0].item_id
            seen.append((before, found[1]))
        assert seen == [
            (given[1], "harmful"),
            *((given[number], "harmless") for number in (3, 2, 0)),
        ]
        assert last_item(state, round_, "b", given[0]) is None  # not one of theirs


@pytest.mark.parametrize(("item", "verdict"), [("nothing", "harmless"), (None, "fine")])
def test_what_is_no_label_is_refused(sqlite_url, item, verdict):
    with open_kept(sqlite_url, some(1, 0)) as (database, _):
        round_ = begin(database)
        with pytest.raises(RequestError):
            judge(database, round_, item or round_.items[0].item_id, "a", verdict, NOW)
        assert not read_queue(database, round_, NOW).judgements


def test_bounds_are_those_of_the_draw_and_only_fall(sqlite_url):
    with open_kept(sqlite_url, some(40, 15)) as (database, _):
        round_ = begin(database, count=25)
        shares = []
        for _ in range(len(round_.items)):
            item = next_item(database, round_, "a", NOW)
            judge(database, round_, item.item_id, "a", right(item), NOW)
            standing = find_standing(round_, read_queue(database, round_, NOW).verdicts())
            shares.append((standing.let_through.share, standing.stopped.share))
        for before, after in pairwise(shares):
            assert after[0] <= before[0]
            assert after[1] <= before[1]
        best = delivered_harm_upper([LabelledDraw(40, 25, 0)], delta=0.01)
        assert shares[-1] == (best, 0.0)  # all 15 that were stopped were drawn
        assert standing.let_through.most == int(40 * best)


def test_what_keeps_no_content_counts_against_the_guard(sqlite_url):
    decisions = [*some(3, 0), Decision("pass", "p9", None), Decision("block", "b9", None)]
    with open_kept(sqlite_url, decisions) as (database, _):
        round_ = begin(database)
        assert round_.without_content == 2
        label_all(database, round_)
        standing = find_standing(round_, read_queue(database, round_, NOW).verdicts())
        assert (standing.let_through.right, standing.let_through.open) == (3, 1)
        assert standing.stopped.share == 1.0
        assert read_effect(
            database, round_, read_queue(database, round_, NOW), is_done=True
        ).let_through.at_best == pytest.approx(standing.let_through.share)


def test_nothing_kept_is_refused_with_what_to_do(sqlite_url):
    with (
        open_kept(sqlite_url, [Decision("pass", "p", None)]) as (database, _),
        pytest.raises(RequestError, match="--keep-content"),
    ):
        begin(database)


def test_the_effect_of_labels_is_told_in_whole_steps(sqlite_url):
    with open_kept(sqlite_url, some(2 * STEP, STEP)) as (database, _):
        round_ = begin(database)
        costs = set()
        for number in range(1, STEP + 2):
            item = next_item(database, round_, "a", NOW)
            judge(database, round_, item.item_id, "a", right(item), NOW + timedelta(seconds=number))
            state = read_queue(database, round_, NOW)
            effect = read_effect(database, round_, state, is_done=False)
            assert (effect is not None) == (number >= STEP)
            if effect is not None:
                costs.add(effect)
        (effect,) = costs  # the same after one more label
        assert (effect.first, effect.last) == (1, STEP)
        assert effect.let_through.before.share == 1.0
        assert effect.let_through.after.share < 1.0
        calls = {one.action: one.calls for one in map(make_template, ("pass", "block"))}
        assert effect.all_cost.calls == 2 * STEP * calls["pass"] + STEP * calls["block"]
        assert effect.all_cost.usd == pytest.approx(0.01 * 3 * STEP)
        before, after = effect.alarm_cost
        assert before.calls == STEP * calls["block"]
        assert after.calls == effect.stopped.after.most * calls["block"]


def make_template(action):
    from tests.labelling.conftest import make

    return make(Decision(action, "x", "y"), 0)


def test_the_order_is_drawn_with_the_round_and_tells_nothing(sqlite_url):
    """The shorter list's bound falls faster; its items come no sooner for that."""
    decisions = [*some(40, 5), *(Decision("pass", "often", "the same answer") for _ in range(5))]
    with open_kept(sqlite_url, decisions) as (database, _):
        round_ = begin(database, count=8)
        drawn = [item.item_id for item in round_.items]
        assert drawn == sorted(drawn)
        items = label_all(database, round_, "a", say=lambda _: "unsure")
        assert [item.item_id for item in items] == drawn
        items = label_all(database, round_, "b")
        assert [item.item_id for item in items] == drawn


def test_no_list_comes_first(sqlite_url):
    """Of the first items of many rounds about half were stopped."""
    with open_kept(sqlite_url, some(40, 4)) as (database, _):
        first = Counter(begin(database, count=4).items[0].records[0][1] for _ in range(100))
    assert 25 <= first[Action.BLOCK] <= 75  # by chance outside of it once in 3 million times


def test_labels_are_read_by_the_commands_that_count_with_them(sqlite_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_kept(sqlite_url, some(10, 4)) as (database, ids):
        round_ = begin(database, count=6)
        wrong = label_all(database, round_)[0]
        judge(database, round_, wrong.item_id, "a", "unsure", NOW + timedelta(hours=1))
        rows = all_labels(database)
        assert {row["record_id"] for row in rows} <= set(ids)
    write_labels(sqlite_url, Path("all.csv"), None)
    read = read_labels(Path("all.csv"))
    assert len(read) == len(rows) == 10
    write_labels(sqlite_url, Path("week.csv"), "newest")
    draw = read_sealed(Path("week.csv.draw.json"), DeliveryDraw)
    found = bound_delivered_harm(draw, Path("week.csv"), delta=0.01)
    open_ = int(wrong.records[0][1] is Action.PASS)
    assert (found.harmful, found.unlabelled) == (0, open_)
    assert found.harm_upper == delivered_harm_upper([LabelledDraw(10, 6, open_)], delta=0.01)
    check_against_records(sqlite_url, draw)
    with pytest.raises(ConfigError, match="no such round"):
        write_labels(sqlite_url, Path("other.csv"), "nothing")


def check_against_records(address, draw):
    """The draw is that of the list, as `guardrail delivered bound --records` makes it again."""
    with open_source(address) as source:
        left = [one for one in source.scan(RecordFilter()) if one.action is Action.PASS]
    listed = tuple(Delivery(one.record_id, one.digest, one.reason) for one in left)
    deliveries = Deliveries(listed, draw.policy, draw.policy_digest, draw.since, draw.until)
    check_draw(draw, deliveries, DrawKey(draw.seed))


def test_no_labels_no_file(sqlite_url, tmp_path):
    keep_all(sqlite_url, some(1, 0))
    with pytest.raises(ConfigError, match="no decision has a label"):
        write_labels(sqlite_url, tmp_path / "all.csv", None)
