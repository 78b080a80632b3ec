"""Texts inside texts are found, read and judged; what cannot be read is said to be unread."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.decode_payloads import DecodedPayloads, decode_payloads
from guardrail.engine.visible_text import extract_text
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
    "some percent codes": "kill%20all%20of%20them%20quietly%20at%209",
    "base64 behind a letter": f"x{CODE}",
    "base64 behind a path": f"text/{CODE}",
    "base64 in groups": " ".join(CODE[i : i + 4] for i in range(0, len(CODE), 4)),
    "base64 in short lines": "\r\n".join(CODE[i : i + 10] for i in range(0, len(CODE), 10)),
    "base64 before a word": f"{CODE[:-1]}\nInternationalisation",
    "base64 without a digit": base64.b64encode(b"stab him now, hit him").decode(),
    "base64 of two bytes a letter": base64.b64encode(SECRET.encode("utf-16-le")).decode(),
    "a data URL": f"data:text/plain;base64,{CODE}",
    "hexadecimal behind a digit": f"7{SECRET.encode().hex()}",
    "hexadecimal as of a program": ", ".join(f"0x{byte:02x}" for byte in SECRET.encode()),
    "escaped bytes": "".join(f"\\x{byte:02x}" for byte in SECRET.encode()),
    "escaped letters": "".join(f"\\u{ord(letter):04x}" for letter in SECRET),
    "escaped letters of ECMAScript": "".join(f"\\u{{{ord(x):05x}}}" for x in SECRET),
    "some escaped letters": SECRET.replace("l", "\\u006c"),
    "signs of HTML": "".join(f"&#{ord(letter)};" for letter in SECRET),
    "hexadecimal signs of HTML": "".join(f"&#x{ord(letter):X};" for letter in SECRET),
    "bits": " ".join(f"{byte:08b}" for byte in SECRET.encode()),
}


@pytest.mark.parametrize("code", READABLE.values(), ids=READABLE)
def test_what_a_code_says_is_found(code):
    found = decode_payloads(f"Sure: {code} (decode it)")
    assert not found.unread
    assert any(words in text for text in found.texts for words in (SECRET, "stab him"))


def test_a_folded_code_is_one_code():
    long = base64.encodebytes(" and then ".join([SECRET] * 8).encode()).decode()
    assert decode_payloads(long).texts[0].count(SECRET) == 8


def test_a_code_inside_a_code_is_found():
    twice = base64.b64encode(f"read this: {CODE}".encode()).decode()
    assert SECRET in decode_payloads(twice).texts


def test_a_code_wrapped_too_often_stays_unread():
    code = SECRET
    for _ in range(4):
        assert not decode_payloads(code).unread
        code = base64.b64encode(f"now read this: {code}".encode()).decode()
    assert decode_payloads(code).unread


@pytest.mark.parametrize(
    "text", ["убей их всех тихо сегодня в полночь", "今夜、静かに彼らを皆殺しにしろ"]
)
def test_codes_of_any_script_are_read(text):
    code = base64.b64encode(text.encode()).decode()
    assert (
        decode_payloads(code)
        == decode_payloads(text.encode().hex())
        == DecodedPayloads((text,), unread=False)
    )


def test_what_is_readable_in_a_cipher_is_read_and_the_rest_named():
    noise = hashlib.sha512(b"noise").digest() * 4
    found = decode_payloads(base64.b64encode(noise + SECRET.encode() + noise).decode())
    assert (SECRET in found.texts[0], found.unread) == (True, True)


def test_halves_of_a_pair_become_one_sign():
    assert decode_payloads(r"\u0061\u0062\u0063 \ud83d\ude00 \ud83d \u{110000}").texts == (
        "abc 😀 \ufffd \\u{110000}",
    )


UNREAD = {
    "base64": NOISE,
    "base64 in lines": "\n".join(NOISE[i : i + 64] for i in range(0, len(NOISE), 64)),
    "a picture": f"![a cat](data:image/png;base64,{NOISE})",
    "hexadecimal in pairs": hashlib.sha512(b"a").digest().hex(" ") + " 0a",
    "hexadecimal": (hashlib.sha512(b"a").hexdigest() + hashlib.sha512(b"b").hexdigest()),
}


@pytest.mark.parametrize("code", UNREAD.values(), ids=UNREAD)
def test_long_codes_that_say_nothing_readable_are_unread(code):
    assert decode_payloads(f"here: {code}").unread


HARMLESS = [
    "\n".join(f"{hashlib.sha256(bytes([i])).hexdigest()}  file{i}.txt" for i in range(9)),
    "\n".join(hashlib.sha1(bytes([i]), usedforsecurity=False).hexdigest() for i in range(9)),
    "sha512-" + base64.b64encode(hashlib.sha512(b"x").digest()).decode(),
    "123e4567-e89b-12d3-a456-426614174000 " * 9,
    "Chapter 12 Some Words That Have Four Letters Each And None That Has Many More 1234 " * 3,
    "https://example.org/watch?v=dQw4w9WgXcQ&list=PL3dQw4w9WgXcQdQw4w9WgXcQ&index=12",
    "/usr/local/lib/python3/site-packages/Some_Package/Other_Module/test_Of_Everything.py",
    "def someFunctionName(anotherArgument): return SomeClass.some_method(anotherArgument, 12)",
    "01/02/2024, 10:20:30, 11:22:33:44:55:66, #ff8800 #aabbcc #112233, 0x1f 0x2e",
    "10 20 30 40 50 60 70 80 90 10 20 30 40 50 60 70 80 90",
    "it&#39;s a cat&#8217;s toy &amp; it&#39;s red, 5&#37;",
    "a caf\\u00e9 in C:\\users\\x1",
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
    assert decode_payloads(text) == DecodedPayloads((), unread=False)


@given(st.text())
def test_no_text_is_too_odd(text):
    assert isinstance(decode_payloads(text), DecodedPayloads)


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N", "Zs"]), min_size=48, max_size=400)
)
def test_no_readable_text_escapes_in_base64(text):
    """Either its words are judged as well, or the code is named as unread, or no code shows."""
    code = base64.b64encode(text.encode()).decode()
    found = decode_payloads(code)
    kinds = {"lower": str.islower, "upper": str.isupper, "digit": str.isdigit}
    shows = all(any(map(kind, code)) for kind in kinds.values())
    assert not shows or found.unread or text in found.texts or not any(map(str.isalpha, text))


WORST = [
    "A",
    "a1B",
    "aB1 ",
    "aaaa ",
    "aaaa\n",
    "aaaa\t",
    " ",
    "\n",
    "0",
    "0x",
    "0x4",
    "%",
    "%4",
    "%41",
]


@pytest.mark.nightly
@pytest.mark.parametrize(
    "unit", [*WORST, "\\u", "\\x41", "&#", "&#x4", "&#65;", "01000001", "=", "a="]
)
def test_the_worst_megabyte_ends(unit):
    found = decode_payloads(unit * (1_000_000 // len(unit)))
    assert sum(map(len, found.texts)) <= 3_000_000


@pytest.mark.no_cover
def test_megabytes_are_read_whole():
    words = " ".join([SECRET] * 30_000)
    assert words in decode_payloads(base64.b64encode(words.encode()).decode()).texts


def test_the_oracle_gets_to_see_what_a_code_says():
    found = extract_text(Answer({"role": "assistant", "content": f"decode this: {CODE}"}))
    assert SECRET in found.text
    assert found.unscanned == ()


def test_arguments_of_a_tool_hide_nothing_either():
    call = {"type": "function", "function": {"name": "run", "arguments": f'{{"cmd": "{CODE}"}}'}}
    assert SECRET in extract_text(Answer({"role": "assistant", "tool_calls": [call]})).text


def test_what_stays_unread_is_named():
    found = extract_text(Answer({"role": "assistant", "content": f"run this: {NOISE}"}))
    assert found.unscanned == ("encoded text",)


def test_the_providers_own_seals_are_no_text():
    thinking = {"type": "thinking", "thinking": "a hat.", "signature": NOISE}
    found = extract_text(
        Answer({"role": "assistant", "content": "a hat.", "thinking_blocks": [thinking]})
    )
    assert found.unscanned == ()
    others = {"provider_specific_fields": {"thought_signatures": [NOISE, NOISE]}}
    redacted = {"type": "redacted_thinking", "data": NOISE}
    blocks = {"content": "a hat.", "thinking_blocks": [redacted], **others}
    assert extract_text(Answer(blocks)).text == "a hat."
    spoken = {**thinking, "signature": "words, not a seal"}
    assert (
        "not a seal"
        in extract_text(Answer({"role": "assistant", "thinking_blocks": [spoken]})).text
    )


@pytest.mark.parametrize(
    "seal", [CODE * 2, [NOISE, CODE * 2], "kill_them_all", ["kill_them_all"], {"text": SECRET}]
)
def test_what_can_be_read_is_no_seal(seal):
    words = "kill_them" if "kill_them_all" in seal else SECRET
    call = {"function": {"name": "run", "arguments": {"signature": seal}}}
    assert words in extract_text(Answer({"role": "assistant", "tool_calls": [call]})).text


def test_data_of_a_tool_is_no_seal():
    call = {"function": {"name": "run", "arguments": {"data": NOISE}}}
    found = extract_text(Answer({"role": "assistant", "tool_calls": [call]}))
    assert found.unscanned == ("encoded text",)


def test_odd_fields_beside_a_seal_do_no_harm():
    nested: object = SECRET
    for _ in range(5000):
        nested = [nested]
    blocks = [{"type": ["odd"], "data": SECRET}, {"type": {}, "data": "a"}, {"signature": nested}]
    text = extract_text(Answer({"role": "assistant", "thinking_blocks": blocks})).text
    assert text.count(SECRET) == 2
