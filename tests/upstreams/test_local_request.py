"""What a chat may ask of a local model: everything is either done or refused."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import UpstreamError
from guardrail.types import Chat, image_placeholder, picture_chat
from guardrail.upstreams.local_request import read_request


def image(index):
    return {"type": "image_url", "image_url": {"url": image_placeholder(index), "detail": "high"}}


def text(words):
    return {"type": "text", "text": words}


def read(messages=None, *, pictures=0, **parameters):
    messages = messages or [{"role": "user", "content": "hello"}]
    return read_request(Chat("m", tuple(messages), parameters, pictures), 24)


def refused(*args, **kwargs):
    with pytest.raises(UpstreamError) as caught:
        read(*args, **kwargs)
    assert caught.value.status == 400
    assert caught.value.code == "unsupported_value"
    assert not caught.value.transient
    return str(caught.value)


def test_a_plain_request_takes_the_defaults():
    request = read()
    assert json.loads(request.messages) == [{"role": "user", "content": [text("hello")]}]
    assert (request.max_tokens, request.temperature, request.top_p) == (24, None, None)
    assert (request.stop, request.pictures) == ((), ())


def test_pictures_stand_where_the_message_has_them_and_keep_their_numbers():
    messages = [
        {"role": "user", "content": [image(1), text("or"), image(0)]},
        {"role": "assistant", "content": None},
        {"role": "user", "content": [image(2), text("why?")]},
    ]
    request = read(messages, pictures=3)
    assert request.pictures == (1, 0, 2)
    kinds = [[part["type"] for part in m["content"]] for m in json.loads(request.messages)]
    assert kinds == [["image", "text", "image"], [], ["image", "text"]]


@pytest.mark.parametrize(
    ("part", "pictures"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}, 0),
        ({"type": "image_url", "image_url": {"url": image_placeholder(1)}}, 1),
        ({"type": "image_url", "image_url": image_placeholder(0)}, 1),
        ({"type": "image_url"}, 1),
        ({"type": "input_audio", "input_audio": {"data": "x"}}, 0),
        ({"type": "text", "text": 7}, 0),
        ({"type": "text"}, 0),
        ({"text": "no type"}, 0),
        ("loose text", 0),
        (None, 0),
    ],
)
def test_a_part_it_cannot_read_is_refused(part, pictures):
    refused([{"role": "user", "content": [part]}], pictures=pictures)


def test_a_picture_that_no_message_shows_is_refused():
    assert "every picture" in refused([{"role": "user", "content": [image(0)]}], pictures=2)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "content": "42", "tool_call_id": "a"},
        {"role": "function", "content": "42", "name": "f"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]},
        {"role": "assistant", "content": None, "function_call": {"name": "f"}},
        {"role": "assistant", "content": None, "audio": {"id": "a"}},
        {"content": "who says this?"},
        {"role": "user", "content": {"type": "text"}},
        {"role": "user", "content": 3},
    ],
)
def test_a_message_it_cannot_read_is_refused(message):
    refused([{"role": "user", "content": "hi"}, message])


def test_a_developer_is_the_system_by_its_newer_name():
    request = read([{"role": "developer", "content": "be brief"}])
    assert json.loads(request.messages)[0]["role"] == "system"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("functions", [{"name": "f"}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "json_object"}),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("logit_bias", {"50256": -100}),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy"}),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -0.5),
        ("n", 2),
        ("top_k", 5),
        ("repetition_penalty", 1.1),
        ("reasoning_effort", "high"),
        ("a_field_of_tomorrow", "on"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(name, value):
    assert f"'{name}'" in refused(**{name: value})


@pytest.mark.parametrize(
    "parameters",
    [
        {"tools": [], "functions": None, "logit_bias": {}, "logprobs": False, "n": 1},
        {"presence_penalty": 0, "frequency_penalty": 0.0, "response_format": {"type": "text"}},
        {"modalities": ["text"], "tool_choice": "none", "a_field_of_tomorrow": None},
        {"user": "u", "metadata": {"a": "b"}, "store": True, "seed": 7, "service_tier": "auto"},
    ],
)
def test_what_asks_for_nothing_is_let_through(parameters):
    assert read(**parameters) == read()


@pytest.mark.parametrize("value", [0, -1, 8193, 1.5, "9", True, [5], float("nan")])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_senseless_length_is_refused(name, value):
    assert "1 to 8192" in refused(**{name: value})


@pytest.mark.parametrize(
    ("parameters", "length"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
        ({"max_tokens": None, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 9, "max_completion_tokens": 6}, 6),
        ({"max_tokens": None}, 24),
    ],
)
def test_the_length_is_found_under_either_name(parameters, length):
    assert read(**parameters).max_tokens == length


@pytest.mark.parametrize("value", [-0.1, 2.1, "1", True, float("nan"), float("inf"), [1]])
def test_a_senseless_temperature_is_refused(value):
    assert "0 to 2" in refused(temperature=value)


@pytest.mark.parametrize("value", [-0.1, 1.1, "1", False, float("nan")])
def test_a_senseless_top_p_is_refused(value):
    assert "0 to 1" in refused(top_p=value)


@pytest.mark.parametrize("value", ["", [""], ["a", 1], 3, {"a": 1}, 0, False])
def test_a_senseless_stop_is_refused(value):
    assert "stop" in refused(stop=value)


def test_stops_may_be_one_or_many():
    assert read(stop="x").stop == ("x",)
    assert read(stop=["x", "y"]).stop == ("x", "y")
    assert read(stop=None).stop == read(stop=[]).stop == ()


def test_no_refusal_quotes_what_was_said():
    secret = "my secret words"
    message = {"role": "user", "content": [text(secret), {"type": secret}]}
    for told in (refused([message]), refused(stop=[secret, 1]), refused(temperature=secret)):
        assert secret not in told


_settings = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 4),
        "temperature": st.sampled_from([0, 0.5, 1]),
        "top_p": st.sampled_from([0.5, 1]),
        "stop": st.sampled_from(["a", ["a"], ["a", "b"]]),
    },
)


@given(_settings, _settings, st.sampled_from(["x", "y"]), st.sampled_from(["x", "y"]))
def test_requests_share_a_group_exactly_when_they_mean_the_same(one, two, prompt_one, prompt_two):
    a = read_request(picture_chat("m", prompt_one, one), 24)
    b = read_request(picture_chat("other name", prompt_two, two), 24)
    same = dataclasses.astuple(a) == dataclasses.astuple(b)
    assert (a.group == b.group) is same
    if same:
        assert hash(a.group) == hash(b.group)
