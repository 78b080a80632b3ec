"""Answers as bytes, for web frameworks: what the proxy would send, faults included."""

import asyncio
import json

import pytest

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
