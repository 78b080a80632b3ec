"""Fields of a chat request: passed on as they are, or refused with their name."""

import pytest

from guardrail.api.chat.parameters import chat_parameters, streaming
from guardrail.errors import RequestError
from guardrail.policy.steering import STEERING_FIELDS

FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}


def refused(read, body):
    with pytest.raises(RequestError) as caught:
        read(body)
    return caught.value.param, caught.value.code


def test_the_rest_goes_on_unchanged():
    own = {"model": "m", "messages": [], "stream": True, "stream_options": {}}
    rest = {"temperature": 0.5, "new_field": {"a": [1]}, "store": False, "n": 1}
    assert chat_parameters({**own, **rest}) == rest


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": None, "store": None, "modalities": None, "audio": None, "n": None},
        {"web_search_options": None, "top_logprobs": None},
        {"tools": [FUNCTION, {"type": "custom", "custom": {"name": "c"}}]},
        {"tools": [{"function": {"name": "f"}}]},
        {"tools": []},
        {"modalities": ["text"]},
        {"logprobs": True, "top_logprobs": 0},
    ],
)
def test_what_is_passed_on(fields):
    assert chat_parameters(fields) == fields


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", "unsupported_parameter"),
        ({"web_search_options": {}}, "web_search_options", "unsupported_parameter"),
        ({"store": True}, "store", "unsupported_parameter"),
        ({"store": "yes"}, "store", "invalid_value"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
        ({"modalities": "text"}, "modalities", "unsupported_value"),
        ({"modalities": []}, "modalities", "unsupported_value"),
        ({"top_logprobs": 1}, "top_logprobs", "unsupported_value"),
        ({"top_logprobs": True}, "top_logprobs", "invalid_value"),
        ({"top_logprobs": False}, "top_logprobs", "invalid_value"),
        ({"top_logprobs": 0.0}, "top_logprobs", "invalid_value"),
        ({"n": 2}, "n", "unsupported_value"),
        ({"tools": {}}, "tools", "invalid_value"),
        ({"tools": ["f"]}, "tools[0]", "invalid_value"),
        ({"tools": [FUNCTION, {"type": "web_search"}]}, "tools[1].type", "unsupported_tool"),
        ({"tools": [{"type": "mcp", "function": {}}]}, "tools[0].type", "unsupported_tool"),
        ({"tools": [{"googleSearch": {}}]}, "tools[0].type", "unsupported_tool"),
        ({"tools": [{"type": ["function"]}]}, "tools[0].type", "unsupported_tool"),
    ],
)
def test_what_is_refused(fields, param, code):
    assert refused(chat_parameters, fields) == (param, code)


@pytest.mark.parametrize(
    "name",
    [
        # They steer the call to other models, or have it repeated by somebody else.
        *("fallbacks", "models", "route", "num_retries", "max_retries", "context_window_fallbacks"),
        # They let one call answer for another.
        *("cache", "caching", "ttl", "previous_response_id", "conversation", "session_id"),
        *("thread_id", "container", "cached_content", "context", "background"),
    ],
)
def test_what_ties_calls_together_or_asks_others_is_refused_by_name(name):
    assert refused(chat_parameters, {name: "x"}) == (name, "unsupported_parameter")
    assert refused(chat_parameters, {name: {}}) == (name, "unsupported_parameter")
    for nothing in (None, "", []):
        assert chat_parameters({name: nothing}) == {name: nothing}


@pytest.mark.parametrize("name", sorted(STEERING_FIELDS))
def test_what_chooses_models_or_fetches_is_refused_unless_the_policy_allows_it(name):
    for value in ("x", ["x"], {}, {"id": "web"}, [{"id": "web"}], True, 1):
        assert refused(chat_parameters, {name: value}) == (name, "unsupported_parameter")
        assert chat_parameters({name: value}, [name]) == {name: value}
    assert chat_parameters({name: False}) == {name: False}


def test_what_holds_a_picture_is_refused_even_where_its_field_is_allowed():
    fields = {"plugins": [{"icon": "data:image/png;base64,AAAA"}]}
    with pytest.raises(RequestError, match="data URL"):
        chat_parameters(fields, ["plugins"])


@pytest.mark.parametrize("name", ["extra_body", "extra_headers", "extra_query"])
def test_what_is_nothing_but_what_it_holds_is_taken_empty(name):
    assert chat_parameters({name: {}}) == {name: {}}
    assert refused(chat_parameters, {name: {"a": 1}}) == (name, "unsupported_parameter")


DATA_URL = "data:image/png;base64,AAAA"


def tool(schema):
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}


def reply_form(schema):
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}


@pytest.mark.parametrize("field", [tool, reply_form])
@pytest.mark.parametrize(
    "schema",
    [
        {"description": DATA_URL},
        {"description": "data:image/png;base64,... is what it takes"},
        {"properties": {"picture": {"type": "string", "title": DATA_URL, "default": DATA_URL}}},
        {"properties": {"picture": {"pattern": "data:image/(png|jpeg);base64,.*"}}},
        {"properties": {"picture": {"examples": [DATA_URL, DATA_URL], "enum": [DATA_URL]}}},
        {"properties": {"description": {"description": DATA_URL}}},
        {"items": [{"anyOf": [{"const": DATA_URL}]}]},
    ],
)
def test_words_of_a_schema_about_data_urls_are_no_pictures(field, schema):
    assert chat_parameters(field(schema)) == field(schema)


@pytest.mark.parametrize("field", [tool, reply_form])
@pytest.mark.parametrize(
    "schema",
    [
        {"icon": DATA_URL},
        {"description": {"url": DATA_URL}},
        {"examples": [{"image_url": {"url": DATA_URL}}]},
        {"properties": {"description": {"icon": DATA_URL}}},
        {"items": [[DATA_URL]]},
    ],
)
def test_a_picture_in_a_schema_is_refused(field, schema):
    param, code = refused(chat_parameters, field(schema))
    assert (param, code) == (next(iter(field(schema))), "unsupported_parameter")


def test_a_description_elsewhere_may_hold_no_picture():
    fields = {"some_field": {"description": DATA_URL}}
    assert refused(chat_parameters, fields)[0] == "some_field"


@pytest.mark.parametrize("name", ["prompt_cache_key", "prompt_cache_retention", "cache_salt"])
def test_caches_of_prompts_keep_no_answers(name):
    assert chat_parameters({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"include_obfuscation": True}, "stream_options.include_obfuscation"),
        ({"include_obfuscation": "no"}, "stream_options.include_obfuscation"),
        ({"continuous_usage_stats": True}, "stream_options.continuous_usage_stats"),
    ],
)
def test_options_of_streams_that_would_be_dropped(options, param):
    assert refused(streaming, {"stream": True, "stream_options": options})[0] == param


def test_options_of_streams():
    no = {"include_obfuscation": False, "continuous_usage_stats": False}
    options = {"include_usage": True, **no, "other": None}
    assert streaming({"stream": True, "stream_options": options}) == (True, True)
