import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import UpstreamError
from guardrail.types import Answer, Usage
from guardrail.upstreams.wire import answer_from, model_names, parse_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def response(message=None, **choice):
    message = {"role": "assistant", "content": "A cat."} if message is None else message
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}


def said(**message):
    return response({"role": "assistant", **message})


# Bodies


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\xff\xfe\xfa",
        b"<html>",
        b'{"a": 1',
        b'{"a": 1} {"a": 2}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 200_000,
    ],
    ids=lambda raw: repr(raw[:16]),
)
def test_what_is_not_json_may_pass_on_a_retry(raw):
    with pytest.raises(UpstreamError, match="not JSON") as caught:
        parse_json(raw)
    assert caught.value.transient
    assert caught.value.__context__ is None


@given(JSON)
def test_json_is_read_as_it_is(value):
    assert parse_json(json.dumps(value).encode()) == value


@given(JSON, st.sampled_from(["", "\ufeff"]), st.text(" \t\r\n"), st.text(" \t\r\n"))
def test_a_byte_order_mark_and_blanks_around_it_say_nothing(value, mark, before, after):
    assert parse_json((mark + before + json.dumps(value) + after).encode()) == value


def test_escaped_pairs_are_one_character():
    assert parse_json(rb'"\ud83d\ude00"') == "\N{GRINNING FACE}"


# Answers


def test_the_whole_answer_is_kept():
    message = {"role": "assistant", "content": "A cat.", "annotations": [], "refusal": None}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "provider-model-7",
        "system_fingerprint": "fp",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        "choices": [{"index": 0, "message": message, "finish_reason": "length", "logprobs": {}}],
    }
    assert answer_from(body) == Answer(
        message=message,
        finish_reason="length",
        model="provider-model-7",
        usage=Usage(3, 2, 1),
        extra={"system_fingerprint": "fp", "logprobs": {}},
    )


TOOL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "body",
    [
        said(content="text"),
        said(content=[{"type": "text", "text": "text"}]),
        said(content=[{"type": "thinking", "thinking": []}, {"type": "text", "text": "x"}]),
        said(content=[{"type": "refusal", "refusal": "no"}]),
        said(content=None, tool_calls=[TOOL]),
        said(content="", tool_calls=[TOOL, TOOL]),
        said(tool_calls=[{"type": "custom", "custom": {"name": "f", "input": "x"}}]),
        said(tool_calls=[{"function": {"name": "f", "arguments": ""}}]),
        said(content=None, function_call={"name": "f", "arguments": ""}),
        said(content=None, refusal="I can't help with that."),
        response({"content": "no role"}),
        response({"content": None}, finish_reason="content_filter"),
        response({"content": "cut"}, finish_reason="content_filter"),
        response(finish_reason=None),
    ],
)
def test_usable_answers(body):
    message = body["choices"][0]["message"]
    answer = answer_from(body)
    assert answer.message == message
    assert answer.finish_reason == (body["choices"][0]["finish_reason"] or "stop")


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        7,
        {},
        {"choices": None},
        {"choices": {}},
        {"choices": []},
        {"choices": [None]},
        {"choices": ["text"]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": "text"}]},
        {"choices": [{"text": "an old completion"}]},
        {"choices": [{"delta": {"content": "a streamed piece"}}]},
        response(finish_reason=7),
        response(finish_reason=["stop"]),
        response(finish_reason="abort"),
        response(finish_reason="error"),
        response({}),
        said(content=None),
        said(content=""),
        said(content=" \n"),
        said(content=7),
        said(content={"text": "x"}),
        said(content=[]),
        said(content=["text"]),
        said(content=[{"text": "no type"}]),
        said(content=[{"type": "text"}]),
        said(content=[{"type": "text", "text": 7}]),
        said(content=[{"type": "text", "text": ""}]),
        said(content=[{"type": "image_url", "image_url": {"url": "x"}}]),
        said(content=[{"type": "text", "text": "good"}, None]),
        said(refusal=""),
        said(refusal=["no"]),
        said(content="text", refusal={}),
        said(tool_calls=[]),
        said(tool_calls={}),
        said(tool_calls=[None]),
        said(tool_calls=[{"type": "function"}]),
        said(tool_calls=[{"type": "function", "function": {"name": 1, "arguments": "{}"}}]),
        said(tool_calls=[TOOL, {"type": "custom"}]),
        said(content="text", tool_calls="f()"),
        said(function_call="f()"),
        response({"role": "user", "content": "x"}),
        response({"role": 7, "content": "x"}),
        response({"content": 7}, finish_reason="content_filter"),
    ],
)
def test_anything_else_is_an_error_that_may_pass(body):
    with pytest.raises(UpstreamError) as caught:
        answer_from(body)
    assert caught.value.transient
    assert caught.value.status == 502
    assert caught.value.code in ("upstream_malformed_response", "upstream_empty_answer")


@pytest.mark.parametrize("role", [None, ""])
def test_no_role_is_the_assistants(role):
    answer = answer_from(response({"role": role, "content": "x"}))
    assert answer.message == {"role": "assistant", "content": "x"}


def test_more_choices_than_asked_for_will_not_pass_on_a_retry():
    two = {"choices": response()["choices"] * 2}
    with pytest.raises(UpstreamError, match="more choices") as caught:
        answer_from(two)
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage(calls=1, uncounted=1)),
        ("many", Usage(calls=1, uncounted=1)),
        ({}, Usage(calls=1, uncounted=1)),
        ({"prompt_tokens": None, "completion_tokens": None}, Usage(calls=1, uncounted=1)),
        ({"prompt_tokens": True, "completion_tokens": 2.0}, Usage(0, 2, 1, 1)),
        ({"prompt_tokens": -5, "completion_tokens": 4}, Usage(0, 4, 1, 1)),
        ({"prompt_tokens": 5, "completion_tokens": 4.5}, Usage(5, 0, 1, 1)),
        ({"prompt_tokens": 12.0, "completion_tokens": 0}, Usage(12, 0, 1)),
    ],
)
def test_nonsense_in_the_accounts_costs_no_answer(usage, expected):
    assert answer_from({**response(), "usage": usage, "model": 7}).usage == expected


FIELDS = st.sampled_from(
    ["choices", "message", "content", "tool_calls", "refusal", "function_call", "role", "type",
     "text", "function", "name", "arguments", "finish_reason", "custom", "input", "usage"]
)  # fmt: skip
NEAR_MISS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3)
    | st.sampled_from(["assistant", "text", "function", "content_filter"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@given(NEAR_MISS, st.dictionaries(FIELDS, NEAR_MISS, max_size=6))
def test_every_response_is_an_answer_or_an_upstream_error(anything, message):
    for body in (anything, response(message), said(**{"content": "x", **message})):
        try:
            answer = answer_from(body)
        except UpstreamError:
            continue
        assert isinstance(answer.text, str)
        assert answer.message
        json.dumps(answer.message)


# Lists of models


def test_models_are_listed_by_id():
    assert model_names({"data": [{"id": "a"}, {"id": 7}, None, {"id": "b"}]}) == ["a", "b"]


def test_a_list_that_is_null_is_empty():
    assert model_names({"object": "list", "data": None}) == []


@pytest.mark.parametrize(
    "body", [None, [], {}, {"data": None}, {"data": {"id": "a"}}, {"object": "list", "data": "a"}]
)
def test_no_list_of_models_is_an_error(body):
    with pytest.raises(UpstreamError):
        model_names(body)
