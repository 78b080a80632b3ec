"""Streams of a provider: put together as one answer, read strictly, broken off at a word."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import UpstreamError
from guardrail.upstreams.base import StreamingUpstream
from guardrail.upstreams.cached import CACHE_FIELDS
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, Scripted, State, Step
from guardrail.upstreams.scripted_server import scripted_server
from guardrail.upstreams.streamed import Gathered
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

    @pytest.mark.parametrize("name", sorted(CACHE_FIELDS))
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_a_cache_that_names_itself_in_any_chunk(self, name, place):
        chunks = [chunk({"content": "A "}), chunk({"content": "cat."}), chunk(finish="stop")]
        assert not answer_from(gathered(*chunks).completion()).cached
        chunks[place][name] = True
        assert answer_from(gathered(*chunks).completion()).cached

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
            chunk({"tool_calls": [{"index": True}]}),
            {"message": "secret"},
            {"detail": "secret"},
            {"type": "error", "message": "secret"},
            {"choices": [{"index": 0, "delta": {}, "error": {"message": "secret"}}]},
        ],
    )
    def test_what_is_no_chunk_is_an_error(self, bad):
        with pytest.raises(UpstreamError) as caught:
            gathered(bad)
        assert caught.value.transient
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            ({"error": {"message": "x", "code": 429}}, 429),
            ({"error": {"message": "x", "code": "503"}}, 503),
            ({"error": {"message": "x", "status": 401}}, 502),
            ({"error": {"type": "rate_limit_error"}}, 429),
            ({"error": {"code": "insufficient_quota", "type": "insufficient_quota"}}, 429),
            ({"type": "error", "error": {"type": "overloaded_error"}}, 529),
            ({"object": "error", "message": "x", "code": 400}, 400),
            ({"code": 500, "message": "x"}, 500),
            ({"error": {"message": "x", "code": 200}}, 502),
            ({"error": "boom"}, 502),
            ({"error": True}, 502),
        ],
    )
    def test_an_error_has_the_status_that_it_names(self, error, status):
        with pytest.raises(UpstreamError) as caught:
            gathered(chunk({"content": "It is not "}), error)
        assert caught.value.status == status
        assert not caught.value.undrawn  # an answer had begun

    def test_an_error_never_quotes_a_key(self):
        whole = Gathered(hidden=["sk-secret-key-0123"])
        with pytest.raises(UpstreamError) as caught:
            whole.add({"error": {"code": "sk-secret-key-0123", "status": 500}})
        assert caught.value.code is None

    @given(st.lists(st.text(min_size=1, max_size=9), max_size=20))
    def test_any_cut_gives_the_same_text(self, pieces):
        whole = gathered(*(chunk({"content": piece}) for piece in pieces), chunk({}, "stop"))
        assert (whole.message["content"] or "") == "".join(pieces)
        assert whole.chars == len("".join(pieces))

    def test_an_empty_reason_is_no_end(self):
        assert not gathered(chunk({"content": "It is not "}, "")).finished

    def test_of_two_models_there_is_no_answer(self):
        with pytest.raises(UpstreamError, match="two models"):
            gathered(chunk({"content": "a"}), {**chunk({"content": "b"}), "model": "other"})
        azure = gathered({"model": "", "choices": []}, chunk({"content": "a"}, "stop"))
        assert answer_from(azure.completion()).model == "m"

    @pytest.mark.parametrize(
        ("contents", "joined"),
        [
            (["a", [{"type": "text", "text": "b"}]], [("text", "ab")]),
            ([[{"type": "text", "text": "a"}], "b", "c"], [("text", "abc")]),
            (["", [{"type": "text", "text": "a"}], "", None], [("text", "a")]),
        ],
    )
    def test_a_content_of_parts_grows(self, contents, joined):
        whole = gathered(*(chunk({"content": content}) for content in contents))
        assert [(part["type"], part["text"]) for part in whole.message["content"]] == joined

    def test_parts_that_think(self):
        def think(text):
            part = {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
            return chunk({"content": [part]})

        whole = gathered(chunk({"content": ""}), think("The user "), think("shows"), chunk(
            {"content": "A cat"}), chunk({"content": "."}))  # fmt: skip
        assert whole.message["content"] == [
            {"type": "thinking", "thinking": [{"type": "text", "text": "The user shows"}]},
            {"type": "text", "text": "A cat."},
        ]

    def test_details_keep_what_names_them(self):
        def detail(text, **fields):
            item = {"type": "reasoning.text", "index": 0, "format": "f1", "text": text, **fields}
            return chunk({"reasoning_details": [item]})

        sealed = {"type": "reasoning.encrypted", "index": 0, "data": "x"}
        whole = gathered(
            detail("a"),
            detail("b"),
            chunk({"reasoning_details": [sealed]}),
            detail("", signature="s"),
        )
        named = {"type": "reasoning.text", "index": 0, "format": "f1"}
        assert whole.message["reasoning_details"] == [
            {**named, "text": "ab", "signature": "s"},
            sealed,
        ]

    @pytest.mark.parametrize(
        ("before", "after"),
        [("text", {"a": 1}), ({"a": 1}, ["b"]), (True, False), ({"type": "a"}, {"type": "b"})],
    )
    def test_what_cannot_be_joined_is_an_error(self, before, after):
        with pytest.raises(UpstreamError):
            gathered(chunk({"field": before}), chunk({"field": after}))


def pieces_of(*calls):
    return [chunk({"tool_calls": [call]}) for call in calls]


def function(name, arguments="{}"):
    return {"name": name, "arguments": arguments}


class TestCallsWithoutAPlaceOfTheirOwn:
    @pytest.mark.parametrize("place", [{}, {"index": None}, {"index": 0}])
    def test_a_new_id_begins_a_call(self, place):
        whole = gathered(
            *pieces_of(
                {**place, "id": "a", "type": "function", "function": function("get_weather")},
                {**place, "id": "b", "function": function("bash", '{"command"')},
                {**place, "function": {"arguments": ':"ls"}'}},
                {**place, "id": "", "function": {"name": None, "arguments": ""}},
                {**place, "id": "a", "function": {"arguments": " "}},
            )
        )
        found = [(one["id"], one["function"]) for one in whole.message["tool_calls"]]
        assert found == [
            ("a", function("get_weather", "{} ")),
            ("b", function("bash", '{"command":"ls"}')),
        ]

    @pytest.mark.parametrize(
        "calls",
        [
            [{"index": 0, "id": "a", "function": function("f")}, {"index": 0, "id": "b"}],
            [{"id": "a", "function": function("f")}, {"id": "b", "function": {"arguments": "{}"}}],
            [{"function": function("f")}, {"function": function("g")}],
            [{"index": 0, "id": "a", "function": function("f")}, {"function": function("g")}],
            [{"id": "a", "function": function("f")}, {"index": 0, "function": {"arguments": "1"}}],
            [{"index": 0, "function": function("f")}, {"index": 0, "id": "b",
                "function": function("g")}],
            [{"index": 0, "id": "a", "function": function("f")}] * 2,
            [{"index": 0, "function": function("f")}, {"index": 0, "function": function("g")}],
            [{"index": 0, "id": "a", "function": function("f")}, {"index": 0, "function": {
                "name": "g"}}],
            [{"index": 0, "id": "a", "function": function("f")}, {"index": 0, "id": "a",
                "function": {"name": "g"}}],
        ],
    )  # fmt: skip
    def test_where_a_piece_belongs_must_be_clear(self, calls):
        with pytest.raises(UpstreamError, match="not clear"):
            gathered(*pieces_of(*calls))

    @pytest.mark.parametrize("places", [[1, 2], [2, 1], [5, 0]])
    def test_any_index_is_a_place(self, places):
        calls = [
            {"index": place, "id": f"{place}", "function": function(f"f{place}", "")}
            for place in places
        ]
        more = [{"index": place, "function": {"arguments": f"{place}"}} for place in places]
        whole = gathered(*pieces_of(*calls, *more))
        found = [one["function"] for one in whole.message["tool_calls"]]
        assert found == [function(f"f{place}", f"{place}") for place in sorted(places)]

    def test_a_name_in_pieces_and_an_id_that_comes_again(self):
        whole = gathered(
            *pieces_of(
                {"index": 0, "id": "a", "type": "function", "function": {"name": "get_"}},
                {"index": 0, "id": "a", "type": None, "function": {"name": "weather"}},
                {"index": 0, "id": "a", "type": "", "function": {"arguments": "{}"}},
            )
        )
        call = {"id": "a", "type": "function", "function": function("get_weather")}
        assert whole.message["tool_calls"] == [call]


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
