"""Suffix views, code point for code point, against suffixes that are put on."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.canonical_chat import CanonicalChat, canonical_chat
from guardrail.engine.suffixes import find_ends, last_user_text, with_last_user_text
from guardrail.engine.threats import Suffix, SuffixUnit
from guardrail.types import Chat, image_placeholder

SPACES = [chr(code) for code in range(0x3001) if chr(code).isspace()]
WORD = st.text(st.sampled_from("aZ0.\u0301\u00e9\u4e2d\u200b\U0001f600"), min_size=1, max_size=4)
SPACE = st.text(st.sampled_from(SPACES), min_size=1, max_size=3)


def cut_words(text, most):
    return tuple(text[:end] for end in find_ends(text, Suffix(SuffixUnit.WORDS, most)))


def cut_characters(text, most):
    return tuple(text[:end] for end in find_ends(text, Suffix(SuffixUnit.CHARACTERS, most)))


@st.composite
def suffixes(draw, most):
    """White space, and then at most `most` words; how many there are beside it."""
    count = draw(st.integers(0, most))
    words = "".join(draw(SPACE) + draw(WORD) for _ in range(count))
    return words + draw(st.one_of(st.just(""), SPACE)), count


@given(st.text(), st.data(), st.integers(0, 6))
def test_some_view_is_the_text_before_a_suffix_of_words(before, data, most):
    suffix, count = data.draw(suffixes(most))
    views = cut_words(before + suffix, most)
    if before.split():
        assert views[count] == before.rstrip()
    else:
        assert len(views) == count


@given(st.text(), st.text(max_size=8))
def test_some_view_is_the_text_before_a_suffix_of_characters(before, suffix):
    views = cut_characters(before + suffix, 8)
    if before:
        assert views[len(suffix)] == before
    assert len(views) == min(9, len(before + suffix))


@given(st.text(), st.integers(0, 5))
def test_views_are_beginnings_with_a_word_and_each_is_shorter(text, most):
    views = cut_words(text, most)
    assert len(views) == min(most + 1, len(text.split()))
    for j, view in enumerate(views):
        assert text.startswith(view)
        assert len(view.split()) == len(text.split()) - j
        assert not view[-1].isspace()


def test_every_small_text_by_brute_force():
    draw = random.Random(3)
    for _ in range(3000):
        text = "".join(draw.choice("ab \u00a0\u2003\t") for _ in range(draw.randrange(9)))
        for count in range(3):
            added = "".join(draw.choice(SPACES) + draw.choice("xyz") for _ in range(count))
            assert not text.split() or cut_words(text + added, 2)[count] == text.rstrip()


def test_nothing_is_normalised():
    text = "e\u0301 \u2126 \ud83d caf\u00e9"  # combining, a sign with a canonical twin, a lone half
    assert cut_words(text, 2) == (text, "e\u0301 \u2126 \ud83d", "e\u0301 \u2126")
    assert cut_characters(text, 1)[1] == text[:-1]


PART = {"type": "image_url", "image_url": {"url": image_placeholder(0)}}
TEXTS = [{"type": "text", "text": text} for text in ("x", "a b")]
CHATS = {
    "one text": ([{"role": "user", "content": "a b"}], "a b"),
    "parts": ([{"role": "user", "content": [TEXTS[1], PART]}], "a b"),
    "the last of two": ([{"role": "user", "content": TEXTS}], "a b"),
    "an answer behind": (
        [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "no"}],
        "a b",
    ),
    "an earlier turn": (
        [{"role": "user", "content": "x"}, {"role": "user", "content": "a b"}],
        "a b",
    ),
    # What has no word switches no view off.
    "a picture behind it": (
        [{"role": "user", "content": TEXTS}, {"role": "user", "content": [PART]}],
        "a b",
    ),
    "nothing behind it": (
        [{"role": "user", "content": "a b"}, {"role": "user", "content": None},
         {"role": "user", "content": ""}, {"role": "user", "content": []}],
        "a b",
    ),
    "an empty part behind it": (
        [{"role": "user", "content": [*TEXTS, {"type": "text", "text": ""}]}],
        "a b",
    ),
    "a picture alone": ([{"role": "user", "content": [PART]}], None),
    "nothing said": ([{"role": "user", "content": None}], None),
    "no user": ([{"role": "system", "content": "a b"}], None),
}  # fmt: skip
UNITS = list(SuffixUnit)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", CHATS)
def test_the_last_text_of_the_user_is_cut_and_nothing_else(name, unit):
    messages, text = CHATS[name]
    chat = canonical_chat(Chat("m", tuple(messages), {"temperature": 0.5}, pictures=1))
    assert last_user_text(chat, unit) == text
    if text is None:
        with pytest.raises(ValueError, match="no text of the user"):
            with_last_user_text(chat, unit, "a")
        return
    cut = with_last_user_text(chat, unit, "a")
    assert isinstance(cut, CanonicalChat)
    assert canonical_chat(cut) == cut
    assert last_user_text(cut, unit) == "a"
    assert with_last_user_text(cut, unit, text) == chat
    assert last_user_text(chat, unit) == text  # the request itself is as it was


@pytest.mark.parametrize("blank", [*SPACES, "".join(SPACES)])
def test_a_blank_text_has_characters_and_no_word(blank):
    parts = [{"type": "text", "text": text} for text in ("a b", blank)]
    chat = canonical_chat(Chat("m", ({"role": "user", "content": parts},), {}))
    assert last_user_text(chat, SuffixUnit.WORDS) == "a b"
    assert last_user_text(chat, SuffixUnit.CHARACTERS) == blank


MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["user", "assistant"]), st.text("a \u2028", max_size=3)),
        st.tuples(st.just("user"), st.lists(st.text("a \u2028", max_size=3), max_size=3)),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("unit", UNITS)
@given(MESSAGES, st.sampled_from([" b", "b", "\n", " b c", "  "]))
def test_a_request_is_found_again_behind_any_suffix(unit, given_messages, suffix):
    """The cover: of the request with a suffix, some view is the request without it."""
    messages = [
        {"role": role, "content": said if isinstance(said, str) else
         [{"type": "text", "text": text} for text in said]}
        for role, said in given_messages
    ]  # fmt: skip
    before = canonical_chat(Chat("m", tuple(messages), {}))
    text = last_user_text(before, unit)
    words = unit is SuffixUnit.WORDS
    if text is None or (words and not suffix[0].isspace()):
        return
    after = with_last_user_text(before, unit, text + suffix)
    views = (cut_words if words else cut_characters)(last_user_text(after, unit), 4)
    held = with_last_user_text(before, unit, text.rstrip()) if words else before
    assert held in [with_last_user_text(after, unit, view) for view in views]
