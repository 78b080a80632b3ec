"""Reading Responses requests: nothing is lost, and what cannot be carried over is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from guardrail.api.items import ItemMemory, recall_nothing
from guardrail.api.openapi.operations import RESPONSES
from guardrail.api.request_rules import RequestRules
from guardrail.api.responses.request import read_response
from guardrail.api.strict_json import parse_object
from guardrail.errors import RequestError
from guardrail.images.limits import ImageLimits
from guardrail.memory.rules import MemoryRules
from guardrail.types import image_placeholder
from guardrail.upstreams.base import fill_images

SECRET = "do not repeat this"
FUNCTION = {"type": "function", "name": "f"}

VALIDATOR = Draft202012Validator(RESPONSES["requestBody"]["content"]["application/json"]["schema"])


def read(max_images=4, rules=None, recall=recall_nothing, **fields):
    raw = json.dumps({"model": "m", "input": "Hi", **fields}).encode()
    options = {"recall": recall} | ({} if rules is None else {"rules": rules})
    incoming = read_response(
        parse_object(raw), max_images=max_images, limits=ImageLimits(), **options
    )
    VALIDATOR.validate(json.loads(raw))  # what is taken is described
    return incoming


def refused(param, **fields):
    with pytest.raises(RequestError) as caught:
        read(**fields)
    assert caught.value.param == param
    assert str(caught.value).startswith(param)
    assert SECRET not in str(caught.value)
    return caught.value


def user(*content):
    return {"role": "user", "content": list(content)}


def text(words):
    return {"type": "input_text", "text": words}


def test_parameters_keep_their_meaning():
    chat = read(
        instructions="Be kind.",
        max_output_tokens=7,
        reasoning={"effort": "low"},
        text={"format": {"type": "json_object"}, "verbosity": "low"},
        tools=[{"type": "function", "name": "f", "strict": None, "description": "d"}],
        tool_choice={"type": "function", "name": "f"},
        temperature=0.5,
        top_k=3,
        store=False,
        truncation="disabled",
        include=[],
        background=None,
    ).chat
    assert chat.messages == (
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
    )
    assert chat.parameters == {
        "max_completion_tokens": 7,
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
        "verbosity": "low",
        "tools": [{"type": "function", "function": {"name": "f", "description": "d"}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "temperature": 0.5,
        "top_k": 3,
    }


def test_a_schema_is_carried_over_whole():
    form = {"name": "n", "schema": {"type": "object"}, "strict": True, "description": "d"}
    chat = read(text={"format": {"type": "json_schema", **form}}).chat
    assert chat.parameters["response_format"] == {"type": "json_schema", "json_schema": form}


def test_calls_of_one_turn_join_its_message():
    calls = [
        {"type": "function_call", "call_id": f"c{i}", "name": "f", "arguments": "{}", "id": "fc"}
        for i in range(2)
    ]
    said = {"type": "output_text", "text": "Wait.", "annotations": [], "logprobs": []}
    item = {"type": "message", "role": "assistant", "content": [said], "id": "m", "status": "x"}
    user_turn, first, second = (
        read(input=[user(text("Do.")), item, *calls, calls[0]][:4]).chat.messages,
        None,
        None,
    )
    assert [message["role"] for message in user_turn] == ["user", "assistant"]
    assert user_turn[1]["content"] == "Wait."
    assert [call["id"] for call in user_turn[1]["tool_calls"]] == ["c0", "c1"]
    assert (first, second) == (None, None)


def test_pictures_everywhere_are_taken_out_in_order(kit):
    urls = [kit.data_url(kit.png(seed=i)) for i in range(2)]
    images = [{"type": "input_image", "image_url": url, "detail": "low"} for url in urls]
    output = {"type": "function_call_output", "call_id": "c", "output": [text("look"), images[1]]}
    incoming = read(input=[user(text("a"), images[0]), output])
    assert incoming.chat.pictures == len(incoming.sources) == 2
    assert "data:" not in json.dumps(incoming.chat.messages)
    filled = fill_images(incoming.chat.messages, urls)
    assert [message["content"][1]["image_url"]["url"] for message in filled] == urls
    assert filled[0]["content"][1]["image_url"]["detail"] == "low"


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("previous_response_id", {"previous_response_id": "r"}),
        ("conversation", {"conversation": "c"}),
        ("store", {"store": True}),
        ("store", {"store": 0}),
        ("background", {"background": True}),
        ("prompt", {"prompt": {"id": "p"}}),
        ("include", {"include": ["reasoning.thoughts"]}),
        ("include", {"include": "reasoning.encrypted_content"}),
        ("truncation", {"truncation": "auto"}),
        ("top_logprobs", {"top_logprobs": 2}),
        ("max_tool_calls", {"max_tool_calls": 1}),
        ("context_management", {"context_management": []}),
        ("moderation", {"moderation": {"model": "m"}}),
        ("stream_options", {"stream_options": {"include_obfuscation": True}}),
        ("messages", {"messages": [{"role": "user", "content": SECRET}]}),
        ("n", {"n": 2}),
        ("api_base", {"api_base": SECRET}),
        ("?", {SECRET: 1}),
        ("model", {"model": ""}),
        ("metadata", {"metadata": {"a": 1}}),
        ("metadata", {"metadata": [1]}),
        ("instructions", {"instructions": [SECRET]}),
        ("max_output_tokens", {"max_output_tokens": True}),
        ("max_output_tokens", {"max_output_tokens": 0}),
        ("reasoning.summary", {"reasoning": {"summary": 1}}),
        ("reasoning.odd", {"reasoning": {"odd": 1}}),
        ("client_metadata", {"client_metadata": [SECRET]}),
        ("reasoning.effort", {"reasoning": {"effort": 1}}),
        ("text.other", {"text": {"other": 1}}),
        ("text.verbosity", {"text": {"verbosity": 1}}),
        ("text.format.type", {"text": {"format": {"type": "grammar"}}}),
        ("text.format.type", {"text": {"format": {}}}),
        ("text.format.schema", {"text": {"format": {"type": "json_schema", "name": "n"}}}),
        ("text.format.odd", {"text": {"format": {"type": "text", "odd": 1}}}),
        ("tools", {"tools": {}}),
        ("tools[0].type", {"tools": [{"type": "web_search"}]}),
        ("tools[0].type", {"tools": [{"type": SECRET}, FUNCTION]}),
        ("tools[1].type", {"tools": [FUNCTION, {"name": "f"}]}),
        ("tools[0].type", {"tools": [{"type": "mcp"}, FUNCTION], "tool_choice": {"type": "mcp"}}),
        ("tools[0].odd", {"tools": [{"type": "custom", "name": "f", "odd": 1}]}),
        ("tools[0].name", {"tools": [{"type": "function"}]}),
        (
            "tools[0].defer_loading",
            {"tools": [{"type": "function", "name": "f", "defer_loading": 1}]},
        ),
        ("tools", {"tools": [{"type": "function", "name": "data:image/png;base64,AA=="}]}),
        ("tool_choice", {"tool_choice": "maybe"}),
        ("tool_choice", {"tool_choice": {"type": "file_search"}}),
        ("stream", {"stream": 1}),
    ],
)
def test_fields_that_cannot_be_carried_over(param, fields):
    refused(param, **fields)


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}


@pytest.mark.parametrize(
    ("at", "item"),
    [
        ("", SECRET),
        (".id", {"type": "item_reference", "id": SECRET}),
        (".id", {"id": SECRET}),
        (".id", {"type": "item_reference", "id": 1}),
        (".content", {"type": "item_reference", "id": "i", "content": SECRET}),
        (".type", {"type": "computer_call_output", "output": IMAGE}),
        (".type", {"content": SECRET}),
        (".type", {"type": ["message"], "role": "user", "content": SECRET}),
        (".role", {"role": "tool", "content": SECRET}),
        (".role", {"role": ["user"], "content": SECRET}),
        (".phase", {"role": "user", "content": SECRET, "phase": "commentary"}),
        (".content", {"role": "user"}),
        (".content", {"role": "user", "content": []}),
        (".content[0]", user(SECRET)),
        (".content[0].type", user({"type": "input_file", "file_data": SECRET})),
        (".content[0].type", user({"type": "input_audio", "input_audio": SECRET})),
        (".content[0].type", user({"type": ["input_text"]})),
        (".content[0].text", user({"type": "input_text", "text": 1})),
        (".content[0].image_url", user({"type": "input_text", "text": "", "image_url": SECRET})),
        (".content[0].annotations", user({"type": "output_text", "text": "", "annotations": [1]})),
        (".content[0].file_id", user({"type": "input_image", "file_id": "f"})),
        (".content[0].image_url", user({"type": "input_image"})),
        (".content[0].image_url", user({**IMAGE, "image_url": {"url": IMAGE["image_url"]}})),
        (".content[0].image_url", user({**IMAGE, "image_url": image_placeholder(0)})),
        (".content[0].detail", user({**IMAGE, "detail": 1})),
        (".content[0].odd", user({**IMAGE, "odd": SECRET})),
        (".call_id", {"type": "function_call", "name": "f", "arguments": "{}"}),
        (".arguments", {"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}),
        (".caller", {"type": "function_call", "call_id": "c", "caller": {"type": "program"}}),
        (".output", {"type": "function_call_output", "call_id": "c", "output": 1}),
        (".output[0].file_id", {"type": "function_call_output", "call_id": "c",
                                "output": [{"type": "input_image", "file_id": "f"}]}),
    ],
)  # fmt: skip
def test_items_that_cannot_be_carried_over(at, item):
    refused(f"input[0]{at}", input=[item])


def test_a_reference_is_the_item_that_it_names():
    """What is delivered can be named, and reads as if it had been sent again."""
    said = {"type": "output_text", "text": "A cat.", "annotations": [], "logprobs": []}
    delivered = [
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
         "content": [said, {"type": "refusal", "refusal": "No more."}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}",
         "status": "completed"},
        {"type": "custom_tool_call", "id": "fc_2", "call_id": "c2", "name": "g", "input": "x",
         "status": "completed"},
    ]  # fmt: skip
    memory = ItemMemory(MemoryRules())
    memory.keep(delivered, None)
    named = [{"type": "item_reference", "id": "msg_1"}, {"id": "fc_1"}, {"id": "fc_2"}]
    sent = [read(input=[user(text("Hi")), *items], recall=memory.recall_for(None)) for items in
            (named, delivered)]  # fmt: skip
    assert sent[0].chat == sent[1].chat
    kinds = [call["type"] for call in sent[0].chat.messages[1]["tool_calls"]]
    assert kinds == ["function", "custom"]


def test_what_is_not_remembered_any_more_is_not_found():
    memory = ItemMemory(MemoryRules(max_entries=1))
    memory.keep([{"id": "a", "role": "user", "content": "A"}, {"id": "b"}], None)
    error = refused("input[0].id", input=[{"id": "a"}], recall=memory.recall_for(None))
    assert (error.status, error.code) == (404, "item_not_found")
    assert "store" in str(error)


def test_what_asks_for_extras_is_left_out_by_name():
    incoming = read(
        include=["reasoning.encrypted_content", "web_search_call.action.sources"],
        reasoning={"effort": "low", "summary": "auto"},
        client_metadata={"turn": SECRET},
        tools=[FUNCTION, {"type": "web_search", "filters": {}}, {"type": "namespace"}],
        input=[user(text("Hi")), {"type": "reasoning", "id": "rs", "summary": []}],
    )
    assert {*incoming.withheld} == {
        "include: reasoning.encrypted_content",
        "include: web_search_call.action.sources",
        "reasoning.summary",
        "client_metadata",
        "tools: namespace",
        "tools: web_search",
        "input: reasoning",
    }
    assert len(incoming.chat.messages) == 1
    assert incoming.chat.parameters == {
        "reasoning_effort": "low",
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }


def test_reasoning_alone_is_no_input():
    refused("input", input=[{"type": "reasoning", "summary": []}])


GRAMMAR = {"syntax": "lark", "definition": "start: /x+/"}


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        ({"type": "text"}, {"type": "text"}),
        ({"type": "grammar", **GRAMMAR}, {"type": "grammar", "grammar": GRAMMAR}),
    ],
)
def test_custom_tools_are_carried_over(given, carried):
    tool = {"type": "custom", "name": "g", "description": "d", "format": given}
    call = {"type": "custom_tool_call", "call_id": "c", "name": "g", "input": "xx"}
    output = {"type": "custom_tool_call_output", "call_id": "c", "output": "done"}
    chat = read(
        tools=[tool], tool_choice={"type": "custom", "name": "g"}, input=[user(text("Do.")), call,
                                                                         output]
    ).chat  # fmt: skip
    custom = {"name": "g", "description": "d", "format": carried}
    assert chat.parameters == {
        "tools": [{"type": "custom", "custom": custom}],
        "tool_choice": {"type": "custom", "custom": {"name": "g"}},
    }
    assert chat.messages[1]["tool_calls"] == [
        {"id": "c", "type": "custom", "custom": {"name": "g", "input": "xx"}}
    ]
    assert chat.messages[2] == {"role": "tool", "tool_call_id": "c", "content": "done"}


@pytest.mark.parametrize("url", [IMAGE["image_url"], "https://example.com/a.png"])
def test_pictures_are_named_by_their_place(url):
    (source,) = read(input=[user({**IMAGE, "image_url": url})]).sources
    assert source.at == "input[0].content[0].image_url"


@pytest.mark.parametrize("value", [None, [], {}, 1])
def test_an_input_is_needed(value):
    refused("input", input=value)


def test_too_many_pictures(kit):
    images = [{"type": "input_image", "image_url": kit.data_url()}] * 3
    error = refused("input[0].content[2].image_url", input=[user(*images)], max_images=2)
    assert error.code == "too_many_images"


def test_older_screenshots_of_tools_are_left_out():
    def step(number):
        image = {"type": "input_image", "image_url": f"https://a.example/{number}"}
        call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
        return [call, {"type": "function_call_output", "call_id": "c", "output": [image]}]

    items = [item for number in range(9) for item in step(number)]
    incoming = read(input=[user(text("Go on.")), *items], rules=RequestRules(last_images=2))
    assert [source.url for source in incoming.sources] == [f"https://a.example/{n}" for n in (7, 8)]
    assert (incoming.chat.pictures, incoming.chat.left_out.pictures) == (2, 7)
    outputs = [m["content"] for m in incoming.chat.messages if m["role"] == "tool"]
    words = [{"type": "text", "text": "[an earlier picture was left out here]"}]
    assert outputs[:7] == [words] * 7
    assert [output[0]["type"] for output in outputs[7:]] == ["image_url"] * 2


@pytest.mark.parametrize("name", ["min_pixels", "max_pixels", "format", "uuid"])
def test_labels_of_a_picture_are_left_out(name):
    chat = read(input=[user({**IMAGE, name: "x"})]).chat
    assert chat.messages == read(input=[user(IMAGE)]).chat.messages
    assert chat.left_out.fields == (f"input.content.{name}",)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
PART = st.one_of(
    st.builds(text, WORDS),
    st.builds(lambda words: {"type": "output_text", "text": words, "annotations": []}, WORDS),
    st.builds(lambda words: {"type": "refusal", "refusal": words}, WORDS),
    st.just("picture"),
)
CONTENT = WORDS | st.lists(PART, min_size=1, max_size=4)
ITEM = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "developer"]), "content": CONTENT},
        optional={"type": st.just("message"), "id": WORDS},
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("function_call"),
            "call_id": WORDS,
            "name": WORDS,
            "arguments": WORDS,
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("function_call_output"), "call_id": WORDS, "output": CONTENT}
    ),
)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("function"), "name": st.from_regex(r"\A[a-z]{1,9}\Z")},
        optional={"description": st.from_regex(r"\A[a-z ]{1,9}\Z")},
    ),
    max_size=3,
)


def strings(value):
    """Every text inside, sorted; keys and the words of the two wires left out."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple):
        return sorted(s for part in value for s in strings(part))
    if isinstance(value, dict):
        left_out = ("type", "role", "id")
        return sorted(s for k, part in value.items() if k not in left_out for s in strings(part))
    return []


def asked(item, url):
    """The item with pictures for the marks, and what of it must arrive."""
    name = "output" if item.get("type") == "function_call_output" else "content"
    content = item.get(name)
    if not isinstance(content, list):
        return item
    image = {"type": "input_image", "image_url": url}
    return {**item, name: [image if part == "picture" else part for part in content]}


def one_refusal(item):
    """The refusals of an answer, which arrive as one field of its message, in one piece."""
    content = item.get("content")
    if item.get("role") != "assistant" or not isinstance(content, list):
        return item
    refused = "".join(part["refusal"] for part in content if part["type"] == "refusal")
    others = [part for part in content if part["type"] != "refusal"]
    return {**item, "content": [*others, *([{"refusal": refused}] if refused else [])]}


@given(st.lists(ITEM, min_size=1, max_size=6), TOOLS)
def test_no_text_no_picture_and_no_tool_is_lost(items, tools):
    url = "data:image/png;base64,"  # decoded below, where there is none
    given_items = [asked(item, url) for item in items]
    pictures = json.dumps(given_items).count('"input_image"')
    chat = _unpictured(given_items, tools)
    expected = strings([{**one_refusal(item), "id": None} for item in given_items])
    arrived = [
        {**m, "tool_calls": [_flat(c) for c in m.get("tool_calls", [])]} for m in chat.messages
    ]
    filled = fill_images(arrived, [url] * pictures)
    assert strings(filled) == expected
    assert chat.pictures == pictures
    assert [tool["function"] for tool in chat.parameters.get("tools", [])] == [
        {name: value for name, value in tool.items() if name != "type"} for tool in tools
    ]
    assert chat.messages[0]["role"] in ("user", "assistant", "system", "developer", "tool")


def _flat(call):
    return {"call_id": call["id"], **call["function"]}


def _unpictured(items, tools):
    """The chat alone: decoding is tested above."""
    from unittest.mock import patch

    with patch("guardrail.api.shapes.ImageCollector.sources", lambda _self, _limits: []):
        return read(max_images=100, input=items, tools=tools).chat


def test_calls_of_custom_tools_and_their_outputs():
    call = {"type": "custom_tool_call", "call_id": "c", "name": "shell", "input": "ls"}
    output = {"type": "custom_tool_call_output", "call_id": "c", "output": "a.txt"}
    asked, given = read(input=[{**call, "id": "x", "status": "completed"}, output]).chat.messages
    custom = {"id": "c", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    assert asked == {"role": "assistant", "content": None, "tool_calls": [custom]}
    assert given == {"role": "tool", "tool_call_id": "c", "content": "a.txt"}
