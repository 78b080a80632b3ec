"""What is delivered is taken back in the next turn, and reads as what the model had said."""

import json
from dataclasses import dataclass, field

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from guardrail.api.errors import Reply, error_reply
from guardrail.api.incoming import Incoming
from guardrail.api.messages.blocks import content_blocks
from guardrail.api.messages.errors import anthropic_error
from guardrail.api.messages.events import message_events, waiting_event
from guardrail.api.messages.reply import begin_message
from guardrail.api.messages.request import read_message_request
from guardrail.api.messages.tool_input import format_input, read_input_text
from guardrail.api.opening import Opening
from guardrail.api.strict_json import parse_object
from guardrail.engine.canonical_chat import canonical_chat
from guardrail.images.limits import ImageLimits
from guardrail.types import Chat

EVENT = TypeAdapter(RawMessageStreamEvent)
INCOMING = Incoming(Chat("m", ({"role": "user", "content": "Hi"},)))
SEAL = "Aa0_" * 20


def call(arguments, name="f", call_id="c"):
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def delivered(message):
    """The body of a reply that holds this message."""
    made = content_blocks(message, "n", thoughts=True)
    body = {**begin_message(INCOMING, "r"), "content": made.content, "stop_reason": "end_turn"}
    return Reply(200, {**body, "guardrail": {"decision": "pass"}})


def added_up(reply, beats=0):
    """The message as the official client's helper puts it together, and the kinds of events."""
    opening = Opening(name="early") if beats else None
    raw = b"".join(waiting_event(INCOMING, opening) for _ in range(beats))
    raw += b"".join(message_events(reply, INCOMING, opening))
    told = Told()
    for block in raw.decode().strip().split("\n\n"):
        event, data = block.split("\n")
        body = json.loads(data.removeprefix("data: "))
        assert event == f"event: {body['type']}"
        told.kinds.append(body["type"])
        if body["type"] != "ping":  # which the client drops
            event = EVENT.validate_json(json.dumps(body), strict=True)
            told.message = accumulate_event(
                event=event, current_snapshot=told.message, json_bufs=told.buffers
            )
    return told


@dataclass
class Told:
    kinds: list = field(default_factory=list)
    message: object = None
    buffers: dict = field(default_factory=dict)


def taken(content):
    """The message as it is asked of a model in the next turn."""
    turns = [{"role": "assistant", "content": content}, {"role": "user", "content": "And now?"}]
    raw = json.dumps({"model": "m", "max_tokens": 9, "messages": turns}).encode()
    chat = read_message_request(parse_object(raw), max_images=0, limits=ImageLimits()).chat
    return canonical_chat(chat).messages[0]


def meaning(message):
    """A message without the form that its tools' arguments are written in."""
    calls = [
        {**call, "function": {**call["function"], "arguments": read_input_text(
            call["function"]["arguments"])}}
        for call in message.get("tool_calls", [])
    ]  # fmt: skip
    return {**message, **({"tool_calls": calls} if calls else {})}


def check_both_ways(message):
    reply = delivered(message)
    whole = Message.model_validate_json(json.dumps(reply.body), strict=True)
    sent = [block.to_dict() for block in whole.content]
    canonical = canonical_chat(Chat("m", (message,))).messages[0]
    assert meaning(taken(sent)) == meaning(canonical)
    for beats in (0, 3):
        told = added_up(reply, beats)
        assert [block.to_dict() for block in told.message.content] == sent
        assert told.message.id == ("msg_early" if beats else "msg_r")
        assert told.kinds.count("ping") == max(0, beats - 1)
        assert told.kinds[0] == "message_start"
        assert told.kinds.count("message_start") == 1
        assert told.kinds[-2:] == ["message_delta", "message_stop"]


MESSAGES = {
    "text": {"content": "A cat."},
    "parts": {"content": [{"type": "text", "text": "A "}, {"type": "text", "text": "cat."}]},
    "reasoning": {"content": "A cat.", "reasoning_content": "It has whiskers."},
    "signed thoughts": {
        "content": "A cat.",
        "thinking_blocks": [
            {"type": "thinking", "thinking": "Hm.", "signature": SEAL},
            {"type": "redacted_thinking", "data": SEAL},
        ],
    },
    "calls": {
        "content": "I look.",
        "reasoning_content": "Hm.",
        "tool_calls": [call('{"a": 1}'), call("{}", call_id="d")],
    },
    "a call alone": {"content": None, "tool_calls": [call('{"a": {"b": [1.5, null, "é"]}}')]},
    "a call that was cut": {"content": None, "tool_calls": [call('{"a": "b')]},
    "nothing": {"content": None},
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
def test_shapes_of_answers(message):
    check_both_ways({"role": "assistant", **message})


WORDS = st.text("abc <>{}\u00e9\u4e2d\\\"'\n0", min_size=1, max_size=60)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
CALLS = st.lists(
    st.builds(
        call,
        st.dictionaries(WORDS, VALUES, max_size=3).map(json.dumps) | WORDS | st.just("[]"),
        WORDS,
        WORDS,
    ),
    min_size=1,
    max_size=2,
)
THOUGHTS = st.lists(
    st.builds(lambda words: {"type": "thinking", "thinking": words, "signature": SEAL}, WORDS)
    | st.just({"type": "redacted_thinking", "data": SEAL}),
    min_size=1,
    max_size=3,
)


@st.composite
def messages(draw):
    parts = st.lists(WORDS.map(lambda words: {"type": "text", "text": words}), min_size=2,
                     max_size=3)  # fmt: skip
    optional = {
        **draw(st.fixed_dictionaries({}, optional={"tool_calls": CALLS})),
        **draw(
            st.fixed_dictionaries({"thinking_blocks": THOUGHTS})
            | st.fixed_dictionaries({"reasoning_content": WORDS})
            | st.just({})
        ),
    }
    return {"role": "assistant", "content": draw(WORDS | parts | st.none()), **optional}


@given(messages())
def test_any_message_of_texts_thoughts_and_calls(message):
    check_both_ways(message)


# What a tool is given


@given(st.text(max_size=40) | st.dictionaries(st.text(max_size=9), VALUES).map(json.dumps))
@example("")
@example(" ")
@example("null")
@example('"x"')
@example('{"a": 1, "a": 2}')
@example('{"a": NaN}')
@example('{"a": 1e999}')
@example('{"a": "\\ud800"}')
@example('{"INVALID_JSON": "{"}')
@example('{"a":' * 95 + "1" + "}" * 95)
@example('{"a":' * 99999)
def test_no_text_of_arguments_is_lost(text):
    given = read_input_text(text)
    json.dumps(given, allow_nan=False, ensure_ascii=False).encode()
    raw = json.dumps({"type": "tool_use", "id": "c", "name": "f", "input": given})
    taken([json.loads(raw)])
    back = format_input(given)
    if text.strip():
        assert back == text or json.loads(back) == json.loads(text)
    else:
        assert back == "{}"


# What has no place


def told(message, thoughts=True):
    made = content_blocks(message, "n", thoughts=thoughts)
    return [block["type"] for block in made.content], sorted(made.withheld)


@pytest.mark.parametrize(
    ("message", "kinds", "withheld"),
    [
        ({"content": ""}, [], []),
        ({"content": "A.", "reasoning": "Hm.", "reasoning_content": "Hm."},
         ["thinking", "text"], []),
        ({"content": "A.", "reasoning": "Hm.", "reasoning_content": "So."},
         ["thinking", "thinking", "text"], []),
        ({"content": "A.", "reasoning": {"deep": "x"}}, ["text"], ["reasoning"]),
        ({"content": "A.", "reasoning_content": "Hm.",
          "thinking_blocks": [{"type": "thinking", "thinking": "Hm."}]}, ["thinking", "text"], []),
        ({"content": "A.", "reasoning_content": "Other.",
          "thinking_blocks": [{"type": "thinking", "thinking": "Hm."}]},
         ["thinking", "text"], ["reasoning_content"]),
        ({"content": "A.", "thinking_blocks": [1, {"type": "odd"}]}, ["text"],
         ["thinking_blocks"]),
        ({"content": "A.", "thinking_blocks": [{"type": "thinking", "thinking": "x",
                                                "signature": 1}]}, ["text"], ["thinking_blocks"]),
        ({"content": "A.", "extra_content": {"a": 1}, "annotations": []}, ["text"],
         ["extra_content"]),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                      {"type": "refusal", "refusal": "No."}, {"type": "sound"}, 1]},
         ["thinking", "text"], ["content part"]),
        ({"content": [{"type": "thinking", "thinking": "", "signature": SEAL},
                      {"type": "thinking", "thinking": ""}, {"type": "text", "text": 1}]},
         ["thinking"], ["content part"]),
        ({"content": "No.", "refusal": "No."}, ["text"], []),
        ({"content": "A.", "refusal": "No."}, ["text", "text"], []),
        ({"content": None, "tool_calls": [{"id": "c", "type": "custom",
                                           "custom": {"name": "x", "input": "ls"}}]},
         [], ["tool_calls: custom"]),
        ({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, ["tool_use"], []),
    ],
)  # fmt: skip
def test_what_has_a_place(message, kinds, withheld):
    assert told({"role": "assistant", **message}) == (kinds, withheld)


def test_thoughts_that_nobody_asked_for_are_named():
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "A."}]
    assert told({"content": parts}, thoughts=False) == (["text"], ["content part"])
    message = {"content": "A.", "reasoning_content": "Hm.", "thinking_blocks": [{"type": "x"}]}
    assert told(message, thoughts=False) == (["text"], ["reasoning_content", "thinking_blocks"])


def test_calls_without_ids_get_names_of_their_own():
    calls = [{**call("{}"), "id": given} for given in (None, "", 1)]
    made = content_blocks({"content": None, "tool_calls": calls}, "n", thoughts=False)
    names = [block["id"] for block in made.content]
    assert names == ["toolu_n_0", "toolu_n_1", "toolu_n_2"]


@pytest.mark.parametrize("beats", [0, 2])
def test_a_fault_is_an_error_event(beats):
    opening = Opening(name="early", events=beats)
    reply = anthropic_error(error_reply(503, "busy", code="overloaded"), "abc")
    (event,) = message_events(reply, INCOMING, opening)
    kind, data = event.decode().strip().split("\n")
    body = json.loads(data.removeprefix("data: "))
    assert kind == "event: error"
    assert body == reply.body
    assert next(iter(body)) == "type"
    assert body["request_id"] == reply.headers["request-id"] == "abc"
    assert body["error"] == {
        "type": "overloaded_error",
        "message": "busy",
        "details": {"error_code": "overloaded", "param": None},
    }
