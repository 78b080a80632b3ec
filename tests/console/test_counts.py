"""Pages that count one of something say so in the singular."""

import re
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from guardrail.console.console import open_console
from guardrail.console.templates import render_page
from tests.console.conftest import make_client
from tests.console.rows import insert_rows, make_row
from tests.grammar import disagreements


def words_of(page):
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


@pytest.mark.parametrize("number", [1, 2])
def test_the_overview(sqlite_url, number):
    now = datetime.now(UTC)
    priced = make_row(9, created=now, cost_usd=0.1)
    with open_console(sqlite_url) as console:
        insert_rows(console.database, [priced, *(make_row(n, created=now) for n in range(number))])
        text = words_of(make_client(console).get("/console/").text)
    unpriced = "1 decision" if number == 1 else "2 decisions"
    assert f"{unpriced} without a known price" in text
    assert not disagreements(text)


@pytest.mark.parametrize("number", [1, 2])
def test_what_verifying_says(number):
    checked = SimpleNamespace(holds=True, neighbours=number)
    record = SimpleNamespace(signer="")
    text = words_of(render_page("decision_checked.html", checked=checked, record=record))
    said = "so does 1 neighbouring record of" if number == 1 else "so do 2 neighbouring records of"
    assert said in text
    assert not disagreements(text)
