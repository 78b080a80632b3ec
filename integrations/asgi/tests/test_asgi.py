"""Real applications under uvicorn on loopback, guarded, and asked by the openai client."""

import asyncio
import json
import runpy
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import guardrail_asgi
import httpx
import openai
import pytest
import uvicorn
from fastapi import FastAPI, Request
from guardrail_asgi import GuardrailMiddleware
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from guardrail import Guard
from guardrail.policy.advanced import AdvancedStreams
from guardrail.testing.adapters import check_adapter
from guardrail.testing.scenarios import SCENARIOS
from guardrail.testing.setting import KEY, scenario_policy
from guardrail.testing.stage import stage

PATH = "/v1/chat/completions"
clean, forbidden, streaming = (
    next(s for s in SCENARIOS if s.name == name) for name in ("clean", "forbidden", "streaming")
)


class Backend:
    """What an application does behind its route: asks the scenario's model and notes who asked."""

    def __init__(self, base_url):
        self.url = f"{base_url}/chat/completions"
        self.seen = []
        self.cancelled = 0

    async def ask(self, body, headers):
        self.seen.append(dict(headers))
        try:
            # No TLS: its context alone would take most of the test's time.
            async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 (loopback)
                response = await client.post(self.url, json=body)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return response.status_code, response.json()


def starlette_app(backend):
    async def chat(request):
        status, body = await backend.ask(await request.json(), request.headers)
        return JSONResponse(body, status)

    async def other(request):
        return PlainTextResponse("not guarded")

    return Starlette(routes=[Route(PATH, chat, methods=["POST"]), Route("/other", other)])


def fastapi_app(backend):
    app = FastAPI()

    @app.post(PATH)
    async def chat(request: Request):
        status, body = await backend.ask(await request.json(), request.headers)
        return JSONResponse(body, status)

    return app


@contextmanager
def served(app):
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def guarded(scenario, make=starlette_app, **options):
    with stage(scenario) as played:
        backend = Backend(played.model.base_url)
        app = make(backend)
        app.add_middleware(GuardrailMiddleware, guard=played.guard, paths=[PATH], **options)
        with served(app) as url:
            yield played, backend, url


def client(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="sk-client", max_retries=0)


@pytest.mark.parametrize(
    ("scenario", "make"),
    [*((scenario, starlette_app) for scenario in SCENARIOS), (clean, fastapi_app)],
    ids=lambda value: getattr(value, "name", None),
)
def test_it_decides_as_the_proxy_does(scenario, make):
    with guarded(scenario, make) as (played, _, url), client(url) as asking:
        if scenario.action != "fault":
            check(scenario, asking.chat.completions.create(**scenario.request))
        else:
            with pytest.raises(openai.APIStatusError) as caught:
                asking.chat.completions.create(**scenario.request)
            assert caught.value.status_code == 503
        played.check()


BLOCKED = "This request was blocked: its answer could not be shown to be harmless."


def check(scenario, answer):
    if scenario.stream:
        chunks = list(answer)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks) or None
        about, reason = chunks[-1].guardrail, chunks[-1].choices[0].finish_reason
    else:
        message = answer.choices[0].message
        text, about = message.content, answer.guardrail
        reason = answer.choices[0].finish_reason
        assert bool(message.tool_calls) == scenario.tools
    said = BLOCKED if scenario.action == "block" else scenario.text
    assert (text, about["decision"]) == (said, scenario.action)
    assert (reason == "content_filter") == (scenario.action == "block")


def test_the_application_sees_the_clients_headers():
    with guarded(clean) as (_, backend, url), client(url) as asking:
        asking.chat.completions.create(**clean.request, extra_headers={"x-tenant": "blue"})
    assert len(backend.seen) > 1
    assert {headers["x-tenant"] for headers in backend.seen} == {"blue"}
    assert {headers["authorization"] for headers in backend.seen} == {"Bearer sk-client"}


def test_other_routes_and_methods_pass_by():
    with guarded(clean) as (played, _, url):
        assert httpx.get(f"{url}/other", trust_env=False).text == "not guarded"
        assert httpx.get(f"{url}{PATH}", trust_env=False).status_code == 405
        assert played.journal.records == []


def test_the_proxys_headers_are_there():
    with guarded(clean) as (_, _, url):
        headers = httpx.post(f"{url}{PATH}", json=clean.request, trust_env=False).headers
    assert headers["x-guardrail-decision"] == "pass"


@pytest.mark.parametrize("raw", [b"", b"not json", b"[]", b'{"model": "m"}'])
def test_what_is_no_request_is_refused(raw):
    with guarded(clean) as (_, backend, url):
        response = httpx.post(f"{url}{PATH}", content=raw, trust_env=False)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert backend.seen == []


def test_a_body_that_is_too_large_is_refused():
    with guarded(clean) as (played, backend, url):
        raw = b" " * (played.guard.policy.advanced.limits.max_body_bytes + 1)
        response = httpx.post(f"{url}{PATH}", content=raw, trust_env=False, timeout=60)
    assert response.status_code == 413
    assert backend.seen == []


@contextmanager
def held(words, heartbeat="chunks"):
    """A route that answers slowly, behind a middleware that soon sends heartbeats."""

    async def chat(_request):
        await asyncio.sleep(0.6)
        message = {"role": "assistant", "content": words}
        return JSONResponse(
            {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        )

    policy = scenario_policy()
    streams = {"streams": AdvancedStreams(heartbeat=heartbeat)}
    advanced = policy.advanced.model_copy(update=streams)
    with Guard(policy.model_copy(update={"advanced": advanced}), key=KEY) as guard:
        app = Starlette(routes=[Route(PATH, chat, methods=["POST"])])
        app.add_middleware(GuardrailMiddleware, guard=guard, paths=[PATH], heartbeat_s=0.02)
        with served(app) as url:
            yield url


@pytest.mark.parametrize("kind", ["chunks", "comments"])
def test_a_held_stream_beats_as_the_policy_says(kind):
    with held("Two squares.", kind) as url:
        response = httpx.post(f"{url}{PATH}", json=streaming.request, trust_env=False, timeout=60)
    assert response.headers["x-guardrail-decision"] == "pending"
    assert response.headers["x-guardrail-policy"]
    assert response.headers["cache-control"] == "no-cache"
    comments = [line for line in response.text.splitlines() if line.startswith(":")]
    events = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert {*comments} == ({": waiting for the verdict"} if kind == "comments" else set())
    if kind == "chunks":
        assert deltas[:2] == [{"role": "assistant", "content": None}, {}]
    assert [delta["role"] for delta in deltas if "role" in delta] == ["assistant"]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Two squares."
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert chunks[-1]["guardrail"]["decision"] == "pass"


def test_a_held_stream_is_read_by_the_official_client():
    with held("Two squares.") as url, client(url) as asking:
        chunks = list(asking.chat.completions.create(**streaming.request))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Two squares."


def test_a_fault_after_heartbeats_is_an_event():
    with held("") as url, client(url) as asking, pytest.raises(openai.APIError) as caught:
        list(asking.chat.completions.create(**streaming.request))
    assert caught.value.code


def test_what_asks_for_no_stream_is_sent_nothing_before_its_answer():
    with held("Two squares.") as url, client(url) as asking:
        raw = asking.chat.completions.with_raw_response.create(**clean.request)
    assert raw.headers["x-guardrail-decision"] == "pass"
    assert raw.parse().choices[0].message.content == "Two squares."


def test_a_client_that_leaves_ends_the_calls():
    asked, ended = threading.Event(), threading.Event()

    async def chat(request):
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with stage(clean) as played:
        app = Starlette(routes=[Route(PATH, chat, methods=["POST"])])
        app.add_middleware(GuardrailMiddleware, guard=played.guard, paths=[PATH])
        with served(app) as url:

            async def leave():
                async with httpx.AsyncClient(trust_env=False) as asking:
                    task = asyncio.create_task(asking.post(f"{url}{PATH}", json=clean.request))
                    await asyncio.to_thread(asked.wait, 30)
                    task.cancel()
                    await asyncio.wait({task})

            asyncio.run(leave())
            assert ended.wait(30)
            end = time.monotonic() + 30
            while not played.journal.records and time.monotonic() < end:
                time.sleep(0.01)  # nobody waits for the record of a client that has gone
        assert [record.reason for record in played.journal.records] == ["cancelled"]


def test_a_crash_behind_the_route_is_a_fault_of_the_model():
    async def chat(request):
        raise LookupError("what the user said")

    with stage(clean) as played:
        app = Starlette(routes=[Route(PATH, chat, methods=["POST"])])
        app.add_middleware(GuardrailMiddleware, guard=played.guard, paths=[PATH])
        with served(app) as url:
            response = httpx.post(f"{url}{PATH}", json=clean.request, trust_env=False)
    assert response.status_code == 502
    assert "what the user said" not in response.text


def test_the_example_runs(capsys):
    runpy.run_path(str(Path(__file__).parents[1] / "example.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "two people in a park" in said
    assert "Unless an event of probability at most" in said


def test_it_keeps_the_rules_of_adapters():
    check_adapter(guardrail_asgi)
