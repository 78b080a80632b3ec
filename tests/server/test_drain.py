"""The end of a server: balancers are told, decisions get their time, then they are cut."""

import asyncio
import json
import signal

import httpx
import pytest

from guardrail.api.deployment import fixed_deployment
from guardrail.api.service import Service
from guardrail.api.settings import ServerSettings
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.server import serve as serving
from guardrail.server.app import create_deployed_app
from guardrail.server.listener import open_listener
from guardrail.upstreams.scripted import Scripted, Step


class Ending:
    """A server as `serve` runs it, but for its signals, which the test sends by hand."""

    def __init__(self, kit, script, *, grace_s, notice_s=0.0, records=None, **policy):
        self.policy = kit.make_policy(**policy)
        self.engine = Engine(
            compile_policy(self.policy), Scripted(script), kit.Words(), NoiseKey(bytes(32))
        )
        settings = ServerSettings(first_byte_s=0.05, heartbeat_s=0.1)
        record = None if records is None else lambda verdict, _chat: records.append(verdict) or "r"
        self.deployment = fixed_deployment(Service(self.policy, self.engine, settings, record))
        app = create_deployed_app(self.deployment)
        self.server = serving._server(app, grace_s=lambda: grace_s, notice_s=notice_s)

    async def __aenter__(self):
        listener = open_listener("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.task = asyncio.create_task(self.server.serve(sockets=[listener]))
        assert await asyncio.to_thread(self.server.ready.wait, 30)
        self.client = httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False)
        return self

    async def __aexit__(self, *_):
        self.server.should_exit = True
        await self.client.aclose()
        await self.task

    def end(self, kind=signal.SIGTERM):
        self.server.handle_exit(kind, None)


SLOW = [Step("A picture.", delay_s=0.6)]
NEVER = [Step("A picture.", delay_s=60.0)]


async def started(ending):
    while not ending.engine.upstream.calls:  # noqa: ASYNC110 (it tells nobody)
        await asyncio.sleep(0.01)


def test_readiness_says_so_first_while_requests_are_taken(run, kit):
    async def scene():
        async with Ending(kit, ["A picture."], grace_s=10.0, notice_s=1.0) as ending:
            before = await ending.client.get("/readyz")
            ending.end()
            ready, alive, answer = await asyncio.gather(
                ending.client.get("/readyz"),
                ending.client.get("/healthz"),
                ending.client.post("/v1/chat/completions", json=kit.request(1)),
            )
            await ending.task
            with pytest.raises(httpx.ConnectError):
                await httpx.AsyncClient(trust_env=False).get(f"{ending.url}/readyz")
            return before, ready, alive, answer

    before, ready, alive, answer = run(scene())
    assert (before.status_code, before.json()["status"]) == (200, "ready")
    assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
    assert (alive.status_code, answer.status_code) == (200, 200)


def test_a_decision_under_way_gets_its_time(run, kit):
    async def scene():
        async with Ending(kit, SLOW, grace_s=20.0) as ending:
            asked = asyncio.create_task(
                ending.client.post("/v1/chat/completions", json=kit.request(1))
            )
            await started(ending)
            ending.end()
            return await asked

    assert run(scene()).status_code == 200


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_what_is_cut_is_an_error_and_on_record(run, kit, kind):
    records = []

    async def scene():
        async with Ending(kit, NEVER, grace_s=0.2, records=records) as ending:
            asked = asyncio.create_task(
                ending.client.post("/v1/chat/completions", json=kit.request(1))
            )
            await started(ending)
            ending.end(kind)
            return await asked

    reply = run(scene())
    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "shutting_down"
    assert reply.headers["retry-after"] == "1"
    assert [str(one.reason) for one in records] == ["server shut down"]


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/responses"])
def test_a_stream_that_is_cut_ends_with_an_error(run, kit, route):
    body = kit.request(1, stream=True)
    if route == "/v1/responses":
        part = {"type": "input_image", "image_url": kit.data_url()}
        body = {"model": "scripted", "stream": True, "input": [{"role": "user", "content": [part]}]}

    async def scene():
        async with (
            Ending(kit, NEVER, grace_s=0.4) as ending,
            ending.client.stream("POST", route, json=body) as answer,
        ):
            assert answer.status_code == 200
            await started(ending)
            ending.end()
            return [line async for line in answer.aiter_lines() if line.startswith("data: {")]

    events = [json.loads(line.removeprefix("data: ")) for line in run(scene())]
    assert "the server ended before this request was decided" in json.dumps(events[-1])
    assert "A picture." not in json.dumps(events)


def test_a_body_that_never_ends_is_answered_too(run, kit):
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: 100\r\n\r\n{"
    )

    async def scene():
        async with Ending(kit, NEVER, grace_s=0.1) as ending:
            port = int(ending.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            await asyncio.sleep(0.2)
            ending.end()
            reply = await reader.read()
            writer.close()
            return reply

    reply = run(scene())
    assert reply.startswith(b"HTTP/1.1 503 ")
    assert b'"shutting_down"' in reply


def test_a_line_of_requests_is_cut_as_well(run, kit):
    """Those who wait for a place when it ends come to a decision that is cut at once."""

    async def scene():
        limits = {"max_concurrent_requests": 1, "max_waiting_requests": 5}
        async with Ending(kit, NEVER, grace_s=0.3, limits=limits) as ending:
            asked = [
                asyncio.create_task(
                    ending.client.post("/v1/chat/completions", json=kit.request(1, prompt=f"{i}"))
                )
                for i in range(3)
            ]
            await started(ending)
            ending.end()
            return [reply.status_code for reply in await asyncio.gather(*asked)]

    assert run(scene()) == [503, 503, 503]


def test_a_second_signal_ends_the_notice(run, kit):
    async def scene():
        async with Ending(kit, ["A picture."], grace_s=1.0, notice_s=60.0) as ending:
            ending.end()
            ending.end()
            await asyncio.wait_for(ending.task, 20)

    run(scene())


def test_by_default_decisions_get_the_longest_deadline_and_some_seconds(kit):
    policy = kit.make_policy(limits={"deadline_s": 33.0})
    engine = Engine(compile_policy(policy), Scripted(["x"]), kit.Words(), NoiseKey(bytes(32)))
    assert serving.longest_decision_s(fixed_deployment(Service(policy, engine))) == 38.0


def test_a_cut_is_no_answer_in_litellms_route(run, kit):
    async def scene():
        async with Ending(kit, NEVER, grace_s=0.2) as ending:
            body = {
                "input_type": "request",
                "structured_messages": kit.request(1)["messages"],
                "model": "scripted",
            }
            asked = asyncio.create_task(
                ending.client.post("/beta/litellm_basic_guardrail_api", json=body)
            )
            await started(ending)
            ending.end()
            return await asked

    assert run(scene()).json()["action"] == "BLOCKED"
