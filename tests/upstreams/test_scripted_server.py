"""The server as a client's library sees it, and what only bare bytes can show."""

import asyncio
import base64

import httpx
import pytest

from guardrail.upstreams.scripted import OVERSIZE_BYTES, Fault, State, Step
from guardrail.upstreams.scripted_server import scripted_server

PICTURE = b"\x89PNG any bytes"
URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
BODY = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "text"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]},
    ],
}


async def posted(server, body=BODY):
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
        return await client.post("/chat/completions", json=body)


def serve(script, using):
    async def run():
        async with scripted_server(script, model="fake") as server:
            return await using(server), server

    return asyncio.run(run())


def test_an_ordinary_client_is_answered_and_recorded():
    response, server = serve(["hello"], posted)
    assert response.json()["choices"][0]["message"]["content"] == "hello"
    (call,) = server.calls
    assert call.body == BODY
    assert call.pictures == (PICTURE,)
    assert call.headers["content-type"] == "application/json"
    assert call.state is State.ANSWERED


def test_models_are_listed():
    async def listed(server):
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(server.base_url + "/models")).json()

    models, server = serve(["x"], listed)
    assert [model["id"] for model in models["data"]] == ["fake"]
    assert server.calls == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/else"), ("POST", "/responses")])
def test_other_routes_are_not_found(method, path):
    async def asked(server):
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.request(method, server.base_url + path)

    assert serve(["x"], asked)[0].status_code == 404


def test_an_error_status_brings_its_headers_and_an_openai_body():
    response, server = serve([Step(fault=Fault.STATUS, status=429, retry_after="11")], posted)
    assert (response.status_code, response.headers["retry-after"]) == (429, "11")
    assert response.json()["error"]["code"] == "scripted"
    assert server.calls[0].state is State.FAILED


async def raw_exchange(server):
    """Every byte that the server sends, and whether it ended by a reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 15\r\n\r\n")
    writer.write(b'{"messages":[]}')
    received = b""
    try:
        while piece := await reader.read(1 << 20):
            received += piece
    except ConnectionResetError:
        return received, True
    finally:
        writer.close()
    return received, False


@pytest.mark.parametrize(
    ("fault", "start", "was_reset"),
    [
        (Fault.CRASH, b"", False),
        (Fault.RESET, b"", True),
        (Fault.GARBAGE_HTTP, b"\x16\x03\x01", False),
        (Fault.HALF_ANSWER, b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{", False),
    ],
)
def test_faults_on_the_wire(fault, start, was_reset):
    (received, reset), _ = serve([Step(fault=fault)], raw_exchange)
    assert received.startswith(start)
    assert bool(received) is bool(start)
    assert reset is was_reset


def test_half_a_body_is_half_of_what_was_declared():
    (received, _), _ = serve([Step(fault=Fault.HALF_BODY)], raw_exchange)
    head, _, body = received.partition(b"\r\n\r\n")
    declared = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert 0 < len(body) < declared


def test_an_oversize_body_has_the_promised_size():
    response, _ = serve([Step(fault=Fault.OVERSIZE)], posted)
    assert len(response.content) == OVERSIZE_BYTES


def test_html_says_that_it_is_html():
    response, _ = serve([Step(fault=Fault.HTML)], posted)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html"


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP])
def test_a_client_that_leaves_is_noticed(fault):
    async def leave(server):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await raw_exchange(server)
        async with asyncio.timeout(5):
            while server.log.in_flight:  # noqa: ASYNC110 (a record has no event)
                await asyncio.sleep(0.01)

    _, server = serve([Step(fault=fault)], leave)
    assert server.calls[0].state is State.CANCELLED


def test_stopping_ends_calls_in_flight():
    async def run():
        async with scripted_server([Step(fault=Fault.HANG)]) as server:
            waiting = asyncio.create_task(raw_exchange(server))
            async with asyncio.timeout(5):
                while not server.log.in_flight:  # noqa: ASYNC110 (a record has no event)
                    await asyncio.sleep(0.01)
        return await waiting, server

    (received, _), server = asyncio.run(run())
    assert received == b""
    assert server.calls[0].state is State.CANCELLED
    assert server.log.in_flight == 0


def test_each_server_has_its_own_port_and_several_can_run():
    async def run():
        async with scripted_server(["a"]) as first, scripted_server(["b"]) as second:
            answers = [(await posted(server)).json() for server in (first, second)]
            return first.port != second.port, answers

    differ, answers = asyncio.run(run())
    assert differ
    assert [a["choices"][0]["message"]["content"] for a in answers] == ["a", "b"]
