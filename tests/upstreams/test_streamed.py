"""Streams of a provider: put together as one answer, read strictly, broken off at a word."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import UpstreamError
from guardrail.upstreams.base import StreamingUpstream
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, Scripted, State, Step
from guardrail.upstreams.scripted_server import scripted_server
from guardrail.upstreams.streamed import Events, Gathered
from guardrail.upstreams.wire import answer_from

TEXT = "One two three four five six seven eight nine ten."


def chunk(delta=None, finish=None, **fields):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "1", "model": "m", "choices": [choice], **fields}


def gathered(*chunks):
    whole = Gathered()
    for one in chunks:
        whole.add(one)
    return whole


class TestEvents:
    @given(st.lists(st.integers(1, 12), min_size=1, max_size=60))
    def test_however_the_bytes_are_cut(self, sizes):
        body = b'data: {"a": 1}\r\n\r\n: heartbeat\n\nevent: x\ndata:{"b":2}\n\ndata: [DONE]\n\n'
        events, found, place = Events(), [], 0
        for size in sizes * len(body):
            found += events.feed(body[place : place + size])
            place += size
        assert found == [{"a": 1}, {"b": 2}]
        assert events.done

    def test_nothing_counts_after_the_end(self):
        events = Events()
        assert list(events.feed(b"data: [DONE]\n\ndata: {}\n\n")) == []
        assert events.done

    @pytest.mark.parametrize("line", [b"data: {", b"data: NaN", b"data: \xff", b'data: "\\ud800"'])
    def test_what_is_no_json_is_an_error(self, line):
        with pytest.raises(UpstreamError, match="JSON"):
            list(Events().feed(line + b"\n\n"))


class TestGathered:
    def test_text_and_usage(self):
        whole = gathered(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "A "}),
            chunk({"content": "cat."}),
            chunk(finish="stop", system_fingerprint="fp"),
            {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}},
        )
        answer = answer_from(whole.completion())
        assert answer.text == "A cat."
        assert answer.finish_reason == "stop"
        assert answer.model == "m"
        assert answer.usage.prompt_tokens == 7
        assert answer.extra["system_fingerprint"] == "fp"
        assert whole.chars == len("A cat.")
        assert whole.finished

    def test_reasoning_and_refusal_grow_too(self):
        whole = gathered(
            chunk({"reasoning_content": "I th"}),
            chunk({"reasoning_content": "ink."}),
            chunk({"refusal": "No"}),
            chunk({"refusal": "."}, "stop"),
        )
        assert whole.message["reasoning_content"] == "I think."
        assert whole.message["refusal"] == "No."
        assert whole.chars == 11

    def test_tool_calls_side_by_side(self):
        def piece(index, **call):
            return chunk({"tool_calls": [{"index": index, **call}]})

        whole = gathered(
            piece(0, id="a", type="function", function={"name": "go", "arguments": ""}),
            piece(1, id="b", type="function", function={"name": "stop", "arguments": ""}),
            piece(1, function={"arguments": '{"x"'}),
            piece(0, function={"arguments": "{}"}),
            piece(1, function={"arguments": ":1}"}),
            chunk(finish="tool_calls"),
        )
        answer = answer_from(whole.completion())
        assert answer.message["tool_calls"] == [
            {"id": "a", "type": "function", "function": {"name": "go", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "stop", "arguments": '{"x":1}'}},
        ]
        assert whole.chars > 10

    def test_log_probabilities_are_joined(self):
        tokens = [{"token": token, "logprob": -0.1} for token in "ab"]
        first, second = (chunk({"content": t["token"]}) for t in tokens)
        first["choices"][0]["logprobs"] = {"content": tokens[:1]}
        second["choices"][0]["logprobs"] = {"content": tokens[1:]}
        whole = gathered(first, second, chunk(finish="stop"))
        assert answer_from(whole.completion()).extra["logprobs"] == {"content": tokens}

    @pytest.mark.parametrize(
        "bad",
        [
            None,
            [],
            "text",
            {"error": {"message": "secret"}},
            {"object": "error", "message": "secret"},
            {"choices": "none"},
            {"choices": [None]},
            {"choices": [{"index": 1, "delta": {"content": "other"}}]},
            {"choices": [{"index": 0, "delta": "text"}]},
            chunk({"tool_calls": ["call"]}),
            chunk({"tool_calls": [{"index": "0"}]}),
        ],
    )
    def test_what_is_no_chunk_is_an_error(self, bad):
        with pytest.raises(UpstreamError) as caught:
            gathered(bad)
        assert caught.value.transient
        assert "secret" not in str(caught.value)

    @given(st.lists(st.text(min_size=1, max_size=9), max_size=20))
    def test_any_cut_gives_the_same_text(self, pieces):
        whole = gathered(*(chunk({"content": piece}) for piece in pieces), chunk({}, "stop"))
        assert (whole.message["content"] or "") == "".join(pieces)
        assert whole.chars == len("".join(pieces))


def watching(until):
    seen = []

    async def watch(message, chars):
        seen.append((message.get("content"), chars))
        return chars >= until

    return watch, seen


async def asked(step, until, make_chat, make_picture, **options):
    watch, seen = watching(until)
    async with scripted_server([step]) as server:
        upstream = OpenAICompatible(server.base_url, **options)
        assert isinstance(upstream, StreamingUpstream)
        try:
            answer = await upstream.complete_watched(
                make_chat(), [make_picture()], seed=1, watch=watch
            )
            for _ in range(500):
                if not server.log.in_flight:
                    break
                await asyncio.sleep(0.01)
            return answer, seen, server.log
        finally:
            await upstream.aclose()


def test_over_a_socket_the_whole_answer(make_chat, make_picture):
    step = Step(TEXT, word_pause_s=0.005)
    answer, seen, log = asyncio.run(asked(step, 10_000, make_chat, make_picture))
    assert answer.text == TEXT
    assert answer.usage.completion_tokens == 5
    assert log.calls[0].body["stream"] is True
    assert log.calls[0].body["stream_options"] == {"include_usage": True}
    assert log.count(State.ANSWERED) == 1
    assert len(seen) > 5


def test_over_a_socket_broken_off(make_chat, make_picture):
    step = Step(TEXT * 200, word_pause_s=0.002)
    answer, seen, log = asyncio.run(asked(step, 20, make_chat, make_picture))
    assert 20 <= len(answer.text) < 400
    assert answer.finish_reason == "length"
    assert (answer.usage.calls, answer.usage.prompt_tokens) == (1, 0)
    assert log.count(State.CANCELLED) == 1  # the provider saw that nobody reads on
    assert seen[-1][1] == len(answer.text)


def test_servers_that_do_not_stream_are_read_whole(make_chat, make_picture):
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}}
    step = Step(response={"choices": [choice]})
    answer, seen, _ = asyncio.run(asked(step, 1, make_chat, make_picture))
    assert answer.text == TEXT
    assert seen == []


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.HANG])
def test_every_fault_is_an_upstream_error(fault, make_chat, make_picture):
    step = Step(fault=fault, status=500)
    with pytest.raises(UpstreamError):
        asyncio.run(asked(step, 1, make_chat, make_picture, timeout_s=0.5))


def test_a_long_stream_is_cut_at_the_limit(make_chat, make_picture):
    with pytest.raises(UpstreamError, match="more than 2000 bytes"):
        asyncio.run(asked(Step(TEXT * 9), 10_000, make_chat, make_picture, max_answer_bytes=2000))


def test_tool_calls_over_a_socket(make_chat, make_picture):
    calls = [
        {"id": str(i), "type": "function", "function": {"name": f"f{i}", "arguments": "{}"}}
        for i in range(2)
    ]
    step = Step(message={"content": None, "tool_calls": calls}, finish_reason="tool_calls")
    answer, _, _ = asyncio.run(asked(step, 10_000, make_chat, make_picture))
    assert answer.message["tool_calls"] == calls


@pytest.mark.parametrize(
    ("ending", "whole"),
    [
        (b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n', True),
        (b"data: [DONE]\n\n", True),
        (b"", False),
        (b'data: {"error":{"message":"x"}}\n\n', False),
    ],
)
def test_a_stream_that_breaks_off_is_no_answer(ending, whole, make_chat, make_picture):
    begun = b"data: " + json.dumps(chunk({"content": TEXT})).encode() + b"\n\n"

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"connection: close\r\n\r\n" + begun + ending)
        await writer.drain()
        writer.close()

    async def ask():
        watch, _ = watching(10_000)
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream = OpenAICompatible(f"http://127.0.0.1:{port}/v1")
        try:
            chat, pictures = make_chat(), [make_picture()]
            return await upstream.complete_watched(chat, pictures, seed=1, watch=watch)
        finally:
            await upstream.aclose()
            server.close()

    if whole:
        assert asyncio.run(ask()).text == TEXT
    else:
        with pytest.raises(UpstreamError):
            asyncio.run(ask())


def test_the_scripted_model_is_watched_alike(make_chat, make_picture):
    async def ask(until):
        watch, seen = watching(until)
        model = Scripted([TEXT])
        answer = await model.complete_watched(make_chat(), [make_picture()], seed=1, watch=watch)
        return answer, seen, model.log

    answer, _, log = asyncio.run(ask(10_000))
    assert answer.text == TEXT
    assert log.count(State.ANSWERED) == 1
    answer, seen, log = asyncio.run(ask(8))
    assert seen[-1][0] == "One two "
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 0)
    assert log.count(State.CANCELLED) == 1
