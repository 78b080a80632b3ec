"""Token probabilities say no word that the answer does not say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.api.chat.logprobs import format_logprobs

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def entry(token, data=None, **fields):
    return {"token": token, "logprob": -0.5, "bytes": data, "top_logprobs": [], **fields}


def told(content, *entries, **fields):
    return format_logprobs(
        {"content": list(entries), "refusal": None, **fields}, {"content": content}
    )


@given(TEXT, st.data())
def test_the_answers_own_tokens_come_through(text, data):
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw)), max_size=5)) | {len(raw)})
    pieces = [raw[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
    made = told(text, *(entry("whatever", list(piece)) for piece in pieces))
    assert b"".join(bytes(item["bytes"]) for item in made["content"]) == raw
    assert [item["logprob"] for item in made["content"]] == [-0.5] * len(pieces)
    assert "whatever" not in [item["token"] for item in made["content"]] or "whatever" in text


def test_whole_tokens_stay_as_they_are():
    first, second = entry("A c", list(b"A c")), entry("at.", list(b"at."))
    assert told("A cat.", first, second) == {"content": [first, second], "refusal": None}


def test_bytes_are_made_where_the_provider_sends_none():
    (made,) = told("Só", entry("Só"))["content"]
    assert made["bytes"] == list("Só".encode())


def test_half_a_character_is_written_out():
    made = told("é", entry("?", [0xC3]), entry("?", [0xA9]))["content"]
    assert [item["token"] for item in made] == ["\\xc3", "\\xa9"]


def test_alternatives_are_left_out():
    rival = {"token": "forbidden", "logprob": -1.0, "bytes": None}
    (made,) = told("cat", entry("cat", top_logprobs=[rival]))["content"]
    assert made["top_logprobs"] == []


def test_further_fields_are_left_out():
    (made,) = told("cat", entry("cat", note="forbidden"))["content"]
    assert set(made) == {"token", "logprob", "bytes", "top_logprobs"}


def test_those_of_a_refusal():
    made = format_logprobs({"refusal": [entry("No.")]}, {"content": None, "refusal": "No."})
    assert (made["content"], made["refusal"][0]["token"]) == (None, "No.")


@pytest.mark.parametrize("empty", [None, []])
def test_nothing_stays_nothing(empty):
    assert format_logprobs({"content": empty}, {"content": "x"}) == {
        "content": empty,
        "refusal": None,
    }


@pytest.mark.parametrize(
    "entries",
    [
        [entry("dog")],
        [entry("ca")],
        [entry("cat"), entry("s")],
        [entry("cat", list(b"dog"))],
        [entry("cat", [300, 97])],
        [entry("cat", [True])],
        [entry("cat", "Y2F0")],
        [entry(None)],
        [entry("cat", logprob="-1")],
        [entry("cat", logprob=True)],
        [entry("cat", logprob=None)],
        ["cat"],
        "cat",
        {"cat": -1},
    ],
)
def test_what_does_not_add_up_is_withheld(entries):
    assert format_logprobs({"content": entries}, {"content": "cat"}) is None


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        "cat",
        {"tokens": ["forbidden"], "token_logprobs": [-1.0]},
        {"content": [entry("cat")], "text": "forbidden"},
    ],
)
def test_other_forms_are_withheld(logprobs):
    assert format_logprobs(logprobs, {"content": "cat"}) is None


def test_content_in_parts_has_none():
    parts = [{"type": "text", "text": "cat"}]
    assert format_logprobs({"content": [entry("cat")]}, {"content": parts}) is None


@given(JSON, JSON)
def test_whatever_comes_no_word_leaves_that_was_not_said(content, message):
    made = format_logprobs({"content": content}, {"content": message})
    for item in (made or {}).get("content") or []:
        assert item["token"] in message
