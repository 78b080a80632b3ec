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
from guardrail.stats import ObservedCounts, anytime_upper

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
        "key_id": "k" * 16,
    }
    return ObservedRow(**{**values, **fields})


def tally_of(*rows):
    (found,) = tally_rows(rows)
    return found


def counts(group):
    one = group.counts
    return (one.requests, one.chosen, one.skipped, one.decided, one.stopped)


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
    assert (found.total.counts.undecided, found.total.distinct) == (2, 5)
    assert dict(found.categories) == {"violence": 1}
    assert [stop.record_id for stop in found.stops] == ["decision-d-0.0"]


def test_what_a_person_decided_is_counted_nowhere():
    rows = [row(digest="a"), row(digest="b", stop=True)]
    more = [
        row(observation, digest="c", stop=True, reason=Reason.OVERRIDE)
        for observation in ("", "left out")
    ]
    assert counts(tally_of(*rows, *more).total) == counts(tally_of(*rows).total)
    assert tally_rows(more) == []


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
    assert found.total.counts.undecided == 0


def test_each_policy_stands_by_itself_with_its_versions():
    first, second = tally_rows(
        [row(), row(policy="q"), row(digest="b", policy_digest="e" * 64, policy="q")]
    )
    assert (first.name, second.name) == ("p", "q")
    assert len(second.segments) == 2
    assert second.total.counts.requests == 2


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
    assert seen.drawn <= found.total.distinct <= found.total.counts.requests
    chosen = {digest for kind, digest, *_ in events if kind != "left out"}
    assert seen.drawn == len(chosen)
    first = {}
    for kind, digest, stop, follows in events:
        if kind == "" or (kind == "followed" and follows):
            first.setdefault(digest, stop)
    assert seen.occurred == sum(first.values())
    always, sampled = found.total.split_distinct()
    assert always.size + sampled.size == found.total.distinct
    assert always.seen.drawn == always.size == len({one[1] for one in events if one[0] == ""})
    plain = found.total.stopped_share()
    assert 0.0 <= plain.lower <= plain.upper <= 1.0
    report = report_policy(found, limit=0.01, delta=0.05)
    assert report.total.rate.lower <= seen.occurred / max(1, seen.drawn) <= report.total.rate.upper
    json.dumps(report.facts())


def rows_of(answered, stopped=0, *, skipped=0, left_out=0, repeats=1):
    """Rows of so many distinct requests, of which the first one comes so often."""
    rows = []
    kinds = ["followed"] * answered + ["skipped"] * skipped + ["left out"] * left_out
    for number, kind in enumerate(kinds):
        name = f"{number:08x}"
        for _ in range(repeats if number == 0 else 1):
            rows.append(row(kind, request_digest=name * 8, record_id=f"f{name}"))
            if kind == "followed":
                rows.append(row("decision", request_digest=name * 8, record_id=name,
                                stop=number < stopped))  # fmt: skip
    return rows


def many(*args, **options):
    return report_policy(tally_of(*rows_of(*args, **options)), limit=0.01, delta=0.05)


@pytest.mark.parametrize(
    ("report", "advice", "told"),
    [
        (many(500), Advice.READY, "Ready: 0.00 % to 0.92 % of distinct requests like these"),
        (many(300, 20), Advice.TOO_NOISY, "Too noisy: 2.64 %"),
        (many(100), Advice.TOO_LITTLE_DATA, "about 455 distinct decided requests are enough"),
        (many(500, skipped=40), Advice.TOO_LITTLE_DATA, "40 of 540 chosen requests were not"),
        (many(200, 2), Advice.TOO_LITTLE_DATA, "more days will say"),
        (many(0, skipped=3), Advice.TOO_LITTLE_DATA, "No request was decided"),
        (many(0, left_out=3), Advice.TOO_LITTLE_DATA, "No request was decided"),
    ],
)
def test_advice_and_what_is_missing(report, advice, told):
    assert report.advice is advice
    assert told in report.advice_in_words, report.advice_in_words


def test_one_stopped_request_that_is_repeated_keeps_the_policy_from_being_ready():
    """1 of 2000 distinct requests would be stopped, but 100 of 2099 requests."""
    assert many(2000, 1).advice is Advice.READY
    report = many(2000, 1, repeats=100)
    assert report.total.rate == many(2000, 1).total.rate
    assert report.advice is Advice.TOO_NOISY
    assert "4.76 % of the requests seen, repeats counted" in report.advice_in_words
    assert "Some that are stopped are repeated often" in report.advice_in_words
    assert report.total.facts()["stopped_share"] == {
        "known": 100 / 2099, "with_undecided": 100 / 2099,
    }  # fmt: skip


def test_repeats_of_a_decided_request_that_were_not_decided_count_as_stopped():
    rows = rows_of(2000) + [row("skipped", request_digest="00000000" * 8)] * 40
    report = report_policy(tally_of(*rows), limit=0.01, delta=0.05)
    assert report.advice is Advice.TOO_LITTLE_DATA
    assert "40 of 2,040 chosen requests were not decided" in report.advice_in_words
    assert "0.00 % of the requests seen, repeats counted (1.97 %" in report.advice_in_words


def test_the_outcome_of_a_request_is_its_first_decision_however_often_it_is_repeated():
    rows = [row("followed"), row("decision"), row("followed"), row("decision", stop=True)]
    assert tally_of(*rows).total.count_distinct() == ObservedCounts(1, 0, 0)
    assert tally_of(*rows[2:], *rows[:2]).total.count_distinct() == ObservedCounts(1, 1, 0)


def test_whoever_looks_every_day_is_told_ready_wrongly_as_rarely_as_promised():
    """Exact: the chance that a policy just above the limit is ready on any of 24 days."""
    limit, delta, a_day, days = 0.1, 0.2, 20, 24
    alive, wrong, ready_at = [1.0], 0.0, -1
    for n in range(1, a_day * days + 1):
        alive = [
            (alive[k] * (1 - limit) if k < n else 0.0) + (alive[k - 1] * limit if k else 0.0)
            for k in range(n + 1)
        ]
        if n % a_day:
            continue
        while ready_at < n:
            report = report_policy(
                tally_of(*rows_of(n, ready_at + 1)), limit=limit - 1e-9, delta=delta
            )
            if report.advice is not Advice.READY:
                break
            ready_at += 1
        wrong += sum(alive[: ready_at + 1])
        alive[: ready_at + 1] = [0.0] * (ready_at + 1)
    assert ready_at > 20
    assert 0.0 < wrong <= delta / 2


def test_routes_that_decide_every_request_are_a_stratum_of_their_own():
    """30 harmful requests to the check route beside 1000 harmless ones, 100 of them chosen."""
    always = [row(digest=f"{n:02x}", stop=True) for n in range(30)]
    sampled = rows_of(100, left_out=900)
    report = report_policy(tally_of(*sampled, *always), limit=0.01, delta=0.05)
    total = report.total
    assert total.is_split
    assert total.of_all.lower <= 30 / 1030 <= total.of_all.upper < 0.08
    assert total.rate.lower <= 30 / 1030 <= total.rate.upper < 0.12
    assert total.group.stopped_share().lower == pytest.approx(30 / 1030)
    # A request that came by both is known whether it was chosen or not.
    both = tally_of(row("left out"), row(), row("left out", digest="b"))
    first, second = both.total.split_distinct()
    assert (first.size, first.seen.drawn, second.size, second.seen.drawn) == (1, 1, 1, 0)
    # Where every request is decided, all of them are one sample.
    whole = report_policy(tally_of(*rows_of(500), row()), limit=0.01, delta=0.05)
    assert not whole.total.is_split
    assert whole.advice is Advice.READY


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"key_id": "n" * 16}, "the noise key changed (2 keys)"),
        ({"policy_digest": "e" * 64}, "the policy changed (2 versions)"),
        ({"key_id": "n" * 16, "policy_digest": "e" * 64}, "versions) and the noise key changed"),
    ],
)
def test_no_advice_is_given_across_a_change_of_policy_or_key(changed, words, tmp_path):
    old = rows_of(500)
    # Another share is another version; the digest of the policy covers it.
    new = [one._replace(created=START + timedelta(days=2), **changed) for one in rows_of(600)]
    report = report_policy(tally_of(*old, *new), limit=0.01, delta=0.05)
    assert report.advice is Advice.NO_ADVICE
    assert words in report.advice_in_words
    assert (report.total.rate.lower, report.total.rate.upper) == (0.0, 1.0)
    assert report.total.of_all is None
    # Each day lies on one side of the change.
    assert [day.rate.upper < 0.02 for day in report.days] == [True, True]
    assert [key.rate.upper for key in report.keys] == [1.0]
    assert [one["records"] for one in report.facts()["segments"]] == [1000, 1200]
    since = datetime.fromisoformat(report.advice_in_words.split("--since ")[1].split(" ")[0])
    rest = [one for one in [*old, *new] if one.created >= since]
    assert report_policy(tally_of(*rest), limit=0.01, delta=0.05).advice is Advice.READY
    write_observe_report(tmp_path / "r.html", [report])
    assert "changed meanwhile" in (tmp_path / "r.html").read_text()


def test_a_share_bounds_all_requests_and_skipped_ones_count_as_stopped():
    report = many(300, skipped=5, left_out=700)
    assert report.total.rate.upper == anytime_upper(5, 305, 0.025)
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
    assert "the policy changed (2 versions)" in page
    assert "repeats counted" in page
    assert "a confidence sequence" in page
    assert page.count("<svg") == 2
    assert "let through" in page
    with pytest.raises(ConfigError, match="cannot be written"):
        write_observe_report(tmp_path / "none" / "r.html", reports)
