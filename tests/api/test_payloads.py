"""Bodies with their payloads lifted out: the same objects and the same faults as without."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.api import payloads, strict_json
from guardrail.api.payloads import lift_payloads
from guardrail.api.strict_json import parse_object
from guardrail.errors import RequestError


@pytest.fixture
def eager(monkeypatch):
    """Every payload counts as long and every body as large."""
    monkeypatch.setattr(payloads, "_FEWEST_BYTES", 4)
    monkeypatch.setattr(strict_json, "_LARGE_BYTES", 0)


def outcome(raw):
    try:
        return parse_object(raw)
    except RequestError as error:
        return str(error)


def plainly(raw):
    try:
        return strict_json._parse(raw)
    except RequestError as error:
        return str(error)


def test_a_large_picture_comes_back_as_it_was():
    url = f"data:image/png;base64,{base64.b64encode(bytes(1 << 21)).decode()}"
    body = {"a": [{"url": url}, url[:-4]], "b": "x;base64,"}
    raw = json.dumps(body).encode()
    light = lift_payloads(raw)
    assert len(light.body) < 300
    assert len(light.payloads) == 2
    assert parse_object(raw) == body


def test_so_does_one_in_anthropics_form():
    data = base64.b64encode(bytes(1 << 21)).decode()
    for space in ("", " "):
        source = f'"media_type":{space}"image/png","data":{space}"{data}"'
        raw = f'{{"source":{{{source}}},"name":"data"}}'.encode()
        light = lift_payloads(raw)
        assert len(light.body) < 300
        assert parse_object(raw)["source"]["data"] == data


PIECES = st.sampled_from(
    ['"', ";base64,", "QUJD", "QUJDREVG", "====", "\\", "\\u0041", "\\ud800", "\n", "é", ":", ",",
     "{", "}", '{"a":"', '"}', "data:x;base64,QUJDREVG", '","b":"', '"a":"', "1", " ",
     '"data":"', '"data" : "QUJD', '\\"data":"']
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=14).map("".join)


@given(TEXTS)
def test_any_text_reads_the_same(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payloads, "_FEWEST_BYTES", 4)
        patch.setattr(strict_json, "_LARGE_BYTES", 0)
        for raw in (text.encode(), b'{"a":"' + text.encode() + b'"}'):
            assert outcome(raw) == plainly(raw)


VALUES = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=3), st.booleans())
def test_any_object_reads_the_same(body, ascii_only):
    raw = json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payloads, "_FEWEST_BYTES", 4)
        patch.setattr(strict_json, "_LARGE_BYTES", 0)
        assert outcome(raw) == plainly(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"x;base64,QUJD": 1, "x;base64,QUJD": 2}',
        b'{"a": "x;base64,QUJD", "a": "x;base64,QUJD"}',
        b'{"a": "x;base64,QUJD" oh',
        b'{"a": "x;base64,QU\\nJD"}',
        b'{"a": "x;base64,QUJD',
        b'["x;base64,QUJD"]',
        b';base64,QUJD"',
    ],
)
def test_names_and_faults_are_read_from_the_whole(eager, raw):
    assert outcome(raw) == plainly(raw)


def test_nobody_can_write_the_token(eager):
    first, second = lift_payloads(b"{}"), lift_payloads(b"{}")
    assert first.token != second.token
    assert len(first.token) == 32
