"""What a report is made of: texts stay texts, columns their kind."""

import pytest

from guardrail.errors import ConfigError
from guardrail.html_page.page import make_page, write_page
from guardrail.html_page.parts import format_fact, format_table, format_text

HOSTILE = "<script>alert(1)</script>\x1b[31m\"'"
SHOWN = "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m&quot;&#x27;"


def test_texts_of_whomever_are_shown_and_never_run():
    assert format_text(HOSTILE) == SHOWN
    parts = (
        format_fact(HOSTILE, HOSTILE, HOSTILE, hint=HOSTILE),
        format_table([HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]], label=HOSTILE, words=[1]),
    )
    for part, times in zip(parts, (4, 5), strict=True):
        assert part.count(SHOWN) == times
        assert "<script" not in part
    assert "<title>&lt;script" in make_page(HOSTILE, "", "")


def test_a_column_without_a_name_heads_nothing_and_words_are_marked():
    table = format_table(["", "n", "why"], [["a", "1", "b"]], label="t", words=[2])
    assert "<tr><td></td><th scope=col>n</th><th scope=col class=words>why</th></tr>" in table
    assert "<tr><td>a</td><td>1</td><td class=words>b</td></tr>" in table


def test_a_page_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        write_page(tmp_path / "none" / "a.html", "a", "")
