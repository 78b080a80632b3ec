"""One canonical form, and one way to read: RFC 8785's own examples, and what readers differ on."""

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from guardrail.canonical import (
    DuplicateKeyError,
    NestedTooDeeplyError,
    NotFiniteError,
    canonical_json,
    digest_json,
    make_interoperable,
    parse_strict,
    short_digest,
)

NUMBERS = st.floats(-(2.0**53) + 1, 2.0**53 - 1) | st.integers(1 - 2**53, 2**53 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # RFC 8785, section 3.2.2 and appendix B
        ({"numbers": [333333333.33333329, 1e30, 4.5, 2e-3, 1e-27]},
         '{"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}'),
        ([1.0, -0.0, 1e-05, 1e16, 1e21, 1e-7], "[1,0,0.00001,10000000000000000,1e+21,1e-7]"),
        ({"\u20ac": 1, "\r": 2, "1": 3, "\U0001f600": 4, "\ufb33": 5},
         '{"\\r":2,"1":3,"\u20ac":1,"\U0001f600":4,"\ufb33":5}'),
        ("\u20ac$\x0f\nA'B\"\\\\\"/", '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
    ],
)  # fmt: skip
def test_the_form_is_that_of_rfc_8785(value, expected):
    assert canonical_json(value).decode() == expected


@given(VALUES)
def test_reading_and_writing_again_changes_nothing(value):
    once = canonical_json(value)
    assert b"\n" not in once
    assert canonical_json(parse_strict(once)) == once
    assert canonical_json(json.loads(json.dumps(value))) == once
    assert digest_json(parse_strict(once)) == digest_json(value)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "c": 2, "a": 1}}]'])
def test_a_key_that_stands_twice_is_refused(text):
    with pytest.raises(DuplicateKeyError):
        parse_strict(text)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "[-1e400]"])
def test_numbers_are_finite(text):
    with pytest.raises(NotFiniteError):
        parse_strict(text)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "{'a': 1}", '{"a" 1}', "01", b"\xff"])
def test_other_texts_are_not_json(text):
    with pytest.raises(ValueError):  # noqa: PT011 (of any kind)
        parse_strict(text)


def test_nesting_without_end_is_refused():
    with pytest.raises(NestedTooDeeplyError):
        parse_strict("[" * 200_000)


@pytest.mark.parametrize("value", [float("nan"), 2**53 + 2, "\ud800", {1: 2}, {"a": object()}])
def test_what_json_has_not_has_no_form(value):
    with pytest.raises((ValueError, TypeError)):
        canonical_json(value)


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        (2**53 - 1, 2**53 - 1),
        (2**63 - 1, "9223372036854775807"),
        (-(2**53), "-9007199254740992"),
        (True, True),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "\U0001f600"),
        ({"\udc00": [2**70, ("x",)]}, {"\ufffd": [str(2**70), ["x"]]}),
    ],
)
def test_other_peoples_json_is_made_to_have_a_form(value, carried):
    assert make_interoperable(value) == carried
    assert parse_strict(canonical_json(make_interoperable(value))) == carried


@given(VALUES)
def test_what_has_a_form_stays_as_it_is(value):
    assert make_interoperable(value) == value


def test_short_digests_are_beginnings_of_sha_256():
    assert short_digest("") == short_digest(b"") == "e3b0c44298fc1c14"
    assert short_digest("", 12) == "e3b0c44298fc"


@given(VALUES | st.floats(allow_nan=False, allow_infinity=False) | st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])), st.tuples(NUMBERS, st.just(-0.0)))
)  # fmt: skip
def test_what_is_written_without_the_library_is_what_the_library_writes(value):
    assert canonical_json(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "number", [0.0, -0.0, 1e-7, 1e-6, 1.5e-5, 0.0001, 1e15, 1e16, 2.0**53, 1e20, 1e21, 5e-324, 0.1]
)
def test_numbers_are_written_as_the_library_writes_them(number):
    assert canonical_json([number, -number]) == rfc8785.dumps([number, -number])
