"""Request bodies: only what every reader of JSON reads alike."""

import json
import sys
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.api.strict_json import MAX_DEPTH, JsonLimits, encode_json, parse_object
from guardrail.errors import RequestError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Surrogates cannot be encoded as UTF-8, so no client can send them but as escapes.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), VALUES)


MANY = JsonLimits().max_values


def nested(depth, kind):
    opening, closing = {"list": ("[", "]"), "object": ('{"a":', "}")}[kind]
    return (opening * depth + "1" + closing * depth).encode()


@settings(max_examples=40)
@given(OBJECTS)
def test_plain_json_is_read_as_it_is(value):
    assert parse_object(json.dumps(value).encode()) == value


@settings(max_examples=40)
@given(OBJECTS)
def test_what_is_written_is_ascii_and_reads_back(value):
    raw = encode_json(value)
    assert raw.isascii()
    assert json.loads(raw) == value


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "valid JSON"),
        (b"{", "valid JSON"),
        (b"{'a': 1}", "valid JSON"),
        (b'{"a": 1} {"b": 2}', "valid JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "valid JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"a": "\xff"}', "UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": [-Infinity]}', "NaN or an infinity"),
        (b'{"a": 1e999}', "NaN or an infinity"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
    ],
)
def test_other_bodies_are_refused(raw, word):
    with pytest.raises(RequestError, match=word) as caught:
        parse_object(raw)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_the_place_of_a_mistake_is_named_and_nothing_is_quoted():
    with pytest.raises(RequestError, match="line 2, column 11") as caught:
        parse_object(b'{"a": 1,\n "secret" 2}')
    assert "secret" not in str(caught.value)


def test_escaped_pairs_are_whole_characters():
    assert parse_object(b'{"a": "\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}


@pytest.mark.parametrize("kind", ["list", "object"])
@pytest.mark.parametrize("depth", [MAX_DEPTH, 500, 2_000, 200_000])
def test_deep_nesting_is_refused(kind, depth):
    with pytest.raises(RequestError, match="deeper" if depth < MANY else "values"):
        parse_object(b'{"a":' + nested(depth, kind) + b"}")


@pytest.mark.parametrize("kind", ["list", "object"])
def test_the_deepest_allowed_nesting_can_be_written_again(kind):
    value = parse_object(b'{"a":' + nested(MAX_DEPTH - 1, kind) + b"}")
    assert sys.getrecursionlimit() > 2 * MAX_DEPTH
    assert parse_object(encode_json(value)) == value


def test_a_value_that_json_lacks_is_not_written():
    with pytest.raises(ValueError, match="JSON compliant"):
        encode_json({"a": float("nan")})


START, END = b'{"messages":[', b"]}"
FLOODS = {
    "lists": b"[],",
    "numbers": b"1,",
    "objects": b'{"a":1},',
    "strings": b'"a",',
    "nested lists": b"[",
    "nested objects": b'{"a":',
}


@pytest.mark.parametrize("unit", FLOODS.values(), ids=FLOODS)
def test_many_values_are_refused_before_there_are_objects(unit):
    raw = START + unit * ((6 << 20) // len(unit)) + b"1" + END
    tracemalloc.start()
    with pytest.raises(RequestError, match="values") as caught:
        parse_object(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (caught.value.status, caught.value.code) == (413, "json_too_large")
    assert peak < 4 * len(raw)


def test_marks_inside_strings_are_no_values():
    text = '[{"a": 1}, \\' * 60_000
    raw = json.dumps({"a": text, "b": [1] * 50_000}).encode()
    assert parse_object(raw)["a"] == text


@settings(max_examples=25)
@given(OBJECTS)
def test_no_object_has_more_values_than_are_counted(value):
    raw = json.dumps(value, ensure_ascii=False).encode()

    def count(item):
        if isinstance(item, dict):
            return 1 + sum(1 + count(inner) for inner in item.values())
        return 1 + sum(map(count, item)) if isinstance(item, list) else 1

    assert parse_object(raw, JsonLimits(max_values=2 * count(value) + 2)) == value
    if count(value) > 2:
        with pytest.raises(RequestError, match="values"):
            parse_object(raw, JsonLimits(max_values=(count(value) - 1) // 2))


@pytest.mark.parametrize(
    "raw",
    [b'"' * (3 << 20), b'{"' + b'\\"' * (3 << 20), b'{"' + b"\\" * (6 << 20), b'{"",' * (1 << 20)],
    ids=["quotes", "escaped quotes", "backslashes", "empty strings"],
)  # fmt: skip
def test_counting_takes_linear_time(raw):
    raw += b"," * JsonLimits().max_values
    started = time.process_time()
    with pytest.raises(RequestError):
        parse_object(raw)
    assert time.process_time() - started < 5.0


def test_texts_are_bounded_and_pictures_are_not_texts():
    most = JsonLimits(max_text_bytes=1 << 16)
    picture = "data:image/png;base64," + "A" * (1 << 20)
    assert parse_object(json.dumps({"a": [picture, picture]}).encode(), most)["a"][0] == picture
    with pytest.raises(RequestError, match="max_text_bytes") as caught:
        parse_object(json.dumps({"a": "A" * (1 << 17)}).encode(), most)
    assert caught.value.status == 413


@pytest.mark.parametrize("alphabet", ["AB-_", "AB%2F", "AB+/", "AB\\/"])
def test_pictures_of_every_spelling_are_no_texts(alphabet):
    payload = alphabet * (1 << 16)
    raw = b'{"a":"data:image/png;base64,' + payload.encode() + b'"}'
    value = parse_object(raw, JsonLimits(max_text_bytes=1 << 14))
    assert value == json.loads(raw)
