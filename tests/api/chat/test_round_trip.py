"""What is delivered is taken back in the next turn, and what would not be is not delivered."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.api.chat.reply import AnswerBody, _completion
from guardrail.api.chat.request import incoming_chat
from guardrail.api.chat.stream import chunks
from guardrail.api.items import recall_nothing
from guardrail.api.responses.input import InputContext, read_input
from guardrail.api.responses.reply import _output
from guardrail.api.shapes import ImageCollector
from guardrail.engine.canonical_chat import canonical_chat
from guardrail.engine.visible_text import extract_text
from guardrail.errors import RequestError, UpstreamError
from guardrail.images.limits import ImageLimits
from guardrail.message_form import (
    MESSAGE_FIELDS,
    PART_EXTRAS,
    TEXT_PARTS,
    Form,
    find_unknown,
    part_texts,
)
from guardrail.types import Chat, Usage
from guardrail.upstreams.streamed import Gathered
from guardrail.upstreams.wire import answer_from

EXCHANGES = Path(__file__).parents[2] / "upstreams" / "exchanges"
CHAT = Chat("m", ({"role": "user", "content": "What is this?"},))
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
SEAL = "Aa0_" * 20


def delivered(answer):
    """The message of a whole reply."""
    told = AnswerBody(answer.message, answer.finish_reason, answer.model, answer.extra)
    return _completion(told, Usage(), CHAT, "r")


def streamed(completion):
    """The message that a client puts together from the reply's chunks."""
    whole = Gathered()
    for chunk in chunks(completion, include_usage=False):
        whole.add(chunk)
    return whole.message


def taken(message):
    """The message as it is asked of a model in the next turn. Raises RequestError."""
    history = [*CHAT.messages, message, {"role": "user", "content": "And now?"}]
    body = json.loads(json.dumps({"model": "m", "messages": history}))
    incoming = incoming_chat(body, max_images=0, limits=ImageLimits())
    return canonical_chat(incoming.chat).messages[1]


def canonical(message):
    return canonical_chat(Chat("m", (message,))).messages[0]


def check_both_ways(message, finish_reason="stop"):
    """Whether the answer is wholly read; and if so, that it comes back whole, however it went."""
    response = {"choices": [{"message": message, "finish_reason": finish_reason}]}
    answer = answer_from(response)
    known = not [*find_unknown(answer.message)]
    assert known or extract_text(answer).unscanned
    completion = delivered(answer)
    whole = completion["choices"][0]["message"]
    if not known:
        with pytest.raises(RequestError):
            taken(whole)
        return False
    kept = {name: value for name, value in canonical(whole).items() if name in MESSAGE_FIELDS}
    assert taken(whole) == kept
    check_stream(kept, taken(streamed(completion)))
    check_items(answer.message)
    return True


def check_items(message):
    """As items of a response it comes back as one message with the same texts and calls."""
    items = [*_output(message, "r", "completed")]
    if not items:
        return
    (read,) = read_input(items, InputContext(ImageCollector(0), recall_nothing))
    assert (texts_of(read), [*calls_of(read)]) == (texts_of(message), [*calls_of(message)])
    content = read["content"]
    assert (
        content is None
        or isinstance(content, str)
        or {part["type"] for part in content} == {"text"}
    )
    assert content or read.get("refusal") or read.get("tool_calls")


def texts_of(message):
    """What is said, and what is said in refusing, wherever it stands; reasoning aside."""
    content = message.get("content") or []
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    said = [part["text"] for part in parts if part["type"] in ("text", "output_text")]
    refused = [part["refusal"] for part in parts if part["type"] == "refusal"]
    return "".join(said), "".join([*refused, message.get("refusal") or ""])


def calls_of(message):
    """Names and what they are given; the old form of a call is one of them."""
    for call in message.get("tool_calls") or []:
        kind = call.get("type", "function")
        yield kind, *call[kind].values()
    if message.get("function_call"):
        yield "function", *message["function_call"].values()


def without_places(message):
    """Without the places of calls in a list, which a stream tells in its own way."""
    calls = [
        {name: value for name, value in call.items() if name != "index"}
        for call in message.get("tool_calls", [])
    ]
    calls = {"tool_calls": calls} if calls else {}
    return {**message, "content": message.get("content") or None, **calls}


def check_stream(whole, piecewise):
    """Of a content in parts the texts are in their places, everything else is the same."""
    content, spoken = whole.get("content"), ("content", "refusal", "reasoning_content")
    if not isinstance(content, list):
        assert without_places(piecewise) == without_places(whole)
        return
    piecewise, whole = without_places(piecewise), without_places(whole)
    others = whole.keys() - spoken
    assert {name: piecewise[name] for name in others} == {name: whole[name] for name in others}
    for part in content:
        place = {"text": "content", "output_text": "content", "refusal": "refusal"}
        for text in part_texts(part):
            assert text in piecewise[place.get(part["type"], "reasoning_content")]


MESSAGES = {
    "text": {"content": "A cat."},
    "parts": {"content": [{"type": "text", "text": "A "}, {"type": "text", "text": "cat."}]},
    "output text": {"content": [{"type": "output_text", "text": "A cat.", "annotations": []}]},
    "no parts": {"content": [], "tool_calls": [CALL]},
    "refusal": {"content": None, "refusal": "No."},
    "a refusal part": {"content": [{"type": "refusal", "refusal": "No."}]},
    "Mistral's thinking": {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "A cat."}], "closed": True},
            {"type": "text", "text": "A picture of a cat."},
        ],
        "refusal": None,
    },
    "thinking as text": {
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": SEAL},
            {"type": "text", "text": "A cat."},
        ]
    },
    "reasoning parts": {
        "content": [
            {"type": "reasoning", "reasoning": "Hm."},
            {"type": "reasoning", "text": "Hm."},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Whiskers."}]},
            {"type": "summary_text", "text": "A cat, then."},
            {"type": "text", "text": "A cat."},
        ]
    },
    "DeepSeek": {"content": "A cat.", "reasoning_content": "It has whiskers."},
    "vLLM": {"content": "A cat.", "reasoning": "It has whiskers.", "tool_calls": []},
    "OpenRouter": {
        "content": "A cat.",
        "images": [],
        "reasoning": "Hm.",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "Hm.", "format": "f", "index": 0, "signature": SEAL},
            {"type": "reasoning.encrypted", "data": SEAL, "id": "rs_1"},
        ],
        "annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.example"}}],
    },
    "LiteLLM": {
        "content": "A cat.",
        "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": SEAL}],
        "provider_specific_fields": {"note": "calm"},
    },
    "Gemini, on the message": {
        "content": "A cat.",
        "extra_content": {"google": {"thought_signature": SEAL}},
    },
    "Gemini, on a call": {
        "content": None,
        "tool_calls": [{**CALL, "extra_content": {"google": {"thought_signature": SEAL}}}],
    },
    "signatures": {"content": "A cat.", "signature": SEAL, "thoughtSignature": SEAL},
    "Copilot": {"content": "A cat.", "reasoning_text": "Hm.", "reasoning_opaque": SEAL},
    "a custom tool": {
        "content": None,
        "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "x", "input": "ls"}}],
    },
    "the old call": {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
    "empty fields of any name": {"content": "A cat.", "audio": None, "images": [], "hologram": {}},
    "an id and a name": {"id": "msg_1", "name": "helper", "content": "A cat."},
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
def test_shapes_of_providers(message):
    assert check_both_ways({"role": "assistant", **message})


UNKNOWN = {
    "images": {"content": "A cat.", "images": [{"image_url": {"url": "data:image/png;base64,AA"}}]},
    "audio": {"content": "A cat.", "audio": {"id": "a"}},
    "a field": {"content": "A cat.", "hologram": "x"},
    "a picture part": {
        "content": [
            {"type": "text", "text": "A"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        ]
    },
    "a part of another kind": {
        "content": [{"type": "text", "text": "A"}, {"type": "reference", "reference_ids": [1]}]
    },
    "a field of a part": {"content": [{"type": "text", "text": "A", "more": "x"}]},
    "a picture in a part": {
        "content": [{"type": "text", "text": "A", "image_url": {"url": "https://a.example"}}]
    },
    "a picture in thoughts": {
        "content": [
            {"type": "text", "text": "A"},
            {"type": "thinking", "thinking": [{"type": "image_url", "image_url": {"url": "x"}}]},
        ]
    },
    "a picture in details": {
        "content": "A cat.",
        "reasoning_details": [{"type": "image_url", "image_url": {"url": "https://a.example"}}],
    },
    "a picture as text in a free field": {
        "content": "A cat.",
        "annotations": [{"deep": ["data:image/png;base64,AAAA"]}],
    },
}


@pytest.mark.parametrize("message", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_is_not_taken_back_is_not_called_read(message):
    assert not check_both_ways({"role": "assistant", **message})


def test_an_identifier_that_is_no_text_is_left_out_of_a_request():
    assert "id" not in taken({"role": "assistant", "content": "A cat.", "id": 7})


def recorded():
    """Every answer that the tests of upstreams know, whole or put together from its events."""
    for path in sorted(EXCHANGES.rglob("*.json")):
        exchange = json.loads(path.read_text())
        if "means" not in exchange:
            continue
        if "events" in exchange:
            whole = Gathered()
            for event in exchange["events"]:
                if isinstance(event, dict):
                    whole.add(event)
            response = whole.completion()
        else:
            response = exchange["body"]
        yield pytest.param(response["choices"][0]["message"], id=str(path.relative_to(EXCHANGES)))


@pytest.mark.parametrize("message", [*recorded()])
def test_answers_of_the_servers_that_are_known(message):
    assert check_both_ways(message)


WORDS = st.text("abc <>{}\u00e9\u4e2d", min_size=1, max_size=12)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=5,
)


@st.composite
def text_parts(draw, depth=0):
    kind = draw(st.sampled_from(sorted(TEXT_PARTS)))
    name = draw(st.sampled_from(TEXT_PARTS[kind]))
    value = draw(WORDS)
    if name in ("thinking", "reasoning", "summary") and depth < 2 and draw(st.booleans()):
        value = draw(st.lists(text_parts(depth + 1), max_size=2))
    extras = draw(st.dictionaries(st.sampled_from(sorted(PART_EXTRAS)), JSON_VALUES, max_size=2))
    return {"type": kind, name: value, **extras}


FORMS = {
    Form.TEXT: st.none() | WORDS,
    Form.CONTENT: st.none() | WORDS | st.lists(text_parts(), max_size=3),
    Form.OBJECTS: st.none() | st.lists(st.just(CALL), max_size=2),
    Form.FREE: JSON_VALUES,
}
ODD = st.sampled_from(
    [
        ("hologram", 1),
        ("hologram", 0),
        ("images", []),
        ("refusal", []),
        ("tool_calls", [{**CALL, "images": ["x"]}]),
        ("tool_calls", [{**CALL, "type": "image_generation_call"}]),
        ("images", [1]),
        ("audio", {"id": "a"}),
        ("reasoning", {"image_url": {"url": "x"}}),
        ("content", [{"type": "sound", "sound": "x"}]),
        ("content", [{"type": "text", "text": "A", "hologram": 0}]),
    ]
)


@st.composite
def messages(draw):
    names = draw(st.sets(st.sampled_from(sorted(MESSAGE_FIELDS.keys() - {"role"}))))
    fields = {name: draw(FORMS[MESSAGE_FIELDS[name]]) for name in sorted(names)}
    fields.pop("function_call", None)  # its form is checked when the answer is read
    odd = dict(draw(st.lists(ODD, max_size=1)))
    return {"role": "assistant", "content": "A cat.", **fields, **odd}


@given(messages())
def test_any_message_of_the_table_and_about_it(message):
    try:
        check_both_ways(message)
    except UpstreamError:
        return  # no answer, so nothing is delivered
