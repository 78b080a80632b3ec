"""The words of the pages are those of the documentation."""

import re
from pathlib import Path

from guardrail.console.console import open_console
from guardrail.console.glossary import GLOSSARY
from tests.console.conftest import make_client

DOCS = Path(__file__).parents[2] / "docs" / "glossary.md"


def test_each_word_has_the_sentence_of_the_docs():
    rows = dict(re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", DOCS.read_text(), re.MULTILINE))
    assert len(rows) > len(GLOSSARY)
    assert {word: rows.get(word) for word in GLOSSARY} == GLOSSARY


def test_every_page_leads_to_the_words(sqlite_url):
    with open_console(sqlite_url) as console:
        client = make_client(console)
        assert 'href="/console/words"' in client.get("/console/decisions").text
        page = client.get("/console/words").text
    assert "<b>cascade</b>" in page
    assert "<b>oracle</b>" in page
