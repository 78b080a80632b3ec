"""The proxy in front of several upstreams, over real sockets on both sides."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from guardrail.api.settings import ServerSettings
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.engine import Engine
from guardrail.engine.failover import FailoverEngine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.records.journal import FileJournal
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.server.serve import running_server_async
from guardrail.stats import failover_alpha
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, State, Step
from guardrail.upstreams.scripted_server import scripted_server

DOWN = [Step(fault=Fault.STATUS, status=503)]
HANG = [Step(fault=Fault.HANG)]


@asynccontextmanager
async def proxy(kit, *scripts, gate=None, settings=None, records=None, **policy):
    """(a client, the servers behind the proxy)"""
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(scripted_server(script, model=name))
            for script, name in zip(scripts, ("one", "two"), strict=False)
        ]
        members = [
            LimitedUpstream(OpenAICompatible(server.base_url), gate or CallLimits())
            for server in servers
        ]
        policy = kit.make_policy(**policy)
        rules = compile_policy(policy, upstreams=len(members))
        key, oracle = NoiseKey(bytes(32)), kit.Words()
        if len(members) == 1:
            engine = Engine(rules, members[0], oracle, key)
        else:
            engine = FailoverEngine(rules, members, oracle, key)
        options = {"settings": settings or ServerSettings(first_byte_s=60.0, heartbeat_s=60.0)}
        if records is not None:
            journal = FileJournal(records)
            stack.callback(journal.close)
            options["record"] = Recorder(RecordWriter(journal), engine)
        server = await stack.enter_async_context(running_server_async(policy, engine, **options))
        client = httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False)
        yield await stack.enter_async_context(client), servers


async def posted(kit, client, images=1, path="/v1/chat/completions", **fields):
    return await client.post(path, json=kit.request(images, **fields))


def asked(run, kit, *scripts, images=1, **options):
    async def scene():
        async with proxy(kit, *scripts, **options) as (client, servers):
            response = await posted(kit, client, images)
            return response, [len(server.calls) for server in servers]

    return run(scene())


def test_the_next_one_answers_and_the_certificate_and_the_record_say_so(run, kit, tmp_path):
    records = tmp_path / "records.jsonl"
    response, calls = asked(run, kit, DOWN, ["A dog."], records=records)
    assert response.status_code == 200
    body = response.json()
    assert (body["model"], body["choices"][0]["message"]["content"]) == ("two", "A dog.")
    certificate = decode_certificate(body["guardrail"]["certificate"])
    verify_certificate(certificate, body["guardrail"]["certificate"])
    assert certificate.alpha == failover_alpha(0.001, 1, 2)
    assert certificate.samples == calls[1] == body["guardrail"]["calls"]
    record = json.loads(records.read_text())
    assert record["upstream"] == certificate.upstream
    assert record["calls"] == calls[1]


def test_a_record_of_a_chat_names_who_answered_too(run, kit, tmp_path):
    records = tmp_path / "records.jsonl"
    response, _ = asked(run, kit, DOWN, ["A dog."], images=0, records=records)
    assert response.json()["model"] == "two"

    async def base():
        async with proxy(kit, ["A cat."], ["A dog."], records=records) as (client, servers):
            await posted(kit, client, 0)
            return servers[0].base_url

    first = run(base())
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    assert lines[1]["upstream"] == f"openai_compatible:{first}"
    assert lines[0]["upstream"] != lines[1]["upstream"]


def test_a_wrong_key_is_told(run, kit):
    response, calls = asked(run, kit, [Step(fault=Fault.STATUS, status=401)], ["A dog."])
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_auth"
    assert "API key" in response.json()["error"]["message"]
    assert calls[1] == 0


@pytest.mark.parametrize("images", [0, 1])
def test_nothing_passes_where_all_are_down(run, kit, images):
    response, _ = asked(run, kit, DOWN, DOWN, images=images)
    assert response.status_code == 503
    assert "choices" not in response.json()
    assert response.json()["guardrail"]["reason"] == "upstream failed"


def test_a_full_line_asks_the_client_to_come_back(run, kit):
    gate = CallLimits(max_concurrency=1, max_queue=1)
    response, _ = asked(run, kit, HANG, gate=gate)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "upstream_overloaded"
    assert int(response.headers["retry-after"]) >= 1
    assert "x-should-retry" not in response.headers


def test_progress_is_told_of_the_one_that_decides_too(run, kit):
    async def scene():
        settings = ServerSettings(first_byte_s=0.02, heartbeat_s=0.02)
        slow = [Step("A dog.", delay_s=0.05)]
        async with proxy(kit, DOWN, slow, settings=settings) as (client, _):
            path = "/v1/guardrail/check"
            return (await posted(kit, client, 1, path, stream=True, progress=True)).text

    text = run(scene())
    assert "event: progress" in text
    (verdict,) = [item for item in kit.events_of(text) if "guardrail" in item]
    assert verdict["guardrail"]["decision"] == "pass"


def test_models_and_readiness_are_those_of_all(run, kit):
    async def scene():
        async with proxy(kit, ["A cat."], ["A dog."]) as (client, _):
            return await client.get("/readyz"), await client.get("/v1/models")

    ready, models = run(scene())
    assert ready.status_code == 200
    assert [model["id"] for model in models.json()["data"]] == ["one", "two"]


def test_a_client_that_goes_away_takes_the_calls_to_the_second_with_it(run, kit):
    async def scene():
        options = {
            "gate": CallLimits(max_concurrency=4),
            "limits": {"call_timeout_s": 600, "deadline_s": 600},
        }
        async with proxy(kit, DOWN, HANG, **options) as (client, (_, second)):
            asking = asyncio.create_task(posted(kit, client))
            await until(lambda: second.log.in_flight == 4)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await until(lambda: second.log.in_flight == 0)
            return {call.state for call in second.calls}, len(second.calls)

    assert run(scene()) == ({State.CANCELLED}, 4)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (a record has no event)
            await asyncio.sleep(0.002)
