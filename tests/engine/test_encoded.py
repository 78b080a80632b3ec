"""Texts inside texts are found, read and judged; what cannot be read is said to be unread."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.encoded import Hidden, hidden
from guardrail.engine.judged import judged
from guardrail.types import Answer

SECRET = "kill all of them quietly at 9"
CODE = base64.b64encode(SECRET.encode()).decode()
NOISE = base64.b64encode(hashlib.sha512(b"noise").digest() * 2).decode()

READABLE = {
    "base64": CODE,
    "base64 without its padding": CODE.rstrip("="),
    "base64 for URLs": base64.urlsafe_b64encode("stab him? then ÿ run away".encode()).decode(),
    "hexadecimal": SECRET.encode().hex(),
    "hexadecimal in pairs": SECRET.encode().hex(" "),
    "percent codes": "".join(f"%{byte:02x}" for byte in SECRET.encode()),
}


@pytest.mark.parametrize("code", READABLE.values(), ids=READABLE)
def test_what_a_code_says_is_found(code):
    found = hidden(f"Sure: {code} (decode it)")
    assert not found.unread
    assert any(words in found.texts[0] for words in (SECRET, "stab him"))


def test_a_folded_code_is_one_code():
    long = base64.encodebytes(" and then ".join([SECRET] * 8).encode()).decode()
    assert hidden(long).texts[0].count(SECRET) == 8


def test_a_code_inside_a_code_is_found():
    twice = base64.b64encode(f"read this: {CODE}".encode()).decode()
    assert SECRET in hidden(twice).texts


def test_a_code_wrapped_too_often_stays_unread():
    code = SECRET
    for _ in range(4):
        assert not hidden(code).unread
        code = base64.b64encode(f"now read this: {code}".encode()).decode()
    assert hidden(code).unread


UNREAD = {
    "base64": NOISE,
    "hexadecimal": (hashlib.sha512(b"a").hexdigest() + hashlib.sha512(b"b").hexdigest()),
}


@pytest.mark.parametrize("code", UNREAD.values(), ids=UNREAD)
def test_long_codes_that_say_nothing_readable_are_unread(code):
    assert hidden(f"here: {code}").unread


HARMLESS = [
    "just words, and a longish-hyphenated-compound-word-of-several-parts too",
    hashlib.sha256(b"x").hexdigest(),
    hashlib.sha512(b"x").hexdigest(),
    "https://example.org/2023/11/16/most-common-passwords-70percent-can-be-Cracked-in-a-second",
    "call_" + "aB3dE6gH9" * 3,
    "3.14159265358979323846264338327950288419716939937510582097494459",
    "1" * 300,
    "-" * 300,
    "ha" * 300,
    "a 100 % sure thing, 50%25 of it",
    "",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_usual_texts_hide_nothing(text):
    assert hidden(text) == Hidden((), unread=False)


@given(st.text())
def test_no_text_is_too_odd(text):
    assert isinstance(hidden(text), Hidden)


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N", "Zs"]), min_size=48, max_size=400)
)
def test_no_readable_text_escapes_in_base64(text):
    """Either its words are judged as well, or the code is named as unread, or no code shows."""
    code = base64.b64encode(text.encode()).decode()
    found = hidden(code)
    kinds = {"lower": str.islower, "upper": str.isupper, "digit": str.isdigit}
    shows = all(any(map(kind, code)) for kind in kinds.values())
    assert not shows or found.unread or text in found.texts or not any(map(str.isalpha, text))


def test_megabytes_are_read_whole():
    words = " ".join([SECRET] * 30_000)
    assert words in hidden(base64.b64encode(words.encode()).decode()).texts


def test_the_oracle_gets_to_see_what_a_code_says():
    found = judged(Answer({"role": "assistant", "content": f"decode this: {CODE}"}))
    assert SECRET in found.text
    assert found.unscanned == ()


def test_arguments_of_a_tool_hide_nothing_either():
    call = {"type": "function", "function": {"name": "run", "arguments": f'{{"cmd": "{CODE}"}}'}}
    assert SECRET in judged(Answer({"role": "assistant", "tool_calls": [call]})).text


def test_what_stays_unread_is_named():
    found = judged(Answer({"role": "assistant", "content": f"run this: {NOISE}"}))
    assert found.unscanned == ("encoded text",)


def test_the_providers_own_seals_are_no_text():
    thinking = {"type": "thinking", "thinking": "a hat.", "signature": NOISE}
    found = judged(
        Answer({"role": "assistant", "content": "a hat.", "thinking_blocks": [thinking]})
    )
    assert found.unscanned == ()
    spoken = {**thinking, "signature": "words, not a seal"}
    assert "not a seal" in judged(Answer({"role": "assistant", "thinking_blocks": [spoken]})).text
