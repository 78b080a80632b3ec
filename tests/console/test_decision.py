"""One decision: shown, checked, labelled, kept as a case; and nothing in it becomes markup."""

import asyncio
import dataclasses
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import quote, urlencode

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from guardrail.cases.case import CaseDecision
from guardrail.cases.reading import parse_cases
from guardrail.cases.reviewers import (
    ReviewersCase,
    find_obstacle,
    keep_case,
    load_reviewers_cases,
)
from guardrail.console.console import open_console
from guardrail.console.decision_view import view_decision
from guardrail.console.pages.decision import Appeal
from guardrail.console.picture_view import view_pictures
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import RequestError
from guardrail.images.keys import KeyRing, NoiseKey
from guardrail.records.content import ContentKeys
from guardrail.records.open import open_journal
from guardrail.records.origin import Origin
from guardrail.records.query import DatabaseSource
from guardrail.records.record import SampleRecord
from guardrail.records.recorder import Recorder
from guardrail.records.tables import CONTENTS, RECORDS
from guardrail.records.writer import RecordWriter
from guardrail.types import Outcome
from tests.console.conftest import form_token, make_client
from tests.records.conftest import (
    CLEAN,
    CONTENT_KEYS,
    HARM,
    every_other,
    make_engine,
    make_record,
    request,
)
from tests.records.test_threats import THREATS, measured

HOSTILE = "\"><img src=x onerror=alert(1)>'</script><script>alert(1)</script>{{7*7}}${7*7}"

PATIENT = {"retries": 0, "call_timeout_s": 300.0, "deadline_s": 600.0}  # on a busy machine as well


def keep(address, script, *, keys=CONTENT_KEYS, chat=None, count=1, engine=None, **origin):
    """The ids of decisions that a real engine made."""

    async def go():
        ids = []
        for _ in range(count):
            decider = engine or make_engine(script, limits=PATIENT)
            asked, pictures = request()
            asked = asked if chat is None else dataclasses.replace(asked, **chat)
            verdict = await decider.decide(asked, pictures)
            recorder = Recorder(writer, decider, content_keys=keys)
            ids.append(await recorder.keep(verdict, asked, Origin(**origin)))
        return ids

    journal = open_journal(address)
    writer = RecordWriter(journal)
    try:
        return asyncio.run(go())
    finally:
        writer.close()
        journal.close()


@pytest.fixture
def shown(sqlite_url):
    with open_console(sqlite_url, content_keys=CONTENT_KEYS) as console:
        yield sqlite_url, console, make_client(console)


def test_a_pass_shows_what_was_said_how_far_it_holds_and_every_draw(shown):
    address, _, client = shown
    (record_id,) = keep(address, (CLEAN,), api_key_id="key_0123456789abcdef")
    page = client.get(f"/console/decisions/{record_id}").text
    for words in ("let through", "a secret question", CLEAN, "32 of 32", "how far it holds",
                  "levels", "Promised: a picture with a smaller share is stopped", "Shown here",
                  "The exact statement", "key_0123456789abcdef"):  # fmt: skip
        assert words in page, words
    assert page.count('class="harmless"') == 32
    assert page.count('<svg class="chart"') == 4


def test_a_block_shows_which_answers_were_harmful(shown):
    address, _, client = shown
    (record_id,) = keep(address, every_other)
    page = client.get(f"/console/decisions/{record_id}").text
    assert "stopped" in page
    assert page.count('class="harmful') >= 10
    assert "Shown here" not in page


def test_the_recall_of_each_threat_is_shown(shown):
    address, _, client = shown
    engine = measured(make_engine((CLEAN,), limits=PATIENT, threats=THREATS))
    (record_id,) = keep(address, (CLEAN,), engine=engine)
    page = client.get(f"/console/decisions/{record_id}").text
    rules = engine.rules
    said = rules.recall.sentences(rules.threats.settings)
    assert list(said) == ["l2", "crops", "suffix"]
    assert all(str(escape(sentence)) in page for sentence in said.values())
    assert "<b>Recall, suffix.</b>" in page


@pytest.mark.parametrize(
    ("keys", "words"),
    [(None, "is sealed"), (ContentKeys(KeyRing(NoiseKey(bytes([7] * 32)))), "cannot be opened")],
)
def test_content_that_cannot_be_opened_is_said_so(sqlite_url, keys, words):
    (record_id,) = keep(sqlite_url, (CLEAN,))
    with open_console(sqlite_url, content_keys=keys) as console:
        page = make_client(console).get(f"/console/decisions/{record_id}").text
    assert words in page
    assert CLEAN not in page


def test_content_that_was_not_kept_or_was_erased_is_said_so(shown):
    address, console, client = shown
    (without,) = keep(address, (CLEAN,), keys=None)
    assert "was not kept" in client.get(f"/console/decisions/{without}").text
    (erased,) = keep(address, (CLEAN,))
    with console.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM contents")
    assert "was erased" in client.get(f"/console/decisions/{erased}").text


def test_verifying_computes_it_again(shown):
    address, console, client = shown
    first, second, third = keep(address, (CLEAN,), count=3)
    token = form_token(client)

    def verify(record_id):
        headers = {"hx-request": "true"}
        address = f"/console/decisions/{record_id}/verify"
        return client.post(address, data={"csrf": token}, headers=headers).text

    assert "It holds" in verify(second)
    assert "2 neighbouring records" in verify(second)
    assert "1 neighbouring record " in verify(first)
    with console.database.write() as connection:
        is_it = RECORDS.c.record_id == second
        connection.execute(sa.update(RECORDS).where(is_it).values(action="block"))
    assert "does not hold: the record does not hold: its column" in verify(second)
    with console.database.write() as connection:
        is_it = RECORDS.c.record_id == second
        connection.execute(sa.update(RECORDS).where(is_it).values(action="pass", digest="0"))
    assert "does not hold" in verify(third)
    whole = client.post(
        f"/console/decisions/{first}/verify", data={"csrf": token}
    )  # without script
    assert "It holds" in whole.text
    assert "<h1>" in whole.text


def test_a_certificate_that_does_not_hold_is_said_so(shown):
    address, console, client = shown
    (record_id,) = keep(address, (CLEAN,))
    with console.database.write() as connection:
        document = connection.execute(sa.select(RECORDS.c.document)).scalar_one()
        changed = document.replace('"harmless_rate_lower":0.', '"harmless_rate_lower":0.9')
        assert changed != document
        connection.execute(sa.update(RECORDS).values(document=changed))
    page = client.get(f"/console/decisions/{record_id}")
    assert page.status_code == 200
    assert "The certificate does not hold" in page.text


def test_labels_stay_and_name_their_reviewer(shown):
    address, console, client = shown
    (record_id,) = keep(address, every_other)
    token = form_token(client)
    for verdict, item in (("harmful", "request"), ("harmless", "request"), ("unsure", "3")):
        form = {"csrf": token, "verdict": verdict, "item": item, "note": HOSTILE}
        answer = client.post(f"/console/decisions/{record_id}/labels", data=form)
        assert answer.headers["location"] == f"/console/decisions/{record_id}#labels"
    with console.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT record_id, item, reviewer, verdict, source FROM labels ORDER BY created"
        ).all()
    assert rows == [
        (record_id, "request", "local", "harmful", "page"),
        (record_id, "request", "local", "harmless", "page"),
        (record_id, "3", "local", "unsure", "page"),
    ]
    page = client.get(f"/console/decisions/{record_id}").text
    assert "draw 4" in page
    assert_harmless(page)
    overview = client.get("/console/").text
    assert "Of 1 stopped decision that reviewers chose themselves, 1 was found harmless" in overview


@pytest.mark.parametrize(
    "fields",
    [{"verdict": "bad"}, {"verdict": "harmful", "item": "99"}, {},
     {"verdict": "harmful", "note": "x" * 2001}],
)  # fmt: skip
def test_a_label_without_sense_is_refused(shown, fields):
    address, console, client = shown
    (record_id,) = keep(address, (CLEAN,))
    form = {"csrf": form_token(client), **fields}
    assert client.post(f"/console/decisions/{record_id}/labels", data=form).status_code == 400
    with console.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM labels").scalar() == 0


def make_case(client, record_id, **fields):
    form = {"csrf": form_token(client), "name": "a threat", "expected": "stopped", **fields}
    return client.post(f"/console/decisions/{record_id}/case", data=form)


def test_a_case_keeps_what_was_asked_under_its_own_seal(shown):
    address, console, client = shown
    (record_id,) = keep(address, (HARM,))
    assert make_case(client, record_id, name=" a  threat ").status_code == 303
    assert make_case(client, record_id, expected="block").status_code == 400
    assert make_case(client, record_id, name=" ").status_code == 400
    with console.database.read() as connection:
        ((case_id, name, expected, sealed),) = connection.exec_driver_sql(
            "SELECT case_id, name, expected, document FROM cases"
        ).all()
    assert (name, expected) == ("a threat", "stopped")
    assert "a secret question" not in str(sealed)
    assert "a secret question" in str(CONTENT_KEYS.open(sealed, case_id))
    link = f'<a href="/console/cases#{case_id}">a threat</a>'
    assert link in client.get(f"/console/decisions/{record_id}").text


def test_a_kept_case_stays_when_its_record_is_removed_until_it_is_removed(shown):
    address, console, client = shown
    (record_id,) = keep(address, (HARM,))
    make_case(client, record_id)
    with console.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM records")
    page = client.get("/console/cases").text
    assert "guardrail policy test FILE --cases cases.yaml" in page
    (case,) = parse_cases(client.get("/console/cases.yaml").content, file="cases.yaml")
    (loaded,), closed = load_reviewers_cases(console.database, CONTENT_KEYS)
    assert (loaded, closed) == (dataclasses.replace(case, file=None, line=None), 0)
    assert load_reviewers_cases(console.database, None) == ([], 1)
    remove = re.search(r'action="(/console/cases/\w+/remove)"', page)[1]
    for status in (303, 404):
        assert client.post(remove, data={"csrf": form_token(client)}).status_code == status
    assert "No case was kept" in client.get("/console/cases").text
    assert client.get("/console/cases.yaml").status_code == 404


def test_without_a_key_a_case_holds_how_the_answers_were_judged(sqlite_url):
    (record_id,) = keep(sqlite_url, (HARM,))
    with open_console(sqlite_url) as console:
        assert make_case(make_client(console), record_id).status_code == 303
        (case,), _ = load_reviewers_cases(console.database, None)
    assert "a secret question" not in repr(case)
    assert {one.answer for one in case.given.answers} == {None}


def test_no_case_is_offered_or_kept_where_none_can_be_made(shown):
    address, console, _ = shown
    (record_id,) = keep(address, (CLEAN,))
    record = dataclasses.replace(DatabaseSource(console.database).find(record_id), remembered=True)
    assert "its verdict was remembered" in find_obstacle(record)
    with pytest.raises(RequestError, match="its verdict was remembered"):
        keep_case(console.database, record, reviewer="me", name="x", expected="stopped")


def test_a_decision_that_is_not_there_is_404(shown):
    _, _, client = shown
    answer = client.get("/console/decisions/nothing")
    assert answer.status_code == 404
    assert "no such decision" in answer.text


def test_the_neighbours_are_those_of_the_list_that_the_reader_came_from(shown):
    address, _, client = shown
    first, *_, last = keep(address, (CLEAN,)) + keep(address, (HARM,)) + keep(address, (CLEAN,))
    page = client.get(f"/console/decisions/{first}?verdict=pass").text
    assert re.search(r'rel="prev" href="([^"]+)"', page)[1] == (
        f"/console/decisions/{last}?verdict=pass"
    )
    assert 'rel="next"' not in page


# What records and forms may hold becomes text, and never an element or an attribute.


class Markup(HTMLParser):
    """Every element of a page, as a browser finds them."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


def assert_harmless(page):
    """Only scripts of ours, no inline style, no handler in an attribute, no foreign address."""
    elements = Markup(page).elements
    scripts = [given.get("src") or "" for tag, given in elements if tag == "script"]
    assert [one.partition("?")[0] for one in scripts] == [
        "/console/static/vendor/htmx.min.js",
        "/console/static/console.js",
    ]
    for tag, attributes in elements:
        assert tag not in ("iframe", "object", "embed", "base", "style"), tag
        assert not any(name.startswith("on") or name == "style" for name in attributes), attributes
        for name in ("href", "src", "action", "hx-get", "hx-post"):
            assert attributes.get(name, "#").startswith(("/console/", "#")), attributes
    return elements


def test_a_hostile_text_in_every_place_stays_text(shown):
    address, console, client = shown
    said = {"role": HOSTILE, "content": [{"type": "text", "text": HOSTILE}, {"odd": HOSTILE}]}
    origin = dict.fromkeys(("request_id", "route", "api_key_id"), HOSTILE)
    (record_id,) = keep(address, (f"a nice {HOSTILE}",), chat={"model": HOSTILE}, **origin)
    content = {"messages": [said], "answer": {"content": HOSTILE, HOSTILE: HOSTILE},
               "answers": {"0": HOSTILE, "1": {HOSTILE: HOSTILE}}, "parameters": {}}  # fmt: skip
    sealed = CONTENT_KEYS.seal(content, record_id)
    with console.database.write() as connection:
        connection.execute(sa.update(CONTENTS).values(sealed=sealed))
    form = {"csrf": form_token(client), "verdict": "block"}
    client.post("/console/decisions/filters", data={**form, "name": HOSTILE[:60]})
    client.post("/console/decisions/filters", data={**form, "name": "x", "category": HOSTILE})
    own = client.get(f"/console/decisions/{record_id}").text
    assert_harmless(own)
    assert own.count(escape(HOSTILE)) >= 8
    query = urlencode({"category": HOSTILE, "policy": HOSTILE, "model": HOSTILE, "key": HOSTILE})
    for path in ("/decisions", "/", "/health", f"/decisions?{query}", f"/decisions/table?{query}&",
                 f"/decisions/{quote(HOSTILE, safe='')}", f"/{quote(HOSTILE, safe='')}",
                 f"/decisions?{urlencode({'verdict': HOSTILE})}"):  # fmt: skip
        page = client.get(f"/console{path}").text
        if "table" in path:
            page += own[: own.index("</head>")]
        assert_harmless(page)


texts = st.text(max_size=30) | st.sampled_from([HOSTILE, "javascript:alert(1)", "\0", "‮", "{{x}}"])


@pytest.fixture(scope="module")
def template():
    """Renders one decision without a database."""
    record = make_record(every_other)

    def render(**fields):
        from guardrail.console.templates import render_page
        from guardrail.records.review import LabelVerdict

        class Visit:
            form_token = "t"
            menu = ()
            visitor = None

            class console:  # noqa: N801
                content_keys = None

            @staticmethod
            def may(_role):
                return True

        class Filter:
            query = ""

        changed = dataclasses.replace(record, **fields)
        view = view_decision(changed, None)
        shown = view_pictures(changed, view.certificate, {0}, has_keys=True)
        made = ReviewersCase(
            case_id="c", record_id="r", name=fields.get("route", ""), note="", reviewer="",
            expected=CaseDecision.STOPPED, is_sealed=True, created=datetime.now(UTC),
        )  # fmt: skip
        return render_page("decision.html", visit=Visit, view=view, shown=shown,
                           filter=Filter, labels=[],
                           cases=[made], no_case="", whole="request", actions=[],
                           verdicts=tuple(LabelVerdict),
                           checked=None, older="", newer="",
                           appeal=Appeal((), ("pass", "block"), ""))  # fmt: skip

    return render


@settings(max_examples=25)
@given(st.data())
def test_whatever_a_record_holds_stays_text(template, data):
    draw = data.draw
    names = ("route", "request_id", "principal", "api_key_id", "policy", "upstream", "model",
             "oracle_revision", "failure", "unmeasured", "code_version", "signer")  # fmt: skip
    fields = {name: draw(texts, label=name) for name in names}
    fields["models"] = tuple(draw(st.lists(texts, max_size=2)))
    fields["unscanned"] = tuple(draw(st.lists(texts, max_size=2)))
    fields["action"] = draw(st.sampled_from(list(Action)))
    fields["reason"] = draw(st.sampled_from(list(Reason)))
    fields["samples"] = tuple(
        SampleRecord(index=index, outcome=draw(st.sampled_from(list(Outcome))),
                     score=draw(st.none() | st.floats(0, 1)), reason=draw(texts),
                     field=draw(texts), answer_chars=3, unscanned=False, unmeasured="",
                     failure=draw(texts), elapsed_s=0.1)
        for index in range(draw(st.integers(0, 3)))
    )  # fmt: skip
    elements = assert_harmless(template(**fields))
    plain = assert_harmless(template(**{**fields, **dict.fromkeys(names, "x")}))
    # No text adds an element; an empty one leaves out its line.
    assert len(elements) <= len(plain)
