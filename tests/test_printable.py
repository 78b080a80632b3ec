"""What a terminal would obey is shown as a code; what people read stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.printable import show_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a cat", "a cat"),
        ("größer 猫 → ✓", "größer 猫 → ✓"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\rc\td", "a\\x0ab\\x0dc\\x09d"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2028b\x9b31m", "a\\u2028b\\x9b31m"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("a\u3000b", "a\u3000b"),
    ],
)
def test_examples(text, shown):
    assert show_text(text) == shown


@given(st.text())
def test_nothing_is_left_that_acts(text):
    shown = show_text(text)
    assert all(c.isprintable() or c.isspace() for c in shown)
    assert not set(shown) & {"\n", "\r", "\t", "\x1b", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"}
