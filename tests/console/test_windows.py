"""Which decisions a page looks at: counts, days in the reader's zone, periods; nothing else."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.console.console import open_console
from guardrail.console.windows import WINDOWS, read_times, read_window
from guardrail.errors import RequestError
from guardrail.records.documents import count_decisions
from tests.console.conftest import make_client
from tests.console.rows import START, insert_rows, make_row

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
DAY = {"since": "2026-03-28T23:00:00.000Z", "until": "2026-03-29T22:00:00.000Z"}  # 23 h, in Berlin


def test_a_day_is_the_readers_where_a_script_says_so_and_else_of_utc():
    sent = read_window({"span": "date", "day": "2026-03-29", **DAY}, NOW)
    assert sent.until - sent.since == timedelta(hours=23)
    plain = read_window({"span": "date", "day": "2026-03-29"}, NOW)
    assert (plain.since, plain.until - plain.since) == (
        datetime(2026, 3, 29, tzinfo=UTC), timedelta(days=1)
    )  # fmt: skip
    yesterday = read_window({"span": "yesterday"}, NOW)
    assert yesterday.since == datetime(2026, 3, 28, tzinfo=UTC)


@given(
    st.sampled_from(sorted(WINDOWS)),
    st.dates().map(str),
    st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1)),  # noqa: DTZ001
)
def test_a_window_is_the_same_when_its_own_fields_ask_for_it_later(choice, day, now):
    if choice == "date" and day.startswith("9999-12-31"):
        return
    window = read_window({"span": choice, "day": day}, now)
    later = now + timedelta(minutes=17)
    assert read_window(window.fields, later) == window


@pytest.mark.parametrize(
    "fields",
    [
        {"span": "17"}, {"span": ""}, {"span": "shadow"}, {"span": "date"},
        {"span": "date", "day": "2026-02-30"}, {"span": "yesterday", **DAY, "since": "soon"},
        {"span": "yesterday", "since": DAY["until"], "until": DAY["since"]},
        {"span": "date", **DAY, "until": "2026-04-29T22:00:00Z"},
    ],
)  # fmt: skip
def test_what_is_no_day_is_refused(fields):
    with pytest.raises(RequestError):
        read_window(fields, NOW)


def test_a_period_ends_now():
    assert read_times({}, "week", NOW) == (NOW - timedelta(days=7), NOW)
    with pytest.raises(RequestError):
        read_times({}, "year", NOW)


def test_the_overview_of_a_day_counts_that_day_alone(sqlite_url):
    with open_console(sqlite_url) as console:
        hours = (0, 5, 23, 24, 30)
        insert_rows(
            console.database,
            [make_row(n, created=START + timedelta(hours=h)) for n, h in enumerate(hours)],
        )
        client = make_client(console)
        times = {"since": START.isoformat(), "until": (START + timedelta(days=1)).isoformat()}
        page = client.get("/console/", params={"period": "date", **times}).text
        assert "<dt>decisions</dt>\n  <dd>3</dd>" in page
        assert 'href="/console/decisions?policy=default&amp;since=2030-01-01T00%3A00' in page
        plain = client.get("/console/", params={"period": "date", "day": "2030-01-02"}).text
        assert "<dt>decisions</dt>\n  <dd>2</dd>" in plain
        assert client.get("/console/?period=date").status_code == 400
        day = START + timedelta(days=1)
        assert count_decisions(console.database, "default", START, day) == 3
        assert count_decisions(console.database, "default", day, None) == 2
