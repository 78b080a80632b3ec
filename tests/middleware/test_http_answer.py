"""Answers as bytes, for web frameworks: what the proxy would send, faults included."""

import asyncio
import json
import threading

import pytest

from guardrail import Heartbeats
from guardrail.upstreams.scripted import Fault, Scripted, Step


def respond(kit, request, text="A picture.", **options):
    with kit.make_guard(lambda _: kit.completion(text), **options) as guard:
        return asyncio.run(guard.respond(request))


def events(data):
    return [line[6:] for line in data.decode().splitlines() if line.startswith("data: ")]


def test_an_answer(kit):
    answer = respond(kit, kit.request(1))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["x-guardrail-decision"] == "pass"
    assert json.loads(answer.content)["choices"][0]["message"]["content"] == "A picture."


def test_a_body_may_be_bytes(kit):
    raw = json.dumps(kit.request()).encode()
    assert respond(kit, raw).status == 200
    assert respond(kit, b"{").status == 400


def test_a_stream(kit):
    answer = respond(kit, kit.request(1, stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content == answer.events
    assert events(answer.content)[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [True, False])
def test_heartbeats_begin_a_stream_that_the_answer_ends(kit, stream):
    beats, decide = Heartbeats(), threading.Event()

    def ask(_body):
        assert decide.wait(30)
        return kit.completion("A picture.")

    async def scene(guard):
        deciding = guard.respond(kit.request(stream=stream), heartbeats=beats)
        task = asyncio.create_task(deciding)
        assert beats.next() is None  # it is not read yet
        begun = []
        for _ in range(500 if stream else 20):
            await asyncio.sleep(0.01)
            begun += [beat for beat in [beats.next()] if beat is not None]
            if len(begun) == 2:
                break
        decide.set()
        return begun, await task

    with kit.make_guard(ask) as guard:
        begun, answer = asyncio.run(scene(guard))
    assert len(begun) == (2 if stream else 0)
    assert beats.headers.get("x-guardrail-decision") == ("pending" if stream else None)
    if not stream:
        assert json.loads(answer.content)["object"] == "chat.completion"
        return
    *made, done = events(b"".join(begun) + answer.events)
    chunks = [json.loads(event) for event in made]
    assert done == "[DONE]"
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [delta["role"] for delta in deltas if "role" in delta] == ["assistant"]
    assert "".join(delta.get("content") or "" for delta in deltas) == "A picture."


def test_a_block_is_never_raised(kit):
    answer = respond(kit, kit.request(1), kit.HARM)
    assert answer.status == 200
    assert json.loads(answer.content)["choices"][0]["finish_reason"] == "content_filter"


def test_a_block_that_is_an_error(kit):
    policy = kit.make_policy(block={"style": "error"})
    answer = respond(kit, kit.request(1, stream=True), kit.HARM, policy=policy)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    (error, done) = events(answer.events)
    assert json.loads(error)["error"]["code"] == "content_policy_violation"
    assert done == "[DONE]"


@pytest.mark.parametrize("body", [{}, {"model": "m", "messages": []}])
def test_a_request_that_cannot_be_read(kit, body):
    answer = respond(kit, body)
    assert answer.status == 400
    assert json.loads(answer.content)["error"]["param"] in ("model", "messages")
    assert len(events(answer.events)) == 2


def test_a_model_that_is_down(kit):
    upstream = Scripted([Step(fault=Fault.STATUS, status=429, retry_after="7")])
    with kit.make_guard(upstream) as guard:
        answer = asyncio.run(guard.respond(kit.request()))
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")


def test_a_closed_guard(kit):
    guard = kit.make_guard(lambda _: kit.completion())
    guard.close()
    answer = asyncio.run(guard.respond(kit.request()))
    assert answer.status == 500
    assert guard.policy.name == "test"
