"""What is counted of records of observe mode, and what is said about enforcing."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.verdict import Action, Observation, Reason
from guardrail.errors import CertificationError, ConfigError
from guardrail.observed.graduation import Advice, report_policy
from guardrail.observed.report import write_observe_report
from guardrail.observed.tally import tally_rows
from guardrail.records.observed_rows import ObservedRow
from guardrail.stats import ObservedCounts, harmless_rate_upper

START = datetime(2026, 11, 3, 23, 59, 58, tzinfo=UTC)


def row(observation="", *, digest="a", stop=False, minutes=0.0, **fields):
    """A record; one of a decision or of an answer that waited for it is judged."""
    decided = observation in ("", "decision")
    reason = Reason.HARMFUL if stop else Reason.CERTIFIED if decided else Reason.NOT_DECIDED
    values = {
        "record_id": f"{observation}-{digest}-{minutes}",
        "created": START + timedelta(minutes=minutes),
        "policy": "p",
        "policy_digest": "d" * 64,
        "action": Action.PASS,
        "reason": reason,
        "observation": Observation(observation),
        "would_block": stop,
        "category": "violence" if stop else "",
        "api_key_id": "",
        "request_digest": digest * 64,
    }
    return ObservedRow(**{**values, **fields})


def tally_of(*rows):
    (found,) = tally_rows(rows)
    return found


def counts(group):
    return (group.requests, group.chosen, group.skipped, group.decided, group.stopped)


def test_answers_and_the_decisions_that_follow_them_are_told_apart():
    found = tally_of(
        row("left out", digest="a"),
        row("skipped", digest="b"),
        row("followed", digest="c"),
        row("followed", digest="d"),
        row("followed", digest="e"),
        row("decision", digest="c"),
        row("decision", digest="d", stop=True),
    )
    assert counts(found.total) == (5, 4, 1, 2, 1)
    assert found.total.count_distinct() == ObservedCounts(4, 1, 2)
    assert (found.total.undecided, found.total.distinct) == (2, 5)
    assert dict(found.categories) == {"violence": 1}
    assert [stop.record_id for stop in found.stops] == ["decision-d-0.0"]


def test_answers_that_waited_are_requests_and_decisions_in_one():
    found = tally_of(row(digest="a"), row(digest="b", stop=True), row(digest="a"))
    assert counts(found.total) == (3, 3, 0, 3, 1)
    assert found.total.count_distinct() == ObservedCounts(2, 1, 0)


def test_what_was_not_judged_counts_as_unknown_and_what_got_no_answer_not_at_all():
    found = tally_of(
        row(digest="a", reason=Reason.ORACLE_FAILED),
        row("followed", digest="b"),
        row("decision", digest="b", reason=Reason.DEADLINE),
        row(digest="c", action=Action.FAULT, reason=Reason.UPSTREAM_FAILED),
    )
    assert counts(found.total) == (2, 2, 0, 0, 0)
    assert found.total.count_distinct() == ObservedCounts(2, 0, 2)
    assert found.faults == 1


def test_a_request_counts_on_its_own_day_by_its_own_key_even_where_the_decision_is_later():
    found = tally_of(
        row("followed", digest="a", api_key_id="k1"),
        row("decision", digest="a", stop=True, minutes=5, api_key_id="k1"),
        row("followed", digest="a", minutes=10, api_key_id="k2"),
        row("decision", digest="a", minutes=11, api_key_id="k2"),
    )
    assert {day: counts(group) for day, group in found.days.items()} == {
        "2026-11-03": (1, 1, 0, 1, 1), "2026-11-04": (1, 1, 0, 1, 0),
    }  # fmt: skip
    assert {key: counts(group) for key, group in found.keys.items()} == {
        "k1": (1, 1, 0, 1, 1), "k2": (1, 1, 0, 1, 0),
    }  # fmt: skip
    assert found.total.count_distinct() == ObservedCounts(1, 1, 0)


def test_a_thousand_copies_of_one_request_say_as_much_as_one():
    rows = [r for _ in range(1000) for r in (row("followed"), row("decision", stop=True))]
    found = tally_of(*rows)
    assert counts(found.total) == (1000, 1000, 0, 1000, 1000)
    assert found.total.count_distinct() == ObservedCounts(1, 1, 0)
    # One of two equal requests was not decided: what it would have been is not known.
    found = tally_of(row("followed"), row("decision"), row("skipped"))
    assert found.total.count_distinct() == ObservedCounts(1, 0, 1)


def test_requests_without_a_digest_are_each_their_own():
    found = tally_of(*(row(request_digest="", record_id=f"r{i}") for i in range(3)))
    assert found.total.count_distinct() == ObservedCounts(3, 0, 0)


def test_a_decision_whose_request_is_in_another_file_is_counted():
    found = tally_of(row("decision", stop=True))
    assert found.total.count_distinct() == ObservedCounts(1, 1, 0)
    assert found.total.undecided == 0


def test_each_policy_stands_by_itself_with_its_versions():
    first, second = tally_rows(
        [row(), row(policy="q"), row(digest="b", policy_digest="e" * 64, policy="q")]
    )
    assert (first.name, second.name) == ("p", "q")
    assert len(second.digests) == 2
    assert second.total.requests == 2


KINDS = st.sampled_from(["", "left out", "skipped", "followed"])


@given(st.lists(st.tuples(KINDS, st.sampled_from("abcdef"), st.booleans(), st.booleans()),
                min_size=1, max_size=30))  # fmt: skip
def test_the_parts_add_up_to_the_whole(events):
    rows = []
    for minutes, (kind, digest, stop, follows) in enumerate(events):
        key = f"k{minutes % 3}"
        rows.append(row(kind, digest=digest, stop=stop and kind == "", minutes=60 * minutes,
                        api_key_id=key))  # fmt: skip
        if kind == "followed" and follows:
            rows.append(row("decision", digest=digest, stop=stop, minutes=60 * minutes + 59,
                            api_key_id=key))  # fmt: skip
    found = tally_of(*rows)
    for groups in (found.days, found.keys):
        sums = [sum(column) for column in zip(*map(counts, groups.values()), strict=True)]
        assert tuple(sums) == counts(found.total)
    seen = found.total.count_distinct()
    assert seen.drawn <= found.total.distinct <= found.total.requests
    chosen = {digest for kind, digest, *_ in events if kind != "left out"}
    assert seen.drawn == len(chosen)
    stopped = {
        digest for kind, digest, stop, follows in events
        if stop and (kind == "" or (kind == "followed" and follows))
    }  # fmt: skip
    assert seen.occurred == len(stopped)
    report = report_policy(found, limit=0.01, delta=0.05)
    assert report.total.rate.lower <= seen.occurred / max(1, seen.drawn) <= report.total.rate.upper
    json.dumps(report.facts())


def many(answered, stopped=0, *, skipped=0, left_out=0):
    """So many distinct requests."""
    rows = []
    kinds = ["followed"] * answered + ["skipped"] * skipped + ["left out"] * left_out
    for number, kind in enumerate(kinds):
        name = f"{number:08x}"
        rows.append(row(kind, request_digest=name * 8, record_id=f"f{name}"))
        if kind == "followed":
            rows.append(row("decision", request_digest=name * 8, record_id=name,
                            stop=number < stopped))  # fmt: skip
    return report_policy(tally_of(*rows), limit=0.01, delta=0.05)


@pytest.mark.parametrize(
    ("report", "advice", "told"),
    [
        (many(400), Advice.READY, "Ready: 0.00 % to 0.92 % of requests"),
        (many(300, 20), Advice.TOO_NOISY, "Too noisy: 4.11 %"),
        (many(100), Advice.TOO_LITTLE_DATA, "about 368 distinct decided requests are enough"),
        (many(400, skipped=40), Advice.TOO_LITTLE_DATA, "40 of 440 chosen requests were not"),
        (many(200, 2), Advice.TOO_LITTLE_DATA, "more days will say"),
        (many(0, skipped=3), Advice.TOO_LITTLE_DATA, "No request was decided"),
        (many(0, left_out=3), Advice.TOO_LITTLE_DATA, "No request was decided"),
    ],
)
def test_advice_and_what_is_missing(report, advice, told):
    assert report.advice is advice
    assert told in report.advice_in_words, report.advice_in_words


def test_a_share_bounds_all_requests_and_skipped_ones_count_as_stopped():
    report = many(300, skipped=5, left_out=700)
    assert report.total.rate.upper == harmless_rate_upper(5, 305, 0.025)
    of_all = report.total.of_all
    assert of_all.lower == 0.0
    # Of 1005 of which 305 were drawn: better than if they were without number.
    assert 5 / 1005 < of_all.upper < report.total.rate.upper
    assert many(300).total.of_all is None


@pytest.mark.parametrize(("limit", "delta"), [(0.01, 0.0), (0.01, 1.0)])
def test_an_impossible_delta_is_refused(limit, delta):
    with pytest.raises(CertificationError):
        report_policy(tally_of(row()), limit=limit, delta=delta)


def test_the_page_needs_nothing_else_and_shows_no_markup_of_strangers(tmp_path):
    hostile = "<script>alert(1)</script>&\"'"
    rows = [
        row("followed", policy=hostile, api_key_id=hostile),
        row("decision", policy=hostile, api_key_id=hostile, stop=True, category=hostile),
        row(digest="b", policy=hostile, policy_digest="e" * 64),
        row(digest="c", policy=hostile, action=Action.FAULT),
    ]
    quiet = report_policy(tally_of(row(action=Action.FAULT)), limit=0.01, delta=0.05)
    reports = [report_policy(tally_of(*rows), limit=0.01, delta=0.05), quiet, many(50, left_out=9)]
    file = tmp_path / "report.html"
    write_observe_report(file, reports)
    page = file.read_text()
    assert "<script" not in page
    assert not re.search(r"(src|href)=|@import|url\(", page)
    assert "2 versions are counted together" in page
    assert page.count("<svg") == 2
    assert "let through" in page
    with pytest.raises(ConfigError, match="cannot be written"):
        write_observe_report(tmp_path / "none" / "r.html", reports)
