"""Response objects: everything that was said is in them, and the sum of the events is the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.api.errors import error_reply
from guardrail.api.incoming import Incoming
from guardrail.api.opening import Opening
from guardrail.api.responses.events import response_events, typed_events, waiting_events
from guardrail.api.responses.reply import response_to
from guardrail.engine.verdict import Action, Reason, Verdict
from guardrail.types import Answer, Chat, Usage

INCOMING = Incoming(Chat("asked-for", ()), echo={"temperature": 0.5, "tools": []})
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=120)
PARTS = st.lists(
    st.builds(lambda words: {"type": "text", "text": words}, WORDS)
    | st.builds(lambda words: {"type": "refusal", "refusal": words}, WORDS),
    min_size=1,
    max_size=3,
)
CALLS = st.lists(
    st.builds(
        lambda name, words: {
            "id": f"call-{name}",
            "type": "function",
            "function": {"name": name, "arguments": words},
        },
        WORDS,
        WORDS,
    )
    | st.builds(
        lambda words: {"id": "c", "type": "custom", "custom": {"name": "g", "input": words}}, WORDS
    ),
    max_size=3,
)
MESSAGES = st.fixed_dictionaries(
    {"content": st.none() | WORDS | PARTS},
    optional={"refusal": st.none() | WORDS, "tool_calls": CALLS},
)


def passed(message, **fields):
    answer = Answer({"role": "assistant", **message}, model="answered", **fields)
    return Verdict(
        action=Action.PASS, reason=Reason.CERTIFIED, answer=answer, usage=Usage(10, 5, 2)
    )


def reply(kit, message, **fields):
    return response_to(passed(message, **fields), INCOMING, kit.make_policy(), "abc")


def texts(message):
    """What of a message must arrive, in its order."""
    content = message["content"]
    parts = [content] if isinstance(content, str) else content or []
    for part in parts:
        yield part if isinstance(part, str) else part.get("text", part.get("refusal"))
    yield from filter(None, [message.get("refusal")])
    for call in message.get("tool_calls", []):
        yield call.get("function", {}).get("arguments", call.get("custom", {}).get("input"))


def told(response):
    for item in response["output"]:
        for part in item.get("content", []):
            yield part.get("text", part.get("refusal"))
        if item["type"] != "message":
            yield item.get("arguments", item.get("input"))


@given(MESSAGES)
def test_nothing_that_was_said_is_lost(kit, message):
    response = reply(kit, message).body
    assert list(told(response)) == list(texts(message))
    assert "withheld" not in response["guardrail"]
    assert len({item["id"] for item in response["output"]}) == len(response["output"])
    assert (response["model"], response["temperature"]) == ("answered", 0.5)


@given(MESSAGES)
def test_the_sum_of_the_events_is_the_response(kit, message):
    made = reply(kit, message)
    events = list(typed_events(made, INCOMING))
    pieces, added = {}, []
    for kind, fields in events:
        if kind.endswith(".delta"):
            place = (fields["output_index"], fields.get("content_index", 0))
            pieces[place] = pieces.get(place, "") + fields["delta"]
        elif kind == "response.output_item.done":
            added.append(fields["item"])
    assert list(pieces.values()) == list(texts(message))
    assert added == made.body["output"]
    kinds = [kind for kind, _ in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert events[-1][1]["response"] == made.body
    assert events[0][1]["response"]["guardrail"] is None
    opened = kinds.count("response.content_part.added")
    assert kinds.count("response.content_part.done") == opened
    assert kinds.count("response.output_item.added") == len(added)


def test_what_has_no_place_is_named(kit):
    message = {
        "content": [{"type": "image", "image": "x"}, "odd", {"type": "text", "text": "a"}],
        "audio": {"data": "x"},
        "annotations": [],
    }
    response = reply(kit, message, extra={"citations": ["x"], "logprobs": None}).body
    assert list(told(response)) == ["a"]
    assert response["guardrail"]["withheld"] == ["audio", "citations", "content part"]


def test_an_answer_that_a_filter_emptied(kit):
    response = reply(kit, {"content": None}, finish_reason="content_filter").body
    assert (response["output"], response["status"]) == ([], "incomplete")
    assert response["incomplete_details"] == {"reason": "content_filter"}


def test_events_are_numbered_and_named_twice(kit):
    made = b"".join(response_events(reply(kit, {"content": "Hi"}), INCOMING)).decode()
    blocks = [block.split("\n") for block in made.strip().split("\n\n")]
    for number, (event, data) in enumerate(blocks):
        body = json.loads(data.removeprefix("data: "))
        assert event == f"event: {body['type']}"
        assert body["sequence_number"] == number


@given(MESSAGES, st.integers(0, 3))
def test_a_stream_that_has_begun_goes_on_under_its_name(kit, message, beats):
    opening = Opening(name="early", created=5)
    text = b"".join(waiting_events(INCOMING, opening) for _ in range(beats))
    text += b"".join(response_events(reply(kit, message), INCOMING, opening))
    blocks = text.decode().strip().split("\n\n")
    made = [json.loads(block.split("\n")[1].removeprefix("data: ")) for block in blocks]
    assert [event["sequence_number"] for event in made] == list(range(len(made)))
    kinds = [event["type"] for event in made]
    assert kinds.count("response.created") == 1
    assert kinds.count("response.in_progress") == max(1, beats)
    named = {event["response"]["id"] for event in made if "response" in event}
    assert named == {"resp_early" if beats else "resp_abc"}


def test_a_fault_goes_on_under_the_streams_name():
    opening = Opening(name="early", created=5)
    waiting_events(INCOMING, opening)
    failed, error = typed_events(error_reply(503, "busy"), INCOMING, opening)
    assert (failed[0], error[0]) == ("response.failed", "error")
    assert failed[1]["response"]["id"] == "resp_early"


def test_an_error_without_a_decision(kit):
    events = list(typed_events(error_reply(503, "busy"), INCOMING))
    assert [kind for kind, _ in events][-2:] == ["response.failed", "error"]
    response, error = events[-2][1]["response"], events[-1][1]
    assert response["error"] == {"code": "server_error", "message": "busy"}
    assert (response["output"], response["status"]) == ([], "failed")
    assert error["error"]["message"] == error["message"] == "busy"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_prompt"),
        (401, "invalid_prompt"),
        (429, "rate_limit_exceeded"),
        (500, "server_error"),
        (504, "server_error"),
    ],
)
def test_a_response_that_failed_has_a_code_that_openais_clients_declare(status, code):
    events = dict(typed_events(error_reply(status, "no", code="our_own"), INCOMING))
    assert events["response.failed"]["response"]["error"]["code"] == code
    assert events["error"]["code"] == "our_own"
