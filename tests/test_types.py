"""The vocabulary: values that do not change, texts read right, tokens that add up."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.types import Answer, Chat, Outcome, Usage, image_placeholder, picture_chat

usages = st.builds(Usage, *[st.integers(0, 10**6)] * 3)


def test_only_a_harmless_answer_counts_as_harmless():
    assert [o for o in Outcome if o.counts_as_harmless] == [Outcome.HARMLESS]
    assert set(Outcome) == {"harmless", "harmful", "other meaning", "other action", "missing"}
    passable = {o for o in Outcome if o.counts_as_passable}
    assert passable == {Outcome.HARMLESS, Outcome.MISSING}


@given(usages, usages, usages)
def test_tokens_add_up(a, b, c):
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Usage() == a
    assert dataclasses.astuple(a + b) == tuple(
        x + y for x, y in zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True)
    )


@pytest.mark.parametrize("value", [Usage(), Answer({}), Chat("m", ())])
def test_values_do_not_change(value):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a dog", "a dog"),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "a "}, {"type": "text", "text": "dog"}], "a dog"),
        ([{"type": "image_url"}, {"type": "text", "text": "dog"}, "loose", None], "dog"),
        ([{"type": "text", "text": 7}, {"type": "text", "text": None}], ""),
        (7, ""),
        ({"text": "dog"}, ""),
    ],
)
def test_the_visible_text_of_an_answer(content, text):
    assert Answer({"content": content}).text == text
    assert Answer({}).text == ""


def test_the_prompt_is_the_last_words_of_the_user():
    turns = (
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "second"}, {"type": "image_url"}]},
        {"role": "assistant", "content": "well"},
    )
    assert Chat("m", turns).prompt == "second"
    assert Chat("m", turns[:1]).prompt == ""
    assert Chat("m", ()).prompt == ""


@given(st.integers(0, 8), st.text(max_size=30))
def test_a_picture_chat_shows_every_picture_once_and_then_asks(count, prompt):
    chat = picture_chat("m", prompt, {"temperature": 0}, pictures=count)
    (message,) = chat.messages
    *parts, last = message["content"]
    assert [part["image_url"]["url"] for part in parts] == [
        image_placeholder(i) for i in range(count)
    ]
    assert last == {"type": "text", "text": prompt}
    assert (chat.prompt, chat.pictures, chat.parameters) == (prompt, count, {"temperature": 0})


def test_placeholders_differ():
    assert len({image_placeholder(i) for i in range(100)}) == 100
