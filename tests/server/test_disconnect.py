"""A client that goes away takes its calls to the model with it."""

import asyncio
import json

import httpx
import pytest

from guardrail.api.settings import ServerSettings
from guardrail.api.wire_limits import WireLimits
from guardrail.upstreams.scripted import Fault, State, Step


async def until(condition, timeout_s=50.0):
    """Waits until the condition holds, far less long than the calls that hang."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.005)


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


@pytest.mark.parametrize("images", [0, 1])
@pytest.mark.parametrize(("stream", "begun"), [(False, False), (True, False), (True, True)])
def test_outstanding_calls_are_cancelled(run, kit, logs, images, stream, begun):
    async def scenario():
        settings = ServerSettings(
            first_byte_s=0.05 if begun else 30.0, heartbeat_s=0.05 if begun else 30.0
        )
        limits = {"max_concurrent_requests": 1, "call_timeout_s": 60, "deadline_s": 60}
        policy = kit.make_policy(limits=limits)
        script = [Step(fault=Fault.HANG)]
        async with kit.proxy(script, policy=policy, settings=settings) as proxy:
            reader, writer = await connected(proxy, kit.request(images, stream=stream))
            await until(lambda: proxy.calls)
            if begun:
                await reader.readuntil(b'"role":"assistant"')
            assert proxy.upstream.log.in_flight > 0
            writer.close()
            await until(lambda: proxy.upstream.log.in_flight == 0)
            assert all(call.state is State.CANCELLED for call in proxy.calls)
            number = len(proxy.calls)
            proxy.upstream.log.script = ["A picture."]
            response = await proxy.chat()  # the only place was given back
            assert len(proxy.calls) == number + 1
            return response

    assert run(scenario()).status_code == 200
    assert "unforeseen" not in logs.text


def test_a_client_that_goes_while_it_sends(run, kit, logs):
    async def scenario():
        policy = kit.make_policy(limits={"max_concurrent_requests": 1})
        async with kit.proxy(policy=policy) as proxy:
            _, writer = await connected(proxy, {})
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
            )
            await writer.drain()
            writer.close()
            return await proxy.chat(), proxy.calls

    response, calls = run(scenario())
    assert response.status_code == 200
    assert len(calls) == 1
    assert "unforeseen" not in logs.text


def test_a_body_that_never_comes_gives_its_place_back(run, kit):
    async def scenario():
        policy = kit.make_policy(limits={"max_concurrent_requests": 1})
        settings = ServerSettings(wire=WireLimits(body_timeout_s=0.1))
        async with kit.proxy(policy=policy, settings=settings) as proxy:
            host, port = proxy.base_url.removeprefix("http://").removesuffix("/v1").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
            )
            head = await reader.readuntil(b"\r\n")
            writer.close()
            return head, await proxy.chat()

    head, response = run(scenario())
    assert b" 408 " in head
    assert response.status_code == 200


def test_stopping_the_server_stops_what_is_under_way(run, kit):
    async def scenario():
        async with kit.proxy([Step(fault=Fault.HANG)]) as proxy:
            waiting = asyncio.create_task(proxy.chat(images=1))
            await until(lambda: proxy.calls)
        with pytest.raises(httpx.HTTPError):
            (await waiting).raise_for_status()
        return proxy

    proxy = run(scenario())
    assert proxy.upstream.log.in_flight == 0
    assert proxy.upstream.closed
    assert proxy.oracle.closed
