"""What the first page counts, in both databases; false alarms; results that are kept."""

import asyncio
import itertools
import uuid
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from guardrail.console.kept_results import KeptResults
from guardrail.console.quality import (
    LabelledAlarms,
    count_chosen_alarms,
    count_version_labels,
    read_false_alarms,
)
from guardrail.console.statistics import read_key_use, read_overview
from guardrail.database.migrate import open_database
from guardrail.records.review_tables import LABELS
from tests.console.rows import START, insert_rows, make_row

NOW = START + timedelta(days=40, minutes=7, seconds=13)


@pytest.fixture
def database(database_url):
    opened = open_database(database_url)
    yield opened
    opened.close()


NUMBERS = itertools.count()


def made(ages, **fields):
    return [make_row(next(NUMBERS), created=NOW - age, **fields) for age in ages]


def hours(*ages):
    return [timedelta(hours=age) for age in ages]


@pytest.mark.parametrize(
    ("period", "slots", "decisions"),
    [("hour", 60, 1), ("day", 24, 4), ("week", 28, 6), ("month", 30, 8)],
)
def test_each_period_counts_its_own_in_slots_without_a_gap(database, period, slots, decisions):
    insert_rows(
        database,
        [
            *made(hours(0, 5, 100, 500), cost_usd=0.5, elapsed_s=0.09),
            *made(hours(2, 690, 900), action="block", reason="harmful", category="hate",
                  elapsed_s=7, api_key_id="key_1", stopped_by="crops"),
            *made(hours(3), mode="observe", policy="shadow", would_block=True, elapsed_s=400,
                  stopped_by="request"),
            *made(hours(120), action="fault", reason="deadline", elapsed_s=900),
        ],
    )  # fmt: skip
    found = read_overview(database, period, NOW)
    assert len(found.slots) == slots
    begins = [slot.begins for slot in found.slots]
    assert len({b - a for a, b in itertools.pairwise(begins)}) == 1
    assert found.all.decisions == sum(slot.group.decisions for slot in found.slots) == decisions
    for slot in found.slots:
        assert slot.begins.tzinfo is not None
    if period == "month":
        assert (found.all.stopped, found.all.let_through, found.all.faults) == (2, 5, 1)
        assert found.categories == [("hate", 2)]
        assert found.reasons[0] == ("pass", "certified", 5)
        assert found.tests == [("crops", 2), ("request", 1)]
        assert [(name, mode) for name, mode, _ in found.policies] == [
            ("default", "enforce"), ("shadow", "observe"),
        ]  # fmt: skip
        assert found.policies[1][2].would_block == 1
        assert found.all.known_cost_usd == pytest.approx(2.0)
        assert found.all.unpriced == 4
        assert found.all.calls == 21 * 8
        assert (found.half_s, found.most_s) == (0.1, float("inf"))
        newest = found.slots[-1].group
        assert newest.decisions == 1


def test_what_a_person_decided_is_counted_by_itself(database):
    insert_rows(
        database,
        [
            *made(hours(0, 1), elapsed_s=0.09),
            *made(hours(0), reason="override", elapsed_s=900),
            *made(hours(1), action="block", reason="override", calls=0),
        ],
    )
    found = read_overview(database, "day", NOW)
    assert (found.overridden, found.all.decisions, found.all.stopped) == (2, 2, 0)
    assert {reason for _, reason, _ in found.reasons} == {"certified"}
    assert found.most_s == 0.1


def test_versions_of_a_policy_stand_apart_where_several_decided(database):
    insert_rows(
        database,
        [
            *made(hours(20, 9, 8), policy_digest="old", action="block", reason="harmful"),
            *made(hours(1), policy_digest="new"),
            *made(hours(1), policy_digest="new", reason="override"),
            *made(hours(1, 30), policy="other", policy_digest="one"),
        ],
    )
    found = read_overview(database, "day", NOW).versions
    assert [(name, digest, one.decisions, one.stopped) for name, digest, one in found] == [
        ("default", "new", 1, 0), ("default", "old", 3, 3)
    ]  # fmt: skip


def test_labels_that_were_drawn_are_counted_by_version(database):
    rows = made(hours(20, 9, 8, 40), policy_digest="old", action="block", reason="harmful")
    insert_rows(database, rows)
    verdicts = ["harmless", "harmful", "unsure", "harmless"]
    labels = [
        {
            "label_id": uuid.uuid4().hex, "record_id": row["record_id"], "item": "request",
            "reviewer": "r", "verdict": verdict, "source": source, "note": "", "created": NOW,
        }
        for row, verdict in zip(rows, verdicts, strict=True)
        for source in ("page", "round x")
    ]  # fmt: skip
    with database.write() as connection:
        connection.execute(sa.insert(LABELS), labels)
    found = count_version_labels(database, NOW - timedelta(days=1), NOW)
    assert found == {("default", "old"): LabelledAlarms(labelled=2, harmless=1)}


def test_nothing_at_all_is_counted_as_nothing(database):
    found = read_overview(database, "day", NOW)
    assert found.all.decisions == 0
    assert found.all.share(0) is None
    assert (found.half_s, found.most_s) == (None, None)
    assert read_key_use(database, START) == {}


def test_keys_are_told_apart(database):
    first = made(hours(1, 2), api_key_id="key_1", cost_usd=0.25)
    second = made(hours(1), api_key_id="key_2", action="block")
    insert_rows(database, first + second + made(hours(1, 30)))
    use = read_key_use(database, NOW - timedelta(days=1))
    assert {name: group.decisions for name, group in use.items()} == {"key_1": 2, "key_2": 1, "": 1}
    assert use["key_1"].known_cost_usd == pytest.approx(0.5)
    assert use["key_2"].known_cost_usd is None
    assert use["key_2"].stopped == 1


def label(record, verdict, *, minute=0, source="draw-1", reviewer="key_1", item="request"):
    return {
        "label_id": uuid.uuid4().hex,
        "record_id": record["record_id"],
        "item": item,
        "reviewer": reviewer,
        "verdict": verdict,
        "source": source,
        "note": "",
        "created": NOW + timedelta(minutes=minute),
    }


def test_labels_of_chosen_decisions_are_counted_and_bound_nothing(database):
    stopped = made(hours(1, 2, 3, 4), action="block")
    passed = made(hours(1))
    insert_rows(database, stopped + passed)
    labels = [
        label(stopped[0], "harmless", minute=1, source="page"),
        label(stopped[0], "harmful", minute=2, source="page"),  # the latest of a reviewer counts
        label(stopped[1], "harmless", source="page"),
        label(stopped[2], "unsure", source="page"),
        label(stopped[2], "harmless", item="3", source="page"),  # of one draw
        label(stopped[3], "harmless"),  # of a round
        label(passed[0], "harmless", source="page"),
    ]
    with database.write() as connection:
        connection.execute(sa.insert(LABELS), labels)
    found = count_chosen_alarms(database)
    assert (found.labelled, found.harmless) == (2, 1)
    assert read_false_alarms(database, NOW) == []


def test_a_result_is_counted_once_for_all_who_ask_at_once():
    async def ask():
        kept, counted = KeptResults(), []

        async def count():
            counted.append(datetime.now(NOW.tzinfo))
            await asyncio.sleep(0)
            return len(counted)

        found = await asyncio.gather(*(kept.get("day", count) for _ in range(5)))
        return found, await kept.get("week", count), len(counted)

    assert asyncio.run(ask()) == ([1] * 5, 2, 2)
