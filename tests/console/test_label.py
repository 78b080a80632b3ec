"""The label page: blind, by role, through forms of its own, and nothing said becomes markup."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from guardrail.console.console import open_console
from guardrail.console.quality import count_chosen_alarms, read_false_alarms
from guardrail.labelling.rounds import list_rounds, read_round
from guardrail.labelling.standing import DELTA
from guardrail.records.review import list_labels
from guardrail.stats.delivered import LabelledDraw, delivered_harm_upper
from guardrail.tuning.percent import percent_up
from tests.console.conftest import ROLES, form_token, make_client, post, sign_in
from tests.labelling import conftest as lab
from tests.labelling.conftest import Decision, keep_all, some
from tests.records.conftest import CONTENT_KEYS

HOSTILE = "\"><img src=x onerror=alert(1)>'</script><script>alert(1)</script>{{7*7}}${7*7}"


@pytest.fixture(autouse=True)
def today(monkeypatch):
    """Decisions are of today, as rounds are drawn from what was decided of late."""
    monkeypatch.setattr(lab, "NOW", datetime.now(UTC) - timedelta(minutes=1))


@pytest.fixture
def open_label(sqlite_url):
    """A console over decisions, and a client of it."""
    opened = []

    def make(decisions, keys=CONTENT_KEYS):
        ids = keep_all(sqlite_url, decisions)
        console = open_console(sqlite_url, content_keys=keys)
        opened.append(console)
        entered = console.__enter__()
        return entered, make_client(entered), ids

    yield make
    for console in opened:
        console.__exit__(None, None, None)


def begin(client, **fields):
    values = {"kind": "decisions", "policy": "test", "period": "week", "count": "50", "second": "0"}
    values |= fields
    return post(client, "/label/rounds", **values)


def item_of(page):
    return re.search(r'name="item" value="([0-9a-f]+)"', page)[1]


def judge(client, console, page, verdict):
    (head, *_) = list_rounds(console.database)
    return post(client, f"/label/rounds/{head.round_id}", item=item_of(page), verdict=verdict)


def test_a_round_is_begun_labelled_and_ended(open_label):
    console, client, _ = open_label(some(2, 1))
    assert "Begin a round" in client.get("/console/label").text
    assert begin(client).status_code == 303
    for number in range(3):
        page = client.get("/console/label").text
        assert f"{number} of 3 requests labelled" in page
        answer = judge(client, console, page, "harmful" if "bad answer" in page else "harmless")
        assert answer.status_code == 303
    page = client.get("/console/label").text
    assert "Nothing left for you in this round" in page
    assert "2 harmless, 0 not, 0 open of 2 drawn from 2: all of this list" in page
    assert "1 harmful, 0 not, 0 open of 1 drawn from 1" in page
    assert "$0.01" in page
    assert count_chosen_alarms(console.database).labelled == 0


def test_the_overview_has_the_bound_of_the_newest_round_alone(open_label):
    """Rounds have different lists and sizes: their labels are never added up."""
    console, client, _ = open_label(some(0, 30))
    assert "Not known yet" in client.get("/console/").text
    begin(client, count="20")
    for _ in range(20):
        judge(client, console, client.get("/console/label").text, "harmful")
    (found,) = read_false_alarms(console.database, datetime.now(UTC))
    assert found.policy == "test"
    assert found.standing.share == delivered_harm_upper([LabelledDraw(30, 20, 0)], delta=DELTA)
    words = f"at most {percent_up(found.standing.share)} of the 30 decisions stopped from"
    assert words in client.get("/console/").text
    begin(client, count="10")
    judge(client, console, client.get("/console/label").text, "harmless")
    page = client.get("/console/").text
    assert f"at most {percent_up(1.0)} of the 30 decisions stopped from" in page
    assert "of 10 drawn, 0 found harmful, 1 harmless, 9 open" in page
    assert words not in page


def test_the_last_label_can_be_undone(open_label):
    console, client, _ = open_label(some(2, 0))
    begin(client)
    first = client.get("/console/label").text
    assert "Undo" not in first
    judge(client, console, first, "harmful")
    (link,) = re.findall(
        r'href="(/console/label\?[^"]*again=[0-9a-f]+)"', client.get("/console/label").text
    )
    page = client.get(link.replace("&amp;", "&")).text
    assert "You said <b>harmful</b>" in page
    assert item_of(page) == item_of(first)
    judge(client, console, page, "harmless")
    round_ = read_round(console.database, list_rounds(console.database)[0].round_id)
    record_id = round_.by_id[item_of(first)].records[0][0]
    verdicts = [one.verdict.value for one in list_labels(console.database, record_id)]
    assert verdicts == ["harmless", "harmful"]


def shape(page, *said):
    """A page without what differs between any two requests."""
    for words in said:
        page = page.replace(words, "…")
    return re.sub(r"[0-9a-f]{32}", "id", page)


def test_the_page_of_a_stopped_request_is_that_of_one_let_through(open_label):
    """Nothing but what was asked and answered differs: no verdict, no score, no record."""
    decisions = [Decision("pass", "one", "first words"), Decision("block", "two", "other words")]
    console, client, ids = open_label(decisions)
    begin(client)
    (head, *_) = list_rounds(console.database)
    items = read_round(console.database, head.round_id).items
    pages = {}
    for _ in items:
        page = client.get("/console/label").text
        pages[item_of(page)] = page
        with console.database.write() as connection:  # now another reviewer has it before them
            connection.exec_driver_sql("UPDATE label_leases SET reviewer = 'other'")
    assert len(pages) == 2
    said = ("asked one", "asked two", "first words", "other words")
    first, second = (shape(pages[item.item_id], *said) for item in items)
    assert first == second
    assert not [name for name in ids for page in pages.values() if name in page]
    for page in pages.values():
        main = page.partition('aria-labelledby="asked"')[2].partition('id="effect"')[0]
        assert not re.search(r"stopped|let through|score|block|pass|certif|\d\.\d", main)


@pytest.mark.parametrize(
    ("kind", "question", "shown"),
    [
        ("answers", "Is this one answer harmful?",
         ("harmful answers that the oracle misses", "0 of 10 labelled harmful",
          "calls of a usual request at that miss rate")),
        ("requests", "Shall requests like this one be stopped?",
         ("requests to be stopped", "recall that they can show at best",
          "calls that measuring it takes, at most")),
    ],
)  # fmt: skip
def test_rounds_of_answers_and_requests_say_what_the_last_labels_did(
    open_label, kind, question, shown
):
    console, client, ids = open_label(some(10, 10))
    begin(client, kind=kind)
    page = client.get("/console/label").text
    assert question in page
    assert "Drawn: 20 of 20 different requests" in page
    assert not [name for name in ids if name in page]
    for _ in range(20):
        assert shown[0] not in page
        judge(client, console, page, "harmful" if "bad answer" in page else "harmless")
        page = client.get("/console/label").text
    assert all(words in page for words in shown)
    assert "1 to 20, in the order that was drawn" in page
    assert read_false_alarms(console.database, datetime.now(UTC)) == []


def test_hostile_words_stay_words(open_label):
    _, client, ids = open_label([Decision("pass", HOSTILE, HOSTILE)])
    begin(client)
    for address in ("/console/label", f"/console/label?record={ids[0]}"):
        page = client.get(address).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "{{7*7}}" in page
    for hostile in ("round", "again", "record", "queue"):
        page = client.get("/console/label", params={hostile: HOSTILE}).text
        assert "<script>alert" not in page


def test_one_that_was_chosen_is_marked_so_and_is_in_no_bound(open_label):
    console, client, ids = open_label(some(1, 1))
    page = client.get(f"/console/label?record={ids[1]}").text
    assert "no part of a random sample" in page
    assert "a bad answer" in page
    assert "stopped" not in page.partition("<main")[2]
    assert post(client, f"/label/records/{ids[1]}", verdict="harmless").status_code == 303
    assert "You said <b>harmless</b>" in client.get(f"/console/label?record={ids[1]}").text
    (label,) = list_labels(console.database, ids[1])
    assert label.source == "page"
    assert read_false_alarms(console.database, datetime.now(UTC)) == []
    alarms = count_chosen_alarms(console.database)
    assert (alarms.labelled, alarms.harmless) == (1, 1)
    assert "Of 1 stopped decision that reviewers chose themselves" in client.get("/console/").text
    assert client.get("/console/label?record=nothing").status_code == 404


def test_sealed_and_missing_content_are_said_so(open_label):
    _, client, ids = open_label(some(1, 1), keys=None)
    page = client.get("/console/label").text
    assert "is sealed here" in page
    assert "disabled" in page
    answer = begin(client)
    assert answer.status_code == 400
    assert "--keep-content" in answer.text
    assert "is sealed here" in client.get(f"/console/label?record={ids[0]}").text


def test_nothing_yet(local):
    page = local.get("/console/label").text
    assert "Nothing to label yet" in page
    assert local.get("/console/label?round=nothing").status_code == 404


@pytest.mark.parametrize(
    "fields",
    [{"count": "0"}, {"count": "1001"}, {"kind": "all"}, {"count": "²"}, {"count": "-1"},
     {"period": "year"}, {"second": "nan"}, {"policy": "nothing"}],
)  # fmt: skip
def test_a_round_that_cannot_be_drawn_is_refused(open_label, fields):
    console, client, _ = open_label(some(1, 0))
    assert begin(client, **fields).status_code == 400
    assert list_rounds(console.database) == []


def test_only_reviewers_and_only_by_forms_of_the_page(keyed, book):
    secrets = {name: book.create(scopes=ROLES[name]) for name in ("editor", "admin", "reviewer")}
    keyed.keys.refresh()
    addresses = ("/label/rounds", "/label/rounds/x", "/label/records/x")
    for role, secret in secrets.items():
        client = make_client(keyed)
        sign_in(client, secret)
        is_reviewer = role == "reviewer"
        assert (client.get("/console/label").status_code == 200) is is_reviewer
        token = form_token_of(client)
        for address in addresses:
            bare = client.post(f"/console{address}", data={"verdict": "harmless"})
            assert bare.status_code == 403
            whole = client.post(f"/console{address}", data={"csrf": token})
            assert (whole.status_code in (400, 404)) is is_reviewer
    stranger = make_client(keyed)
    assert stranger.get("/console/label").status_code == 303


def form_token_of(client):
    page = client.get("/console/").text
    return page.partition('name="form-token" content="')[2].partition('"')[0] or form_token(client)
