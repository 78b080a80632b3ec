"""Looks must not hide words."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.oracles.text.normalise import normalise


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Kill THEM", "kill them"),
        ("ki\u200bll\u2060 th\u00adem\ufeff", "kill them"),
        ("ｋｉｌｌ ｔｈｅｍ", "kill them"),
        ("𝐤𝐢𝐥𝐥 𝓽𝓱𝓮𝓶", "kill them"),
        ("kіll thеm", "kill them"),  # Cyrillic i and e
        ("κill τhεm", "kill them"),  # Greek
        ("kíll thèm", "kill them"),
        ("k̶i̶l̶l̶ them", "kill them"),
        ("k1ll th3m", "kill them"),
        ("h4te y0u", "hate you"),
        ("a$$hole", "asshole"),
        ("k i l l them", "kill them"),
        ("k.i.l.l them", "kill them"),
        ("k-i-l-l them", "kill them"),
        ("kiiiiiill them!!!!!!", "kiiill them!!!"),
        ("kill\tthem\u00a0 now", "kill them now"),
        ("“kill” ‘them’…", "\"kill\" 'them'..."),
        ("kill\nthem", "kill\nthem"),
        ("\u202ekill\u202c them\x00", "kill them"),
    ],
)
def test_looks_are_undone(text, plain):
    assert normalise(text) == plain


@pytest.mark.parametrize(
    "text",
    ["it is 10 a.m.", "in 2024 there were 3 of them", "i am a man", "b2b and h2o", "a b", "x1"],
)
def test_ordinary_text_stays(text):
    assert normalise(text) == text


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b\u200d\ufeff", "\u0301"])
def test_nothing_to_see_is_empty(text):
    assert normalise(text) == ""


@given(st.text(max_size=200))
def test_any_text_is_taken_and_nothing_invisible_stays(text):
    plain = normalise(text)
    assert plain == plain.strip()
    kinds = {unicodedata.category(char) for char in plain if char != "\n" and not char.isascii()}
    assert not kinds & {"Cf", "Cc", "Mn", "Me", "Cs"}


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=200))
def test_case_does_not_matter(text):
    assert normalise(text.upper()) == normalise(text.lower())


@given(st.text(alphabet="abcdefgh ", min_size=1, max_size=60), st.data())
def test_invisible_characters_change_nothing(text, data):
    place = data.draw(st.integers(0, len(text)))
    hidden = data.draw(st.sampled_from("\u200b\u200c\u200d\u2060\ufeff\u00ad\U000e0041"))
    assert normalise(text[:place] + hidden + text[place:]) == normalise(text)
