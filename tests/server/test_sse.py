"""Streams: the sum of the chunks is the answer, and nothing leaves before the verdict."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from guardrail.api.chat.stream import chunks, events, waiting_chunk
from guardrail.api.errors import Reply, error_reply
from guardrail.api.incoming import Incoming
from guardrail.api.opening import Opening
from guardrail.api.settings import ServerSettings
from guardrail.types import Chat
from guardrail.upstreams.scripted import Fault, Step

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "b c d"}'}}


def completion(message, **choice):
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None, "refusal": None, **message},
                "finish_reason": "stop",
                **choice,
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        "system_fingerprint": "fp",
        "guardrail": {"decision": "pass"},
    }


def deltas(message, **choice):
    made = list(chunks(completion(message, **choice), include_usage=False))
    return [chunk["choices"][0]["delta"] for chunk in made]


def added_up(parts, name):
    return "".join(part.get(name) or "" for part in parts)


@given(TEXT, TEXT, TEXT)
def test_pieces_add_up(content, refusal, reasoning):
    parts = deltas({"content": content, "refusal": refusal, "reasoning_content": reasoning})
    assert parts[0]["role"] == "assistant"
    assert added_up(parts, "content") == content
    assert added_up(parts, "refusal") == refusal
    assert added_up(parts, "reasoning_content") == reasoning
    assert all(len(part.get("content") or "") <= 48 for part in parts)


def test_pieces_end_at_words_and_stay_few():
    words = "word " * 20
    pieces = [part["content"] for part in deltas({"content": words}) if part.get("content")]
    assert len(pieces) > 1
    assert all(piece.endswith(" ") for piece in pieces)
    assert len(deltas({"content": "x" * 1_000_000})) < 600


def test_the_frame_of_a_stream():
    made = list(chunks(completion({"content": "Hello."}), include_usage=True))
    assert {chunk["object"] for chunk in made} == {"chat.completion.chunk"}
    assert {(chunk["id"], chunk["model"], chunk["created"]) for chunk in made} == {
        ("chatcmpl-1", "m", 5)
    }
    *body, end, usage = made
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in body)
    assert all(chunk["usage"] is None and "guardrail" not in chunk for chunk in body)
    assert end["choices"][0]["finish_reason"] == "stop"
    assert end["choices"][0]["delta"] == {}
    assert end["guardrail"] == {"decision": "pass"}
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 3)


def test_usage_comes_only_where_it_is_asked_for():
    made = list(chunks(completion({"content": "Hello."}), include_usage=False))
    assert all("usage" not in chunk and chunk["choices"] for chunk in made)


def test_tool_calls():
    second = {"id": "d", "type": "custom", "custom": {"name": "g", "input": "x"}}
    parts = deltas({"tool_calls": [CALL, second]}, finish_reason="tool_calls")
    calls = [part["tool_calls"][0] for part in parts if "tool_calls" in part]
    assert parts[0]["content"] is None
    first = [call for call in calls if call["index"] == 0]
    assert first[0]["id"] == "c"
    assert first[0]["function"] == {"name": "f", "arguments": ""}
    arguments = "".join(call["function"]["arguments"] for call in first)
    assert arguments == CALL["function"]["arguments"]
    assert [call for call in calls if call["index"] == 1] == [{**second, "index": 1}]


def test_content_in_parts_becomes_text():
    content = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}, "odd"]
    parts = deltas({"content": content})
    assert (added_up(parts, "content"), added_up(parts, "refusal")) == ("a", "no")


def test_a_long_answer_comes_in_blocks(run, kit):
    words = "word " * 8_000

    async def scenario():
        settings = ServerSettings(first_byte_s=0.001, heartbeat_s=0.001)
        async with kit.proxy([Step(words, delay_s=0.1)], settings=settings) as proxy:
            return await streamed(proxy, kit)

    _, text = run(scenario())
    *made, _ = kit.events_of(text)
    assert added_up([c["choices"][0]["delta"] for c in made], "content") == words


def test_why_a_server_stopped_is_told_at_the_end():
    *parts, end = chunks(completion({"content": "x"}, stop_reason="###"), include_usage=False)
    assert end["choices"][0]["stop_reason"] == "###"
    assert all("stop_reason" not in part["choices"][0] for part in parts)


def test_logprobs_are_sent_once():
    made = list(
        chunks(completion({"content": "x" * 200}, logprobs={"content": [1]}), include_usage=False)
    )
    sent = [c["choices"][0]["logprobs"] for c in made if c["choices"][0]["logprobs"]]
    assert sent == [{"content": [1]}]


def test_other_fields_come_whole():
    parts = deltas({"content": "x", "annotations": [1], "function_call": {"name": "f"}})
    assert parts[0]["annotations"] == [1]
    assert parts[0]["function_call"] == {"name": "f"}


def test_an_error_is_one_event(kit):
    text = b"".join(events(error_reply(502, "gone"), include_usage=True)).decode()
    error, done = kit.events_of(text)
    assert error["error"]["message"] == "gone"
    assert done == "[DONE]"


def test_events_are_lines_of_json(kit):
    reply = Reply(200, completion({"content": "a\n\ndata: b\u2028c"}))
    text = b"".join(events(reply, include_usage=False)).decode()
    assert text.endswith("data: [DONE]\n\n")
    *parsed, done = kit.events_of(text)
    assert added_up([c["choices"][0]["delta"] for c in parsed], "content") == "a\n\ndata: b\u2028c"
    assert done == "[DONE]"


# Over sockets


async def streamed(proxy, kit, **fields):
    response = await proxy.chat(stream=True, **fields)
    return response, response.text


HEARTBEATS = {"comments": ": waiting for the verdict", "chunks": '"delta":{}'}


@pytest.mark.parametrize("images", [0, 1])
@pytest.mark.parametrize("heartbeat", HEARTBEATS)
def test_heartbeats_come_before_the_verdict_and_nothing_else(run, kit, heartbeat, images):
    async def scenario():
        gate = asyncio.Event()

        class Gated(kit.Words):
            async def judge(self, exchanges):
                await gate.wait()
                return await super().judge(exchanges)

        settings = ServerSettings(first_byte_s=0.05, heartbeat_s=0.05)
        policy = kit.make_policy(streams={"heartbeat": heartbeat})
        async with kit.proxy(oracle=Gated(), policy=policy, settings=settings) as proxy:
            body = kit.request(images, stream=True)
            seen = ""
            async with proxy.client.stream("POST", "/v1/chat/completions", json=body) as response:
                async for piece in response.aiter_text():
                    seen += piece
                    if not gate.is_set() and seen.count(HEARTBEATS[heartbeat]) == 3:
                        before = seen
                        gate.set()
            return response, before, seen

    response, before, seen = run(scenario())
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-guardrail-decision"] == "pending"
    assert seen.startswith(before)
    *made, done = kit.events_of(seen)
    if heartbeat == "comments":
        assert {line for line in before.split("\n") if line} == {": waiting for the verdict"}
    else:
        first, *empty = [chunk["choices"][0]["delta"] for chunk in kit.events_of(before)]
        assert first == {"role": "assistant", "content": None}
        assert empty == [{}] * 3
    assert [c["choices"][0]["delta"].get("role") for c in made].count("assistant") == 1
    assert len({(chunk["id"], chunk["created"]) for chunk in made}) == 1
    assert added_up([c["choices"][0]["delta"] for c in made], "content") == "A picture."
    assert made[-1]["guardrail"]["decision"] == "pass"
    assert made[-1]["guardrail"]["samples"]["total"] == (32 if images else 0)
    assert done == "[DONE]"


@given(message=st.fixed_dictionaries({}, optional={
    "content": st.none() | st.text(max_size=120), "refusal": st.none() | st.text(max_size=120),
    "reasoning_content": st.text(max_size=60), "tool_calls": st.just([CALL])}),
    beats=st.integers(0, 3), usage=st.booleans())  # fmt: skip
def test_what_the_client_adds_up_is_the_same_after_heartbeats(message, beats, usage):
    """By the official client's own addition."""
    opening, whole = Opening(name="abc", created=0), completion(message)
    incoming = Incoming(Chat("m", ({"role": "user", "content": "Hi"},)), include_usage=usage)
    waited = [json.loads(waiting_chunk(incoming, opening)[6:]) for _ in range(beats)]
    made = summed([*waited, *chunks(whole, usage, opening)])
    assert made == summed(chunks(whole, usage)) | (
        {"id": "chatcmpl-abc", "created": 0} if beats else {}
    )


def summed(parts):
    state = ChatCompletionStreamState()
    for part in parts:
        state.handle_chunk(ChatCompletionChunk.model_validate(part))
    made = state.current_completion_snapshot.to_dict()
    return {**made, "model": "-"}


def test_a_fault_after_heartbeats_keeps_the_clients_addition_whole(kit):
    opening = Opening()
    incoming = Incoming(Chat("m", ({"role": "user", "content": "Hi"},)))
    waiting_chunk(incoming, opening)
    error, done = kit.events_of(
        b"".join(events(error_reply(502, "gone"), include_usage=True, opening=opening)).decode()
    )
    assert (error["error"]["message"], done) == ("gone", "[DONE]")


def test_a_quick_verdict_speaks_in_headers(run, kit):
    async def scenario():
        async with kit.proxy() as proxy:
            return await streamed(proxy, kit, images=1)

    response, text = run(scenario())
    assert response.headers["x-guardrail-decision"] == "pass"
    assert float(response.headers["x-guardrail-radius"]) >= 0.25
    assert ": waiting" not in text


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("style", ["refusal", "message", "error"])
def test_blocks_in_every_style(run, kit, style, late):
    async def scenario():
        policy = kit.make_policy(block={"style": style, "text": "Not this."})
        script = [Step(kit.HARM, delay_s=0.1)]
        settings = ServerSettings(
            first_byte_s=0.001 if late else 60.0, heartbeat_s=0.001 if late else 60.0
        )
        async with kit.proxy(script, policy=policy, settings=settings) as proxy:
            return await streamed(proxy, kit, images=1)

    response, text = run(scenario())
    assert "forbidden" not in text
    if style == "error" and not late:
        assert response.status_code == 400
        assert json.loads(text)["error"]["code"] == "content_policy_violation"
        return
    assert response.status_code == 200
    *made, done = kit.events_of(text)
    assert done == "[DONE]"
    if style == "error":
        assert made[-1]["error"]["code"] == "content_policy_violation"
        return
    parts = [c["choices"][0]["delta"] for c in made]
    refusal = "Not this." if style == "refusal" else ""
    assert (added_up(parts, "content"), added_up(parts, "refusal")) == ("Not this.", refusal)
    assert made[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert made[-1]["guardrail"]["reason"] == "harmful"


@pytest.mark.parametrize("late", [False, True])
def test_errors_of_the_model(run, kit, late):
    async def scenario():
        fault = Step(delay_s=0.1, fault=Fault.STATUS, status=429, retry_after="7")
        settings = ServerSettings(
            first_byte_s=0.001 if late else 60.0, heartbeat_s=0.001 if late else 60.0
        )
        async with kit.proxy([fault], settings=settings) as proxy:
            return await streamed(proxy, kit)

    response, text = run(scenario())
    if late:
        *_, error, done = kit.events_of(text)
        assert (response.status_code, done) == (200, "[DONE]")
    else:
        error = json.loads(text)
        assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert error["error"]["type"] == "rate_limit_error"


def test_mistakes_are_told_before_a_stream_begins(run, kit):
    async def scenario():
        async with kit.proxy() as proxy:
            return await proxy.chat(stream=True, messages=[])

    response = run(scenario())
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages"
