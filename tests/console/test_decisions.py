"""The list: pages make the whole list, filters filter, tables open safely in a spreadsheet."""

import csv
import io
import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.console.console import open_console
from guardrail.console.decision_filter import read_place, write_place
from guardrail.database.migrate import open_database
from guardrail.errors import RequestError
from guardrail.records.query import DatabaseSource, RecordFilter, summaries_query
from guardrail.records.rows import RecordSummary
from tests.console.conftest import form_token, make_client
from tests.console.rows import START, clear_rows, insert_rows, make_row

ROW = re.compile(r'data-row="([0-9a-f]{32})"')


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """A database whose records each example sets."""
    database = open_database(str(tmp_path_factory.mktemp("lists") / "records.db"))
    yield database
    database.close()


# Few seconds, so that many records are made at the same one.
records = st.lists(
    st.fixed_dictionaries(
        {
            "second": st.integers(0, 4),
            "action": st.sampled_from(["pass", "block", "fault"]),
            "score": st.none() | st.floats(0, 1),
        }
    ),
    max_size=40,
)


@given(records, st.integers(1, 7), st.sampled_from([None, "block"]), st.none() | st.floats(0, 1))
def test_the_pages_in_either_direction_are_the_whole_list(lists, made, size, action, score):
    clear_rows(lists)
    rows = [
        make_row(n, created=START + timedelta(seconds=one.pop("second")), **one)
        for n, one in enumerate(made)
    ]
    if rows:
        insert_rows(lists, rows)
    which = RecordFilter(action=action, score_from=score)
    source = DatabaseSource(lists)
    expected = [
        row["record_id"]
        for row in sorted(rows, key=lambda r: (r["created"], r["record_id"]), reverse=True)
        if (action is None or row["action"] == action)
        and (score is None or (row["score"] is not None and row["score"] >= score))
    ]
    page = source.page(which, size)
    assert not page.has_newer
    found = [one.record_id for one in page.rows]
    while page.has_older:
        last = page.rows[-1]
        page = source.page(which, size, older_than=(last.created, last.record_id))
        assert page.rows
        assert page.has_newer
        found += [one.record_id for one in page.rows]
    assert found == expected
    while page.rows and page.has_newer:  # and back again
        first = page.rows[0]
        page = source.page(which, size, newer_than=(first.created, first.record_id))
    assert [one.record_id for one in page.rows] == expected[: len(page.rows)]
    assert [one.record_id for one in source.newest(which, 1000)] == expected


@given(
    st.datetimes(timezones=st.just(START.tzinfo)), st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
)
def test_a_place_stands_in_an_address(created, record_id):
    assert read_place(write_place((created, record_id))) == (created, record_id)


@pytest.mark.parametrize("text", ["", "~", "2030-01-01~x", "x~y", "2030-01-01T00:00:00+00:00~"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(RequestError, match="none; go to the first page"):
        read_place(text)


def test_both_databases_page_filter_and_list_values(database_url):
    database = open_database(database_url)
    rows = [
        make_row(n, category=("hate", "violence", "")[n % 3], score=n / 10, policy=f"p{n % 2}",
                 stopped_by=("suffix", "none")[n % 2])
        for n in range(10)
    ]  # fmt: skip
    insert_rows(database, rows)
    source = DatabaseSource(database)
    page = source.page(
        RecordFilter(), 4, older_than=(START + timedelta(seconds=6), rows[6]["record_id"])
    )
    assert [one.request_id for one in page.rows] == ["r5", "r4", "r3", "r2"]
    assert (page.has_newer, page.has_older) == (True, True)
    back = source.page(
        RecordFilter(), 3, newer_than=(START + timedelta(seconds=3), rows[3]["record_id"])
    )
    assert [one.request_id for one in back.rows] == ["r6", "r5", "r4"]
    ranged = source.page(RecordFilter(score_from=0.3, score_to=0.6, category="hate"), 10)
    assert [one.request_id for one in ranged.rows] == ["r6", "r3"]
    tested = source.page(RecordFilter(stopped_by="suffix", since=START + timedelta(seconds=5)), 10)
    assert [(one.request_id, one.stopped_by) for one in tested.rows] == [
        ("r8", "suffix"), ("r6", "suffix"),
    ]  # fmt: skip
    assert source.values("category") == ["hate", "violence"]
    assert source.values("policy", most=1) == ["p0"]
    database.close()


FILTERS = {
    "all": {},
    "verdict": {"action": "block"},
    "reason": {"reason": "harmful"},
    "test": {"stopped_by": "crops"},
    "category": {"category": "hate"},
    "policy": {"policy": "default"},
    "key": {"api_key_id": "key_0"},
    "would block": {"would_block": True},
    "score": {"score_from": 0.9},
    "radius": {"radius_from": 0.5, "radius_to": 0.9},
    "time": {"since": START},
}


@pytest.mark.parametrize("fields", FILTERS.values(), ids=FILTERS)
def test_every_filter_is_answered_in_order_by_an_index(lists, fields):
    """No sort, and no reading of all rows: else a page is slow where there are many."""
    query = summaries_query(RecordFilter(**fields), 51, older_than=(START, "x"))
    written = query.compile(lists._engine, compile_kwargs={"literal_binds": True})
    with lists.read() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {written}").all()
    materialize, search, *shown = [row[-1] for row in plan]  # ids first, then what is shown of them
    assert materialize.startswith("MATERIALIZE")
    assert re.match(r"SEARCH records USING (COVERING )?INDEX records_", search)
    assert shown[1:] == [
        "SEARCH records USING INDEX sqlite_autoindex_records_1 (record_id=?)",
        "USE TEMP B-TREE FOR ORDER BY",  # of one page
    ]


@pytest.fixture
def listed(sqlite_url):
    with open_console(sqlite_url) as console:
        yield console, make_client(console)


def test_a_page_has_fifty_and_leads_on_and_back(listed):
    console, client = listed
    insert_rows(console.database, [make_row(n) for n in range(120)])
    seen, address = [], "/console/decisions?verdict=pass"
    while address:
        page = client.get(address).text
        seen += ROW.findall(page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        address = older and older[1].replace("&amp;", "&")
    assert seen == [make_row(n)["record_id"] for n in reversed(range(120))]
    newer = re.search(r'rel="prev" href="([^"]+)"', page)[1].replace("&amp;", "&")
    assert ROW.findall(client.get(newer).text) == seen[50:100]
    first = re.search(r'rel="prev" href="([^"]+)"', client.get(newer).text)[1]
    assert ROW.findall(client.get(first.replace("&amp;", "&")).text) == seen[:50]
    assert ROW.findall(client.get("/console/decisions/table").text) == seen[:50]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("verdict=block", {1, 3}),
        ("reason=harmful", {1, 3}),
        ("category=hate", {1}),
        ("test=crops", {3}),
        ("test=none&verdict=block", {1}),
        ("policy=strict", {2}),
        ("key=key_1", {2}),
        ("score_from=0.5", {1}),
        ("score_to=0.5", {3}),
        ("radius_from=0.2&radius_to=0.4", {0}),
        ("would_block=yes", {4}),
        ("request=r2", {2}),
        ("since=2030-01-01T00:00:03", {3, 4}),
        ("until=2030-01-01T00:00:01", {0}),
        ("verdict=block&category=hate&score_from=0.95", set()),
    ],
)
def test_each_filter_keeps_what_it_says(listed, query, wanted):
    console, client = listed
    rows = [
        make_row(0, radius=0.3),
        make_row(1, action="block", reason="harmful", category="hate", score=0.9),
        make_row(2, policy="strict", api_key_id="key_1"),
        make_row(3, action="block", reason="harmful", score=0.4, stopped_by="crops"),
        make_row(4, would_block=True),
    ]
    insert_rows(console.database, rows)
    page = client.get(f"/console/decisions?{query}").text
    assert {int(found, 16) for found in ROW.findall(page)} == wanted
    assert ("Nothing matches" in page) is not bool(wanted)


@pytest.mark.parametrize(
    "query",
    [
        "verdict=x",
        "reason=x",
        "test=x",
        "period=x",
        "score_from=x",
        "radius_to=nan",
        "since=x",
        "older_than=x",
    ],
)
def test_a_filter_without_sense_is_said_so(listed, query):
    _, client = listed
    answer = client.get(f"/console/decisions?{query}")
    assert answer.status_code == 400
    assert "That did not work" in answer.text


def test_the_list_says_which_view_stopped_a_decision(listed):
    console, client = listed
    tests = ("crops", "request", "none")
    stopped = [make_row(n, action="block", reason="harmful", stopped_by=test)
               for n, test in enumerate(tests)]  # fmt: skip
    insert_rows(console.database, stopped)
    table = client.get("/console/decisions/table").text
    assert table.count("the test of a view for crops") == 1
    assert "the test of the request" not in table  # the usual case needs no words
    page = client.get("/console/decisions?test=crops").text
    assert '<option value="crops" selected>the test of a view for crops</option>' in page
    assert page.count("data-row=") == 1
    assert "<details open>" in page  # it stands among further filters, which are not hidden then


def test_no_records_yet_is_said_so(listed):
    _, client = listed
    assert "No decisions yet" in client.get("/console/decisions").text


def test_a_table_holds_all_that_the_filter_keeps_and_no_formula(listed):
    console, client = listed
    hostile = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", 'a"b,c', "fine"]
    rows = [make_row(n, model=hostile[n % len(hostile)], policy=f"p{n % 2}") for n in range(1205)]
    insert_rows(console.database, rows)
    answer = client.get("/console/decisions.csv?policy=p0")
    assert answer.headers["content-disposition"] == 'attachment; filename="decisions.csv"'
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert list(table[0]) == list(RecordSummary.__dataclass_fields__)
    assert [int(row["record_id"], 16) for row in table] == list(range(1204, -1, -2))
    models = {row["model"] for row in table}
    assert models == {"'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", 'a"b,c', "fine"}


def test_filters_are_kept_under_a_name_by_each_reader(listed):
    console, client = listed
    token = form_token(client)
    form = {"csrf": token, "name": "  stopped   for hate ", "verdict": "block", "category": "hate",
            "nonsense": "x"}  # fmt: skip
    answer = client.post("/console/decisions/filters", data=form)
    assert answer.headers["location"] == "/console/decisions?verdict=block&category=hate"
    page = client.get("/console/decisions").text
    assert "stopped for hate" in page
    assert 'href="/console/decisions?verdict=block&amp;category=hate"' in page
    client.post("/console/decisions/filters", data={**form, "verdict": "pass"})  # replaces it
    with console.database.read() as connection:
        (kept,) = connection.exec_driver_sql(
            "SELECT filter_id, owner, query FROM saved_filters"
        ).all()
    assert kept[1:] == ("local", "verdict=pass&category=hate")
    remove = f"/console/decisions/filters/{kept[0]}/remove"
    assert client.post(remove, data={"csrf": token}).status_code == 303
    assert "stopped for hate" not in client.get("/console/decisions").text


@pytest.mark.parametrize("name", ["", "   ", "x" * 61])
def test_a_filter_needs_a_name(listed, name):
    _, client = listed
    form = {"csrf": form_token(client), "name": name, "verdict": "block"}
    assert client.post("/console/decisions/filters", data=form).status_code == 400
