"""What reaches the oracle: nothing that a client could read may be left out."""

import asyncio
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine import visible_text as module
from guardrail.engine.visible_text import extract_text, read_answer
from guardrail.types import Answer

HARM = "forbidden"
ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in HARM)


def tool_call(arguments, name="look", **fields):
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"id": "call_1", "type": "function", "function": function, **fields}]}


READABLE = {
    "content": {"content": f"so {HARM}"},
    "content parts": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": HARM}]},
    "output text": {"content": [{"type": "output_text", "text": HARM}]},
    "a refusal part": {"content": [{"type": "refusal", "refusal": HARM}]},
    "a word split over parts": {
        "content": [{"type": "text", "text": "forb"}, {"type": "text", "text": "idden"}]
    },
    "a part beside its text": {"content": [{"type": "text", "text": "a", "more": HARM}]},
    "a text that is no text": {"content": [{"type": "text", "text": {"value": HARM}}]},
    "plain strings": {"content": ["a", HARM]},
    "content that is an object": {"content": {"text": HARM}},
    "both text and refusal": {"content": [{"type": "text", "text": "a", "refusal": HARM}]},
    "refusal": {"content": "a", "refusal": HARM},
    "refusal alone": {"content": None, "refusal": HARM},
    "a refusal that is no text": {"refusal": {"text": HARM}},
    "reasoning_content": {"content": "a", "reasoning_content": HARM},
    "reasoning": {"content": "a", "reasoning": {"summary": [HARM]}},
    "thinking": {"content": "a", "thinking": HARM},
    "thinking blocks": {"thinking_blocks": [{"type": "thinking", "thinking": HARM}]},
    "a thinking part": {"content": [{"type": "thinking", "thinking": [{"text": HARM}]}]},
    "provider fields": {"content": "a", "provider_specific_fields": {"note": HARM}},
    "annotations": {"content": "a", "annotations": [{"url_citation": {"title": HARM}}]},
    "tool arguments": tool_call(json.dumps({"q": HARM})),
    "tool name": tool_call("{}", name=f"do {HARM}"),
    "a tool key": tool_call(json.dumps({HARM: 1})),
    "escapes in arguments": tool_call(f'{{"q": "{ESCAPED}"}}'),
    "an escaped key": tool_call(f'{{"{ESCAPED}": 1}}'),
    "a value overwritten": tool_call(f'{{"q": "{ESCAPED}", "q": "fine"}}'),
    "JSON in JSON": tool_call(json.dumps({"q": json.dumps({"q": "?"}).replace("?", ESCAPED)})),
    "arguments that are no JSON": tool_call(f"{{{HARM}"),
    "arguments that are an object": tool_call({"deep": [{"q": HARM}]}),
    "a key of such an object": tool_call({HARM: 1}),
    "a value under a name of OpenAI's own": tool_call({"id": f"{HARM}-1", "type": "x"}),
    "a name of OpenAI's own in a list": tool_call([{"deep": {"format": f"{HARM}_now"}}]),
    "a seal of the model's own": tool_call({"signature": f"{HARM}_{'really' * 9}"}),
    "tool calls that are an object": {"tool_calls": {"function": {"arguments": HARM}}},
    "a custom tool": {"tool_calls": [{"type": "custom", "custom": {"name": "x", "input": HARM}}]},
    "function and custom": {
        "tool_calls": [{"function": {"arguments": "{}"}, "custom": {"input": HARM}}]
    },
    "function_call": {"function_call": {"name": "x", "arguments": f'["{ESCAPED}"]'}},
    "escapes in structured content": {"content": f'{{"text": "{ESCAPED}"}}'},
    "a quoted JSON text": {"content": f' "{ESCAPED}"'},
    "an identifier that speaks": {"content": "a", "id": f"very {HARM}"},
    "a role that speaks": {"role": f"very {HARM}", "content": "a"},
}


@pytest.mark.parametrize("message", READABLE.values(), ids=READABLE.keys())
def test_every_readable_text_is_judged(message):
    assert HARM in extract_text(Answer(message)).text


UNREADABLE = {
    "audio": {"content": "a", "audio": {"data": "AAAA", "transcript": "fine"}},
    "images": {"content": "a", "images": [{"url": "data:"}]},
    "an image part": {"content": [{"type": "image_url", "image_url": {"url": "data:"}}]},
    "a part without a type": {"content": [{"video": "AAAA"}]},
    "an unknown field": {"content": "a", "hologram": "AAAA"},
}


@pytest.mark.parametrize("message", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_not_text_is_named(message):
    assert extract_text(Answer(message)).unscanned


def test_unreadable_fields_beside_the_message_are_named():
    assert extract_text(Answer({"content": "a"}, extra={"audio": "AAAA"})).unscanned == ("audio",)


def test_empty_fields_of_any_name_do_no_harm():
    message = {"content": "a", "audio": None, "hologram": None, "tool_calls": [], "images": []}
    assert extract_text(Answer(message)) == extract_text(Answer({"content": "a"}))


def test_what_is_passed_on_beside_the_message_is_judged():
    extra = {"citations": [HARM], "system_fingerprint": "fp_1", "service_tier": "default"}
    assert extract_text(Answer({"content": "a"}, extra=extra)).text == f"a\n{HARM}"


def test_a_provider_s_own_categories_are_no_text_of_the_model():
    extra = {"content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}
    assert extract_text(Answer({"content": "a"}, extra=extra)).text == "a"


def test_structure_is_not_read_as_text():
    message = {"role": "assistant", "content": None, **tool_call('{"q": "cat"}')}
    assert extract_text(Answer(message)).text == 'look\n{"q": "cat"}'


def test_texts_keep_their_order():
    message = {"content": [{"type": "text", "text": t} for t in ("one ", "two ", "three")]}
    assert extract_text(Answer(message)).text.startswith("one two three")


def test_deep_nesting_ends():
    deep = "[" * 5000 + "\\" + "]" * 5000
    assert extract_text(Answer({"content": deep})).text == deep
    nested: object = HARM
    for _ in range(5000):
        nested = [nested]
    assert HARM in extract_text(Answer({"content": "a", "reasoning": nested})).text


def test_decoding_ends():
    text = '"\\n"'
    for _ in range(8):
        text = json.dumps(text)
    assert extract_text(Answer({"content": text})).text.count("\n") < 10


@pytest.mark.parametrize(
    ("message", "finish_reason", "refused", "empty"),
    [
        ({"content": "a"}, "stop", False, False),
        ({"content": None, "refusal": "No."}, "stop", True, False),
        ({"content": "a", "refusal": "No."}, "stop", False, False),
        ({"content": ""}, "content_filter", True, False),
        ({"content": "How to"}, "content_filter", False, False),
        ({"content": None}, "stop", False, True),
        ({"content": " \n"}, "stop", False, True),
        ({"content": None, "refusal": " "}, "stop", False, True),
        ({"content": None, "audio": "AAAA"}, "stop", False, False),
        ({"content": []}, "stop", False, True),
    ],
)
def test_refused_and_empty(message, finish_reason, refused, empty):
    found = extract_text(Answer({"role": "assistant", **message}, finish_reason))
    assert (found.refused, found.is_empty) == (refused, empty)


def test_an_empty_message_stays_empty_whatever_stands_beside_it():
    assert extract_text(Answer({"content": ""}, extra={"note": "hello"})).is_empty


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=12,
    )
)
def test_any_arguments_are_read_in_full(value):
    """Whatever JSON a model makes, every text in it, keys included, is in what is judged."""
    text = extract_text(Answer(tool_call(json.dumps({"a": [value, HARM]})))).text
    decoded = extract_text(Answer(tool_call({"a": [value, HARM]}))).text
    for part in _texts(value):
        assert part in decoded
        assert part in text or part in text.encode().decode("unicode_escape")
    assert HARM in text


def _texts(value):
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, dict):
        keys = [key for key in value if key.strip() and not _is_structure(key)]
        return keys + [t for v in value.values() for t in _texts(v)]
    return [t for item in value for t in _texts(item)] if isinstance(value, list) else []


def _is_structure(key):
    return key.isascii() and key.replace("_", "").isalpha()


LONG = {
    "a long text": {"content": "word " * 5_000},
    "long arguments": {"tool_calls": [{"function": {"arguments": "x y " * 6_000}}]},
    "a long name": {"content": "a", "y" * 30_000: 1},
    "many parts": {"content": [{"type": "text", "text": ""}] * 30_000},
}


@pytest.mark.no_cover
@pytest.mark.parametrize("message", LONG.values(), ids=LONG)
def test_long_answers_are_read_aside(message, monkeypatch):
    assert read_in(message, monkeypatch) is not threading.main_thread()


@pytest.mark.parametrize("message", [{"content": "a hat"}, {}, {"content": "word " * 1_000}])
def test_short_answers_are_read_at_once(message, monkeypatch):
    assert read_in(message, monkeypatch) is threading.main_thread()


def read_in(message, monkeypatch):
    """The thread that an answer is read in, having checked what was read."""
    threads = []

    def noted(answer):
        threads.append(threading.current_thread())
        return extract_text(answer)

    monkeypatch.setattr(module, "extract_text", noted)
    answer = Answer(message=message)
    assert asyncio.run(read_answer(answer)) == extract_text(answer)
    return threads[0]
