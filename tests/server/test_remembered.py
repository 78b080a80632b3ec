"""Equal requests over the wire: one decision, a record for each, and no word more for clients."""

import asyncio
import json
from typing import Generic, TypeVar

import pytest

from guardrail.api.settings import ServerSettings
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.records.audit import audit_file
from guardrail.records.journal import FileJournal
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.shared_tasks import SharedTasks
from guardrail.upstreams.scripted import State, Step

T = TypeVar("T")
REPLAY = {"pass": "replay", "block": "replay"}


def remembering(kit, **fields):
    return kit.make_policy(memory=REPLAY, **fields)


def told(response):
    return response.json()["guardrail"]


async def connected(proxy, body):
    """A raw connection that has sent this request."""
    host, port = proxy.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    raw = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    writer.write(head.encode() + raw)
    await writer.drain()
    return reader, writer


async def until(condition, timeout_s=30.0):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.005)


def test_a_pass_is_given_again_and_says_so(run, kit):
    async def scenario():
        async with kit.proxy(policy=remembering(kit)) as proxy:
            first, again = [await proxy.chat(images=1) for _ in range(2)]
            return first, again, len(proxy.calls)

    first, again, calls = run(scenario())
    assert (told(first)["remembered"], told(again)["remembered"]) == (False, True)
    assert first.headers["x-guardrail-remembered"] == "false"
    assert again.headers["x-guardrail-remembered"] == "true"
    assert calls == told(first)["calls"] > 1
    assert (told(again)["calls"], told(again)["cost_usd"]) == (0, 0.0)
    assert again.json()["usage"]["total_tokens"] == 0
    assert again.json()["choices"] == first.json()["choices"]
    assert told(again)["outside_claim"]
    assert told(again)["certificate"]["attempt"] == told(first)["certificate"]["attempt"]
    assert told(again)["record_id"] is told(first)["record_id"] is None  # no records are kept


def test_a_block_is_given_again(run, kit):
    async def scenario():
        async with kit.proxy([kit.HARM], policy=remembering(kit)) as proxy:
            found = [await proxy.chat(images=1) for _ in range(3)]
            return found, len({call.seed for call in proxy.calls})

    found, drawn = run(scenario())
    assert [told(one)["decision"] for one in found] == ["block"] * 3
    assert [told(one)["remembered"] for one in found] == [False, True, True]
    assert drawn <= 43


def test_all_routes_share_what_is_remembered(run, kit):
    chat = kit.request(1)
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": kit.data_url(kit.png(seed=0))},
    ]
    response = {"model": "scripted", "input": [{"role": "user", "content": parts}]}
    litellm = {
        "input_type": "request",
        "structured_messages": chat["messages"],
        "model": "scripted",
    }

    async def scenario():
        async with kit.proxy(policy=remembering(kit)) as proxy:
            first = await proxy.client.post("/v1/guardrail/check", json=chat)
            calls = len(proxy.calls)
            others = [
                await proxy.client.post("/v1/chat/completions", json={**chat, "stream": True}),
                await proxy.client.post("/v1/responses", json=response),
                await proxy.client.post("/beta/litellm_basic_guardrail_api", json=litellm),
            ]
            return first, others, len(proxy.calls) - calls

    first, others, further = run(scenario())
    assert told(first)["decision"] == "pass"
    assert further == 0
    streamed = kit.events_of(others[0].text)[-2]["guardrail"]
    assert streamed["remembered"]
    assert told(others[1])["remembered"]
    assert others[2].json() == {"action": "NONE"}


def test_texts_are_asked_each_time(run, kit):
    async def scenario():
        async with kit.proxy(policy=remembering(kit)) as proxy:
            found = [await proxy.chat() for _ in range(2)]
            return found, len(proxy.calls)

    found, calls = run(scenario())
    assert calls == 2
    assert not any(told(one)["remembered"] for one in found)


def test_many_at_once_are_one_decision(run, kit):
    limits = {"max_concurrent_requests": 100, "max_waiting_requests": 200}

    async def scenario():
        slow = [Step("A picture.", delay_s=0.2)]
        async with kit.proxy(slow, policy=remembering(kit, limits=limits)) as proxy:
            found = await asyncio.gather(*(proxy.chat(images=1) for _ in range(200)))
            return found, len(proxy.calls)

    found, calls = run(scenario(), timeout_s=120)
    assert {one.status_code for one in found} == {200}
    assert sum(not told(one)["remembered"] for one in found) == 1
    assert calls == sum(told(one)["calls"] for one in found)


@pytest.fixture
def under_way(monkeypatch):
    """How many clients wait for the decisions under way."""
    made = []

    class Seen(SharedTasks[T], Generic[T]):
        def __init__(self):
            super().__init__()
            made.append(self)

    monkeypatch.setattr("guardrail.memory.decision_memory.SharedTasks", Seen)
    return lambda: sum(flight.waiting for seen in made for flight in seen._under_way.values())


@pytest.mark.parametrize("stream", [False, True])
def test_the_decision_goes_on_for_those_who_stay(run, kit, under_way, stream):
    """The first client closes its connection while another one waits for the same decision."""
    settings = ServerSettings(first_byte_s=0.05, heartbeat_s=0.05)

    async def scenario():
        may_answer = asyncio.Event()

        class Held(kit.Scripted):
            async def complete(self, chat, pictures, *, seed):
                await may_answer.wait()
                return await super().complete(chat, pictures, seed=seed)

        upstream = Held(["A picture."])
        async with kit.proxy(upstream, policy=remembering(kit), settings=settings) as proxy:
            _, writer = await connected(proxy, kit.request(1, stream=stream))
            await until(lambda: under_way() == 1)
            other = asyncio.create_task(proxy.chat(images=1))
            await until(lambda: under_way() == 2)
            writer.close()
            await until(lambda: under_way() == 1)
            may_answer.set()
            return await other, upstream.log.count(State.CANCELLED), len(upstream.calls)

    response, cancelled, calls = run(scenario(), timeout_s=120)
    assert told(response)["decision"] == "pass"
    assert told(response)["remembered"]
    assert cancelled == 0
    assert calls == told(response)["certificate"]["samples"]


def test_each_delivery_has_a_record_of_its_own(run, kit, tmp_path):
    policy, file = remembering(kit), tmp_path / "records.jsonl"
    upstream, oracle = kit.Scripted(["A picture."]), kit.Words()
    engine = Engine(compile_policy(policy), upstream, oracle, NoiseKey(bytes(32)))
    journal = FileJournal(file)

    async def scenario():
        record = Recorder(RecordWriter(journal), engine)
        async with kit.proxy(upstream, oracle=oracle, policy=policy, record=record) as proxy:
            for _ in range(3):
                await proxy.chat(images=1)

    run(scenario())
    journal.close()
    audit = audit_file(file)
    assert (audit.records, audit.passed, audit.remembered) == (3, 3, 2)
    drawer, *others = (json.loads(line) for line in file.read_text().splitlines())
    for other in others:
        assert other["attempt"] == drawer["attempt"]
        assert (other["samples"], other["noise_digest"], other["calls"]) == ([], "", 0)
        assert other["certificate"]["outside_claim"]
    assert drawer["samples"]
