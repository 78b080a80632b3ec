"""The form in which chats are sent and digested: what is one request, and what is another."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.canonical_chat import (
    NOT_SENT,
    CanonicalChat,
    canonical_chat,
    canonical_chat_offloaded,
    request_digest,
)
from guardrail.errors import RequestError
from guardrail.offload import CANONICAL_CHAT, chat_size
from guardrail.types import Chat, image_placeholder
from guardrail.upstreams.scripted import Scripted

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def chat(content="hello", *, pictures=0, **parameters):
    return Chat("m", ({"role": "user", "content": content},), parameters, pictures)


def shown(given):
    """All that is sent of a chat, as the bytes in which the order of names counts."""
    asked = canonical_chat(given)
    return json.dumps([asked.model, asked.messages, asked.parameters, asked.pictures])


def is_same(one, other):
    """Whether two chats are one request, by what is sent and by their digests alike."""
    same = shown(one) == shown(other)
    assert same == (request_digest(one, ()) == request_digest(other, ()))
    return same


NO_CHANGES = [
    {"n": 1},
    {"n": 1.0},
    {"stop": None},
    {"stop": []},
    {"tools": []},
    {"functions": None},
    {"logit_bias": {}},
    {"logprobs": False},
    {"top_logprobs": 0},
    {"response_format": {"type": "text"}},
    {"response_format": None},
    {"service_tier": "auto"},
    {"user": ""},
    {"user": None},
    {"a_field_of_some_provider": None},
    {"a_field_of_some_provider": {}},
    {"metadata": {"order": "5"}},
    {"store": False},
    {"stream": True, "stream_options": {"include_usage": True}},
    {"request_id": "7"},
    {"cache_salt": "salt"},
    {"priority": 3},
    {"seed": 7},
    {"timeout": 5.5},
    {"litellm_metadata": {"a": "b"}},
    {"prompt_cache_key": "k"},
    {"prompt_cache_retention": "24h"},
    *({name: "anything"} for name in sorted(NOT_SENT)),
]
CHANGES = [
    {"temperature": 1},  # many servers start from the model's own default
    {"temperature": 0},
    {"top_p": 1},
    {"frequency_penalty": 0},
    {"n": True},
    {"top_logprobs": False},
    {"logprobs": True},
    {"tools": [TOOL]},
    {"logit_bias": {"50256": -100}},
    {"stop": "END"},
    {"max_tokens": 5},
    {"response_format": {"type": "json_object"}},
    {"service_tier": "flex"},
    {"user": "someone"},
    {"safety_identifier": "a-hash"},
    {"x_nonce": 1},
    {"top_k": 0},
    {"a_field_of_some_provider": False},
    {"chat_template_kwargs": {"enable_thinking": None}},
]


class TestParameters:
    @pytest.mark.parametrize("fields", NO_CHANGES, ids=str)
    def test_what_asks_for_nothing_is_neither_sent_nor_digested(self, fields):
        given = chat(temperature=0.5, **fields)
        assert is_same(given, chat(temperature=0.5))
        assert canonical_chat(given).parameters == {"temperature": 0.5}

    @pytest.mark.parametrize("fields", CHANGES, ids=str)
    def test_what_asks_for_something_is_sent_and_digested(self, fields):
        assert not is_same(chat(**fields), chat())
        assert canonical_chat(chat(**fields)).parameters == fields

    @pytest.mark.parametrize(
        ("one", "other"),
        [(1, 1.0), (0, -0.0), (2, 2.0), (10**20, 1e20), ([1, {"a": 2.0}], [1.0, {"a": 2}])],
        ids=str,
    )
    def test_a_number_is_one_number(self, one, other):
        assert is_same(chat(temperature=one), chat(temperature=other))
        assert shown(chat(a=other)) == shown(chat(a=one))

    @pytest.mark.parametrize("other", [True, "1", [1], 1.5])
    def test_other_values_are_not_one(self, other):
        assert not is_same(chat(a=1), chat(a=other))

    def test_large_numbers_are_left_as_they_are(self):
        assert canonical_chat(chat(a=1e300)).parameters == {"a": 1e300}
        assert "1e+300" in shown(chat(a=1e300))

    def test_their_order_says_nothing(self):
        one, other = chat(temperature=1, top_p=0.5), chat(top_p=0.5, temperature=1)
        assert is_same(one, other)

    def test_the_order_of_names_in_schemas_does(self):
        """A model writes the properties of an object in their order."""

        def asking(*names):
            schema = {"type": "object", "properties": {name: {} for name in names}}
            form = {"name": "x", "schema": schema}
            return chat(response_format={"type": "json_schema", "json_schema": form})

        assert is_same(asking("a", "b"), asking("a", "b"))
        assert not is_same(asking("a", "b"), asking("b", "a"))

    def test_nulls_of_tools_are_nothing_and_nulls_of_schemas_are_something(self):
        parameters = {"type": "object", "properties": {"a": {"enum": [None], "default": None}}}
        plain = {"type": "function", "function": {"name": "f", "parameters": parameters}}
        nulls = {
            "type": "function",
            "strict": None,
            "function": {"name": "f", "description": None, "parameters": parameters},
        }
        assert is_same(chat(tools=[nulls]), chat(tools=[plain]))
        assert canonical_chat(chat(tools=[nulls])).parameters == {"tools": [plain]}
        without = {"type": "object", "properties": {"a": {"enum": []}}}
        other = {"type": "function", "function": {"name": "f", "parameters": without}}
        assert not is_same(chat(tools=[plain]), chat(tools=[other]))
        nameless = {"name": "f", "description": None}
        assert is_same(chat(functions=[nameless]), chat(functions=[{"name": "f"}]))

    @pytest.mark.parametrize("tools", ["x", ["x"], [{"function": "x"}], {"a": 1}])
    def test_odd_ones_are_left_to_the_provider(self, tools):
        assert canonical_chat(chat(tools=tools)).parameters == {"tools": tools}


def message(**fields):
    return Chat("m", ({"role": "assistant", "content": "hi", **fields},))


class TestMessages:
    @pytest.mark.parametrize(
        "fields",
        [{"name": None}, {"name": ""}, {"refusal": None}, {"tool_calls": []}, {"annotations": []},
         {"function_call": None}, {"prefix": False}, {"partial": False}],
        ids=str,
    )  # fmt: skip
    def test_fields_that_say_nothing_are_not_there(self, fields):
        assert is_same(message(**fields), message())

    @pytest.mark.parametrize(
        "fields",
        [{"name": "ann"}, {"prefix": True}, {"reasoning_content": "hm"}, {"content": "hi "},
         {"content": ""}, {"content": None}, {"content": [{"type": "text", "text": "hi"}]},
         {"cache_control": {"type": "ephemeral"}}],
        ids=str,
    )  # fmt: skip
    def test_what_a_model_may_see_is_sent_as_it_is(self, fields):
        assert not is_same(message(**fields), message())
        assert canonical_chat(message(**fields)).messages == (
            {"role": "assistant", "content": "hi", **fields},
        )

    def test_a_content_is_always_there(self):
        bare = Chat("m", ({"role": "assistant", "tool_calls": [{"id": "1"}]},))
        said = Chat("m", ({"tool_calls": [{"id": "1"}], "content": None, "role": "assistant"},))
        empty = Chat("m", ({"role": "assistant", "content": [], "tool_calls": [{"id": "1"}]},))
        assert is_same(bare, said)
        assert is_same(bare, empty)
        assert list(canonical_chat(said).messages[0]) == ["role", "content", "tool_calls"]

    def test_a_system_message_without_words_is_one(self):
        """Chat templates write a default one only where there is none."""
        empty = Chat("m", ({"role": "system", "content": ""}, *chat().messages))
        assert not is_same(empty, chat())

    def test_messages_of_other_forms_are_left_alone(self):
        odd = Chat("m", ({"content": ["x", {"text": "y"}]},))
        assert canonical_chat(odd).messages == ({"content": ["x", {"text": "y"}]},)


def picture_part(**fields):
    image = {"url": image_placeholder(0), **fields}
    return chat([{"type": "image_url", "image_url": image}], pictures=1)


class TestParts:
    @pytest.mark.parametrize("detail", [None, "", "auto"])
    def test_details_that_ask_for_nothing(self, detail):
        assert is_same(picture_part(detail=detail), picture_part())

    @pytest.mark.parametrize("detail", ["low", "high"])
    def test_details_that_ask_for_something(self, detail):
        assert not is_same(picture_part(detail=detail), picture_part())

    def test_texts_are_neither_joined_nor_trimmed(self):
        def text(*parts):
            return chat([{"type": "text", "text": part} for part in parts])

        assert not is_same(text("ab"), text("a", "b"))
        assert not is_same(text("ab"), text("ab "))
        assert not is_same(text("ab"), text("ab", ""))
        assert not is_same(text("ab"), chat("ab"))

    def test_nulls_and_order_say_nothing(self):
        one = chat([{"type": "text", "text": "a", "cache_control": None}])
        other = chat([{"text": "a", "type": "text"}])
        assert is_same(one, other)
        cached = chat([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}])
        assert not is_same(one, cached)


def test_other_models_are_other_requests():
    assert not is_same(Chat("a", chat().messages), Chat("b", chat().messages))


# For any two chats


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e30])
    | st.sampled_from(["", "a", "auto"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["a", "b", "type"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
NAMES = st.sampled_from(
    ["n", "stop", "tools", "temperature", "user", "metadata", "seed", "response_format", "x"]
)
CONTENTS = (
    st.none()
    | st.sampled_from(["", "a"])
    | st.lists(st.dictionaries(st.sampled_from(["type", "text", "image_url"]), VALUES, max_size=2))
)
MESSAGES = st.builds(
    lambda content, fields: {"role": "user", "content": content, **fields},
    CONTENTS,
    st.dictionaries(st.sampled_from(["name", "refusal", "prefix"]), VALUES, max_size=2),
)
CHATS = st.builds(
    Chat,
    st.sampled_from(["m", "o"]),
    st.lists(MESSAGES, max_size=2).map(tuple),
    st.dictionaries(NAMES, VALUES, max_size=3),
)


@pytest.mark.no_cover
@given(CHATS, CHATS)
def test_the_digest_is_that_of_what_is_sent(one, other):
    is_same(one, other)
    assert is_same(one, one)
    assert is_same(canonical_chat(one), one)


@given(CHATS)
def test_what_is_canonical_stays_so(given_chat):
    asked = canonical_chat(given_chat)
    assert canonical_chat(asked) is asked
    plain = Chat(asked.model, asked.messages, asked.parameters, asked.pictures)
    assert canonical_chat(plain) == asked
    assert shown(plain) == shown(given_chat)


@pytest.mark.parametrize("pictures", [0, 1])
def test_a_model_is_sent_the_canonical_chat_and_nothing_else(kit, pictures):
    upstream = Scripted(["A cat."])
    given_chat = kit.make_chat(
        pictures, n=1, stop=None, temperature=1.0, metadata={"a": "b"}, x=[1.0], seed=5
    )
    kit.decide(kit.make_engine(upstream=upstream), pictures, chat=given_chat)
    asked = canonical_chat(given_chat)
    sent = {**asked.parameters, "model": asked.model, "messages": list(asked.messages)}
    assert {json.dumps(call.body) for call in upstream.calls} == {json.dumps(sent)}
    assert set(asked.parameters) == {"temperature", "x"}


# Long and deep ones


def runs_inline(asked):
    return CANONICAL_CHAT.allows(*chat_size(*asked.messages, asked.parameters))


@pytest.mark.parametrize(
    "content", ["hello", [{"type": "text", "text": "hello"}], None, "x" * 30_000]
)
def test_usual_chats_are_short(content):
    assert runs_inline(chat(content, temperature=0.7, stop=["a", "b"], seed=None))


@pytest.mark.parametrize(
    ("content", "parameters"),
    [
        ("x" * 33_000, {}),
        ([{"type": "text", "text": "x" * 20_000}] * 2, {}),
        ("hello", {"tools": ["x" * 33_000]}),
        ("hello", {"x" * 33_000: 1}),
        ("hello", {"logit_bias": {str(i): 1 for i in range(2000)}}),
        ("hello", {"stop": [0] * 5000}),
    ],
)
def test_long_ones_are_not(content, parameters):
    long = chat(content, **parameters)
    assert not runs_inline(long)
    made = asyncio.run(canonical_chat_offloaded(long))
    assert isinstance(made, CanonicalChat)
    assert made == canonical_chat(long)
    assert asyncio.run(canonical_chat_offloaded(made)) is made


def test_nesting_costs_no_stack():
    value = "deep"
    for _ in range(900):
        value = [value]
    assert runs_inline(chat("hello", nested=value))
    for _ in range(5000):
        value = [value]
    assert not runs_inline(chat("hello", nested=value))
    with pytest.raises(RequestError, match="too deeply"):
        canonical_chat(chat("hello", nested=value))
