"""Reading Messages requests: nothing is lost, and what cannot be carried over is refused."""

import base64
import json
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from guardrail.api.messages.request import read_message_request
from guardrail.api.openapi.operations import MESSAGES
from guardrail.api.request_rules import RequestRules
from guardrail.api.strict_json import parse_object
from guardrail.errors import RequestError
from guardrail.images.limits import ImageLimits
from guardrail.message_form import find_unknown
from guardrail.types import image_placeholder
from guardrail.upstreams.base import fill_images

SECRET = "do not repeat this"
DATA_URL = "data:image/png;base64,AAAA"
VALIDATOR = Draft202012Validator(MESSAGES["requestBody"]["content"]["application/json"]["schema"])
CACHE = {"cache_control": {"type": "ephemeral"}}


def read(max_images=4, rules=None, **fields):
    body = {"model": "m", "max_tokens": 9, "messages": [user("Hi")], **fields}
    options = {} if rules is None else {"rules": rules}
    sent = parse_object(json.dumps(body).encode())
    incoming = read_message_request(sent, max_images=max_images, limits=ImageLimits(), **options)
    VALIDATOR.validate(body)  # what is taken is described
    return incoming


def refused(param, **fields):
    with pytest.raises(RequestError) as caught:
        read(**fields)
    assert caught.value.param == param
    assert str(caught.value).startswith(param)
    assert SECRET not in str(caught.value)
    return caught.value


def user(*content):
    if len(content) == 1 and isinstance(content[0], str):
        return {"role": "user", "content": content[0]}
    return {"role": "user", "content": list(content)}


def assistant(*content):
    return {**user(*content), "role": "assistant"}


def text(words, **fields):
    return {"type": "text", "text": words, **fields}


def image(url="https://a.example/a.png", **fields):
    return {"type": "image", "source": {"type": "url", "url": url}, **fields}


def use(**fields):
    return {"type": "tool_use", "id": "c", "name": "f", "input": {}, **fields}


def result(*content, **fields):
    return {"type": "tool_result", "tool_use_id": "c", "content": list(content), **fields}


def test_parameters_keep_their_meaning():
    incoming = read(
        system="Be kind.",
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        stop_sequences=["END"],
        tools=[{"name": "f", "description": "d", "input_schema": {"type": "object"},
                "strict": True, "type": "custom", "defer_loading": False,
                "allowed_callers": ["direct"]}],
        tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 5000},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        service_tier="standard_only",
        stream=True,
        speed="standard",
        mcp_servers=[],
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    )  # fmt: skip
    assert incoming.stream
    assert incoming.withheld == ()
    assert incoming.chat.messages == (
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
    )
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert incoming.chat.parameters == {
        "max_completion_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "stop": ["END"],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "reasoning_effort": "medium",
        "response_format": {"type": "json_schema", "json_schema": schema},
        "service_tier": "default",
    }


@pytest.mark.parametrize(
    ("thinking", "effort", "asked", "shown", "withheld"),
    [
        (None, None, None, False, ()),
        ({"type": "disabled"}, None, None, False, ("thinking.type",)),
        ({"type": "adaptive"}, None, None, True, ()),
        ({"type": "adaptive"}, "max", "max", True, ()),
        ({"type": "adaptive", "display": "omitted"}, None, None, False, ()),
        ({"type": "adaptive", "display": "summarized"}, None, None, True, ()),
        ({"type": "between_tools"}, None, None, True, ("thinking.type",)),
        ({"type": "enabled", "budget_tokens": 1024}, None, "low", True, ()),
        ({"type": "enabled", "budget_tokens": 4096}, None, "medium", True, ()),
        ({"type": "enabled", "budget_tokens": 16384}, None, "high", True, ()),
        ({"type": "enabled", "budget_tokens": 16384}, "low", "low", True, ()),
        ({"type": "enabled"}, None, None, True, ()),
    ],
)
def test_thinking(thinking, effort, asked, shown, withheld):
    output = None if effort is None else {"effort": effort}
    incoming = read(thinking=thinking, output_config=output)
    assert incoming.chat.parameters.get("reasoning_effort") == asked
    assert bool(incoming.echo.get("thinking")) == shown
    assert incoming.withheld == withheld


@pytest.mark.parametrize(
    ("choice", "carried"),
    [
        ({"type": "auto"}, ("auto", None)),
        ({"type": "any"}, ("required", None)),
        ({"type": "none"}, ("none", None)),
        ({"type": "any", "disable_parallel_tool_use": True}, ("required", False)),
        ({"type": "any", "disable_parallel_tool_use": False}, ("required", None)),
    ],
)
def test_choices_of_a_tool(choice, carried):
    parameters = read(tool_choice=choice).chat.parameters
    assert (parameters["tool_choice"], parameters.get("parallel_tool_calls")) == carried


def test_a_turn_becomes_messages_in_their_order():
    turns = [
        {"role": "user", "content": [text("One."), image("https://a.example/0")]},
        assistant({"type": "thinking", "thinking": "Hm."}, text("I look."), use(input={"a": "é"})),
        user(result(text("It shows:"), image("https://a.example/1")),
             {"type": "tool_result", "tool_use_id": "d"}, text("And?"), text("Well?")),
        {"role": "system", "content": [text("Be brief.")]},
        assistant(),
        user(text("Go on.")),
    ]  # fmt: skip
    incoming = read(messages=turns)
    assert incoming.chat.messages == (
        {"role": "user", "content": [text("One."), _placed(0)]},
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Hm.",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"é"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": [text("It shows:"), _placed(1)]},
        {"role": "tool", "tool_call_id": "d", "content": ""},
        {"role": "user", "content": [text("And?"), text("Well?")]},
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "Go on."},
    )
    assert [source.at for source in incoming.sources] == [
        "messages[0].content[1].source.url",
        "messages[2].content[0].content[1].source.url",
    ]


def _placed(number):
    return {"type": "image_url", "image_url": {"url": image_placeholder(number)}}


def test_a_picture_is_what_it_holds_and_not_what_it_is_declared():
    data = base64.b64encode(b"x").decode()
    for media_type in ("image/png", "image/jpeg", "image/x-odd", None):
        source = {"type": "base64", "media_type": media_type, "data": data}
        (found,) = read(messages=[user({"type": "image", "source": source})]).sources
        assert (found.data, found.media_type) == (b"x", None)
        assert found.at == "messages[0].content[0].source.data"
    strict = RequestRules(strict_types=True)
    source["media_type"] = "image/png"
    (found,) = read(messages=[user({"type": "image", "source": source})], rules=strict).sources
    assert found.media_type == "image/png"


def test_thoughts_go_back_with_their_proof():
    signed = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    sealed = {"type": "redacted_thinking", "data": "x"}
    plain = {"type": "thinking", "thinking": "So.", "signature": ""}

    def carried(*thoughts):
        chat = read(messages=[assistant(*thoughts, text("A.")), user("And?")]).chat
        return {k: v for k, v in chat.messages[0].items() if k not in ("role", "content")}

    bare = {"type": "thinking", "thinking": "So."}
    assert carried(signed, sealed, plain) == {"thinking_blocks": [signed, sealed, bare]}
    assert carried(plain) == {"reasoning_content": "So."}
    assert carried(plain, plain) == {"reasoning_content": "So.\n\nSo."}


def test_what_changes_no_answer_is_left_out_by_name():
    incoming = read(
        **CACHE,
        system=[text("Be kind.", **CACHE)],
        metadata={"user_id": SECRET},
        messages=[
            user(text("Hi", citations=None)),
            assistant(text("A.", citations=[{"cited_text": SECRET}]), use(caller={"type": "direct"},
                                                                      **CACHE)),
            user(result(image(transformations={"oversized_image": "error"}), is_error=True)),
        ],
        tools=[{"name": "f", "input_schema": {}, "eager_input_streaming": True, **CACHE}],
    )  # fmt: skip
    assert incoming.withheld == (
        "cache_control",
        "image.transformations",
        "metadata.user_id",
        "text.citations",
        "tool_result.is_error",
        "tools.eager_input_streaming",
    )
    asked = json.dumps([incoming.chat.messages, incoming.chat.parameters])
    assert "cache_control" not in asked
    assert SECRET not in asked


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("model", {"model": ""}),
        ("max_tokens", {"max_tokens": None}),
        ("max_tokens", {"max_tokens": 0}),
        ("max_tokens", {"max_tokens": True}),
        ("stream", {"stream": 1}),
        ("messages", {"messages": []}),
        ("messages", {"messages": None}),
        ("messages[0]", {"messages": [SECRET]}),
        ("messages[1]", {"messages": [user("Hi"), assistant(SECRET)]}),
        ("system", {"system": 1}),
        ("system[0]", {"system": [SECRET]}),
        ("system[0].type", {"system": [image()]}),
        ("stop_sequences", {"stop_sequences": "END"}),
        ("stop_sequences[0]", {"stop_sequences": [1]}),
        ("service_tier", {"service_tier": "fast"}),
        ("speed", {"speed": "fast"}),
        ("container", {"container": "c"}),
        ("mcp_servers", {"mcp_servers": [{"type": "url"}]}),
        ("context_management", {"context_management": {"edits": [{"type": "x"}]}}),
        ("output_format", {"output_format": {"type": "json_schema"}}),
        ("inference_geo", {"inference_geo": "us"}),
        ("diagnostics", {"diagnostics": {}}),
        ("user_profile_id", {"user_profile_id": "u"}),
        ("seed", {"seed": 1}),
        ("?", {SECRET: 1}),
        ("metadata", {"metadata": 1}),
        ("metadata.odd", {"metadata": {"odd": "x"}}),
        ("metadata.user_id", {"metadata": {"user_id": 1}}),
        ("thinking", {"thinking": 1}),
        ("thinking.type", {"thinking": {}}),
        ("thinking.type", {"thinking": {"type": "wild"}}),
        ("thinking.budget_tokens", {"thinking": {"type": "enabled", "budget_tokens": "x"}}),
        ("output_config", {"output_config": 1}),
        ("output_config.odd", {"output_config": {"odd": 1}}),
        ("output_config.format", {"output_config": {"format": 1}}),
        ("output_config.format.type", {"output_config": {"format": {"schema": {}}}}),
        ("output_config.format.schema", {"output_config": {"format": {"type": "json_schema"}}}),
        ("tool_choice", {"tool_choice": "auto"}),
        ("tool_choice.type", {"tool_choice": {}}),
        ("tool_choice.type", {"tool_choice": {"type": SECRET}}),
        ("tool_choice.name", {"tool_choice": {"type": "tool"}}),
        ("tools", {"tools": {}}),
        ("tools[0]", {"tools": [1]}),
        ("tools[0].type", {"tools": [{"type": "bash_20250124", "name": "bash"}]}),
        ("tools[0].type", {"tools": [{"type": SECRET, "name": "bash"}]}),
        ("tools[0].type", {"tools": [{"type": 1, "name": "bash"}]}),
        ("tools[0].name", {"tools": [{"input_schema": {}}]}),
        ("tools[0].input_schema", {"tools": [{"name": "f"}]}),
        ("tools[0].defer_loading",
         {"tools": [{"name": "f", "input_schema": {}, "defer_loading": True}]}),
        ("tools[0].allowed_callers",
         {"tools": [{"name": "f", "input_schema": {}, "allowed_callers": ["code_execution"]}]}),
        ("tools[0].input_examples",
         {"tools": [{"name": "f", "input_schema": {}, "input_examples": [{}]}]}),
        ("tools", {"tools": [{"name": "f", "input_schema": {"icon": DATA_URL}}]}),
        ("stop_sequences", {"stop_sequences": [DATA_URL]}),
    ],
)  # fmt: skip
def test_fields_that_cannot_be_carried_over(param, fields):
    refused(param, **fields)


@pytest.mark.parametrize(
    "kind",
    [
        *("document", "search_result", "server_tool_use", "web_search_tool_result"),
        *("web_fetch_tool_result", "code_execution_tool_result", "container_upload"),
        *("mcp_tool_use", "mcp_tool_result", "compaction", "image_url", "input_image", "video"),
    ],
)
def test_blocks_of_other_types_are_refused_by_name(kind):
    block = {"type": kind, "source": {"type": "base64", "data": SECRET}}
    for turns, at in (
        ([user(text("Hi"), block)], "messages[0].content[1].type"),
        ([assistant(block), user("Hi")], "messages[0].content[0].type"),
        ([user(result(block))], "messages[0].content[0].content[0].type"),
    ):
        error = refused(at, messages=turns)
        assert error.code == "unsupported_content_block"
        assert kind in str(error)


@pytest.mark.parametrize(
    ("at", "turn"),
    [
        (".role", {"content": "Hi"}),
        (".role", {"role": "tool", "content": "Hi"}),
        (".role", {"role": ["user"], "content": "Hi"}),
        (".images", {"role": "user", "content": "Hi", "images": [DATA_URL]}),
        (".content", {"role": "user"}),
        (".content", {"role": "user", "content": {}}),
        (".content", user()),
        (".content[0]", user(1)),
        (".content[0].type", user({"text": "Hi"})),
        (".content[0].type", user({"type": ["text"], "text": "Hi"})),
        (".content[0].type", user({"type": SECRET, "text": "Hi"})),
        (".content[0].type", user(use())),
        (".content[0].type", user({"type": "thinking", "thinking": "Hm."})),
        (".content[0].type", assistant(result())),
        (".content[0].type", {"role": "system", "content": [image()]}),
        (".content[0].text", user({"type": "text"})),
        (".content[0].text", user({"type": "text", "text": 1})),
        (".content[0].image", user(text("Hi", image=DATA_URL))),
        (".content[0].source", user({"type": "image"})),
        (".content[0].source.type", user({"type": "image", "source": {"type": "file",
                                                                      "file_id": SECRET}})),
        (".content[0].source.url", user({"type": "image", "source": {"type": "url"}})),
        (".content[0].source.url", user(image(image_placeholder(0)))),
        (".content[0].source.data", user({"type": "image", "source": {"type": "base64"}})),
        (".content[0].source.data", user({"type": "image", "source": {"type": "base64",
                                                                      "data": DATA_URL}})),
        (".content[0].source.data", user({"type": "image", "source": {"type": "url", "data": "AA",
                                                                      "url": DATA_URL}})),
        (".content[0].source.media_type",
         user({"type": "image", "source": {"type": "base64", "data": "AAAA",
                                           "media_type": "image/png;base64,AAAA"}})),
        (".content[0].id", assistant({**use(), "id": None})),
        (".content[0].input", assistant(use(input=None))),
        (".content[0].input", assistant(use(input=[]))),
        (".content[0].caller", assistant(use(caller={"type": "code_execution_20250825"}))),
        (".content[0].toolset_name", assistant(use(toolset_name="browser"))),
        (".content[0].tool_use_id", user({"type": "tool_result", "content": "Hi"})),
        (".content[0].content", user({"type": "tool_result", "tool_use_id": "c", "content": 1})),
        (".content[0].content[0].type", user(result(result()))),
        (".content[0].is_error", user(result(is_error="yes"))),
        (".content[0].thinking", assistant({"type": "thinking"})),
        (".content[0].thinking", assistant({"type": "thinking", "thinking": DATA_URL})),
        (".content[0].thinking", assistant({"type": "thinking", "thinking": "Hm.",
                                            "signature": DATA_URL})),
        (".content[0].data", assistant({"type": "redacted_thinking", "data": DATA_URL})),
    ],
)  # fmt: skip
def test_turns_that_cannot_be_carried_over(at, turn):
    refused(f"messages[0]{at}", messages=[turn, user("Go on.")])


def test_labels_are_left_out_or_refused():
    turns = [{**user(text("Hi", uuid="u"), image(width=3)), "id": "m", "created_at": 1}]
    turns[0]["content"][1]["source"]["filename"] = "a.png"
    chat = read(messages=turns).chat
    assert chat.messages[0]["content"] == [text("Hi"), _placed(0)]
    assert set(chat.left_out.fields) == {
        *("messages.id", "messages.created_at", "messages.content.uuid"),
        *("messages.content.width", "messages.content.source.filename"),
    }
    refused("messages[0].id", messages=turns, rules=RequestRules(drop_labels=False))


def test_an_answer_as_its_client_dumps_it_comes_back():
    """Users send `message.model_dump()` too, with all that stands around the content."""
    answer = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [text("A.", citations=None)],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1},
        "guardrail": {"decision": "pass"},
    }
    kept = {name: answer[name] for name in ("role", "content", "id", "model", "usage")}
    assert read(messages=[kept, user("And?")]).chat.messages[0]["content"] == "A."
    error = refused("messages[0].type", messages=[answer, user("And?")])
    assert error.code == "unsupported_parameter"


def test_too_many_pictures_and_older_ones():
    turns = [user(result(image(f"https://a.example/{i}"))) for i in range(5)]
    error = refused("messages[2].content[0].content[0].source.url", messages=turns, max_images=2)
    assert error.code == "too_many_images"
    turns.insert(4, assistant(text("So.")))
    incoming = read(messages=turns, rules=RequestRules(last_images=2))
    assert [source.url for source in incoming.sources] == [f"https://a.example/{n}" for n in (3, 4)]
    assert incoming.chat.left_out.pictures == 3


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda words: "data:" not in words.lower() and "\n\n" not in words
)
VALUES = st.recursive(
    WORDS | st.integers(-9, 9) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
TEXT_BLOCK = st.builds(text, WORDS)
IMAGE_BLOCK = st.just({"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                                   "data": "PICTURE"}})  # fmt: skip
RESULT = st.builds(
    lambda name, content: {"type": "tool_result", "tool_use_id": name, "content": content},
    WORDS,
    WORDS | st.lists(TEXT_BLOCK | IMAGE_BLOCK, min_size=1, max_size=3),
)
USE = st.builds(
    lambda name, tool, given: {"type": "tool_use", "id": name, "name": tool, "input": given},
    WORDS,
    WORDS,
    st.dictionaries(WORDS, VALUES, max_size=3),
)
THOUGHT = st.builds(
    lambda words, sign: {"type": "thinking", "thinking": words, "signature": sign},
    WORDS,
    st.sampled_from(["", "s"]),
)
TURN = st.one_of(
    st.builds(
        lambda content: {"role": "user", "content": content},
        WORDS | st.lists(TEXT_BLOCK | IMAGE_BLOCK | RESULT, min_size=1, max_size=4),
    ),
    st.builds(
        lambda content: {"role": "assistant", "content": content},
        WORDS | st.lists(TEXT_BLOCK | IMAGE_BLOCK | USE | THOUGHT, max_size=4),
    ),
)


def texts(value):
    """Every text of the blocks in order of their sort, a tool's input as one."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple):
        return sorted(found for part in value for found in texts(part))
    if not isinstance(value, dict):
        return []
    if value.get("type") == "image":
        return ["PICTURE"]
    if value.get("type") == "tool_use":
        return sorted([value["id"], value["name"], json.dumps(value["input"])])
    left_out = ("type", "role", "signature")
    return sorted(found for k, part in value.items() if k not in left_out for found in texts(part))


def chat_texts(messages):
    """The same of a chat's messages whose pictures are put back."""
    found = []
    for message in messages:
        for call in message.get("tool_calls", []):
            given = json.dumps(json.loads(call["function"]["arguments"]))
            found += [call["id"], call["function"]["name"], given]
        thoughts = message.get("thinking_blocks") or []
        found += [block["thinking"] for block in thoughts]
        found += message.get("reasoning_content", "").split("\n\n") if not thoughts else []
        found += [message["tool_call_id"]] if "tool_call_id" in message else []
        content = message["content"] or ""
        for part in [text(content)] if isinstance(content, str) else content:
            found += [part["text"] if part["type"] == "text" else part["image_url"]["url"]]
    return sorted(words for words in found if words)


@given(st.lists(TURN, max_size=5))
def test_no_text_no_picture_and_no_call_is_lost(turns):
    turns.append(user("Go on."))
    with patch("guardrail.api.shapes.ImageCollector.sources", lambda _self, _limits: []):
        chat = read(messages=turns, max_images=100).chat
    pictures = json.dumps(turns).count('"PICTURE"')
    assert chat.pictures == pictures
    assert chat_texts(fill_images(chat.messages, ["PICTURE"] * pictures)) == [
        words for words in texts([turn["content"] for turn in turns]) if words
    ]
    for message in chat.messages:
        if message["role"] == "assistant":
            spoken = {**message, "content": None} if pictures else message
            assert not [*find_unknown(spoken)]
