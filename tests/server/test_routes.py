"""Routes beside the chat: models, health, and everything else refused in OpenAI's form."""

import asyncio
import json
from urllib.parse import quote, unquote

import pytest

from guardrail.api.settings import ServerSettings
from guardrail.errors import ConfigError, UpstreamError
from guardrail.server.plain_path import is_plain
from guardrail.server.policy_sync import PolicySync
from guardrail.telemetry.log_lines import line_writer

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
UNGUARDED = [
    "/v1/completions",
    "/v1/responses/r/cancel",
    "/v1/responses/",
    "/v1/guardrail",
    "/v1/guardrail/check/",
    "/v1/message",
    "/v1/embeddings",
    "/v1/images/generations",
    "/v1/audio/speech",
    "/v1/realtime",
    "/v1/files",
    "/v1/batches",
    "/v1/chat",
    "/v1/chat/completions/",
    "/v1/chat/completions/chatcmpl-1",
    "/v1/chat/completions%2F",
    "/v1/CHAT/completions",
    "/v1/../v1/embeddings",
    "/v1/models/%00",
    "/v1/",
]
GUARDED = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/guardrail/check",
    "/v1/models",
]
OTHER = [
    "/",
    "/v2/chat/completions",
    "/chat/completions",
    "/redoc",
    "/docs/oauth2-redirect",
    "/v1",
    "//",
]


def error_of(response):
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]


@pytest.mark.parametrize("path", UNGUARDED)
def test_routes_that_are_not_guarded_are_refused(shared, kit, path):
    before = len(shared.upstream.calls)
    for method in METHODS:
        response = shared.client.request(method, path, json=kit.request(1))
        assert response.status_code == 404, method
        error = error_of(response)
        assert error["code"] == "route_not_guarded"
        for guarded in GUARDED:
            assert guarded in error["message"]
    assert len(shared.upstream.calls) == before


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/console/policies/übung", True),
        ("/console/policies/安全.v2/versions/1", True),
        ("/console/policies/a%2Fb", False),
        ("/console/policies/a b", False),
        ("/console/policies/..", False),
        ("/console/decisions/ü", False),
        ("/v1/chat/complétions", False),
    ],
)
def test_letters_of_other_scripts_stand_in_names_of_policies_alone(path, plain):
    raw = path.encode("latin-1", "replace") if "%" in path else quote(path).encode()
    assert is_plain(unquote(path), raw) is plain


@pytest.mark.parametrize("path", OTHER)
def test_other_paths(shared, path):
    response = shared.client.get(path)
    assert response.status_code == 404
    assert error_of(response)["code"] == "not_found"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/chat/completions", "POST"),
        ("/v1/responses", "POST"),
        ("/v1/guardrail/check", "POST"),
        ("/beta/litellm_basic_guardrail_api", "POST"),
        ("/v1/models", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
    ],
)
def test_wrong_methods(shared, path, allowed):
    for method in ("PUT", "DELETE", "OPTIONS"):
        response = shared.client.request(method, path)
        assert response.status_code == 405
        assert sorted(response.headers["allow"].split(", ")) == allowed.split(", ")
        assert error_of(response)["code"] == "method_not_allowed"
    status = 200 if "HEAD" in allowed else 405
    assert shared.client.head(path).status_code == status


def test_a_websocket_is_refused(shared):
    headers = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    response = shared.client.get("/v1/realtime", headers=headers)
    assert error_of(response)["code"] == "route_not_guarded"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/chat/completions", "POST /v1/chat/completions"),
        ("/api/v1/chat/completions", "POST /v1/chat/completions"),
        ("/v1/v1/chat/completions", "POST /v1/chat/completions"),
        ("/v1/chat/completions/", "POST /v1/chat/completions"),
        ("/openai/chat/completions", "POST /v1/chat/completions"),
        ("/responses", "POST /v1/responses"),
        ("/models", "GET /v1/models"),
        ("/guardrail/check", "POST /v1/guardrail/check"),
        ("/v1", "/v1"),
        ("/", "/v1"),
    ],
)
def test_what_was_meant_is_said(shared, path, route):
    message = error_of(shared.client.post(path, json={}))["message"]
    assert message.endswith("set the client's base URL to this server's /v1")
    assert route in message


@pytest.mark.parametrize("path", ["/v1/v1/messages", "/messages", "/anthropic/v1/messages"])
def test_anthropics_clients_are_told_their_own_base_url(shared, path):
    message = error_of(shared.client.post(path, json={}))["message"]
    assert "POST /v1/messages is one" in message
    assert message.endswith("set the client's base URL to this server's address, without /v1")


def test_no_site_may_ask_from_a_browser(shared):
    headers = {"origin": "https://example.com", "access-control-request-method": "POST"}
    response = shared.client.options("/v1/chat/completions", headers=headers)
    assert not any(name.startswith("access-control") for name in response.headers)


ORIGIN = "https://chat.example"
ASKED = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-os",
}


def test_listed_sites_may_ask_from_a_browser(run, kit):
    settings = ServerSettings(cors_origins=(ORIGIN, "http://localhost:3000"))

    async def scenario():
        async with kit.proxy(settings=settings) as proxy:
            ask = proxy.client.request
            return [
                await ask("OPTIONS", "/v1/chat/completions", headers={"origin": ORIGIN, **ASKED}),
                await ask(
                    "POST", "/v1/chat/completions", json=kit.request(), headers={"origin": ORIGIN}
                ),
                await ask("POST", "/v1/embeddings", json={}, headers={"origin": ORIGIN}),
                await ask("GET", "/v1/models", headers={"origin": "https://chat.example.evil"}),
                await ask(
                    "OPTIONS", "/v1/models", headers={"origin": "https://evil.example", **ASKED}
                ),
            ]

    before, answer, refused, foreign, unasked = run(scenario())
    assert (before.status_code, answer.status_code, refused.status_code) == (200, 200, 404)
    for response in (before, answer, refused):
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in response.headers
    assert "x-stainless-os" in before.headers["access-control-allow-headers"]
    assert "x-guardrail-decision" in answer.headers["access-control-expose-headers"]
    for response in (foreign, unasked):
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "", "chat.example", "https://chat.example/", "https://*.example", "https://A.b"],
)
def test_what_is_no_origin_is_refused(run, kit, origin):
    async def scenario():
        async with kit.proxy(settings=ServerSettings(cors_origins=(origin,))):
            pass

    with pytest.raises(ConfigError, match="must be an origin"):
        run(scenario())


def test_models(shared):
    listed = shared.client.get("/v1/models").json()
    (model,) = listed["data"]
    assert listed["object"] == "list"
    assert (model["id"], model["object"]) == ("scripted", "model")
    assert shared.client.get("/v1/models/scripted").json() == model


@pytest.mark.parametrize("name", ["other", "a/b", "a%2Fb", "scripted/"])
def test_a_model_that_is_not_there(shared, name):
    response = shared.client.get(f"/v1/models/{name}")
    assert response.status_code == 404
    assert error_of(response)["code"] == "model_not_found"


def test_model_names_may_hold_slashes(run, kit):
    async def scenario():
        upstream = kit.Scripted(["x"], model="org/model:tag")
        async with kit.proxy(upstream) as proxy:
            return await proxy.client.get("/v1/models/org/model:tag")

    assert run(scenario()).json()["id"] == "org/model:tag"


def test_models_that_cannot_be_listed(run, kit):
    async def scenario():
        upstream = kit.Scripted(["x"])
        upstream.models = failing
        async with kit.proxy(upstream) as proxy:
            return await proxy.client.get("/v1/models")

    response = run(scenario())
    assert response.status_code == 502
    assert "unreachable" in error_of(response)["message"]


async def failing():
    raise UpstreamError("the upstream is unreachable", transient=True)


async def hanging():
    await asyncio.Event().wait()


async def crashing():
    raise RuntimeError("secret")


def test_alive_and_ready(shared):
    assert shared.client.get("/healthz").json() == {"status": "ok"}
    response = shared.client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "upstream": "ok", "oracle": "ok"}


@pytest.mark.parametrize(
    ("models", "oracle", "at_fault", "word"),
    [
        (failing, None, "upstream", "unreachable"),
        (hanging, None, "upstream", "did not list"),
        (crashing, None, "upstream", "RuntimeError"),
        (None, "hang", "oracle", "in time"),
        (None, "missing", "oracle", "no judgement"),
        (None, "nothing", "oracle", "no judgement"),
        (None, RuntimeError("secret"), "oracle", "RuntimeError"),
    ],
)
def test_not_ready(run, kit, models, oracle, at_fault, word):
    async def scenario():
        upstream = kit.Scripted(["x"])
        if models is not None:
            upstream.models = models
        settings = ServerSettings(probe_timeout_s=0.05)
        async with kit.proxy(upstream, oracle=kit.Words(oracle), settings=settings) as proxy:
            return await proxy.client.get("/readyz"), await proxy.client.get("/healthz")

    ready, alive = run(scenario())
    assert ready.status_code == 503
    assert word in ready.json()[at_fault]
    assert "secret" not in ready.text
    assert [ready.json()[name] for name in ("upstream", "oracle") if name != at_fault] == ["ok"]
    assert alive.status_code == 200


@pytest.mark.parametrize("missed", [False, True])
def test_a_process_that_missed_a_rollback_is_not_ready(run, kit, monkeypatch, missed):
    async def check(sync):
        if missed:
            raise ConfigError("this process started after a rollback")

    async def scenario():
        async with kit.proxy() as proxy:
            return await proxy.client.get("/readyz")

    monkeypatch.setattr(PolicySync, "has_board", True)
    monkeypatch.setattr(PolicySync, "check", check)
    ready = run(scenario())
    told = "this process started after a rollback" if missed else "ok"
    assert (ready.status_code, ready.json()["policies"]) == (503 if missed else 200, told)


def test_readiness_is_remembered_for_a_moment(run, kit):
    async def scenario(cache_s):
        settings = ServerSettings(probe_cache_s=cache_s)
        async with kit.proxy(settings=settings) as proxy:
            asked = [proxy.client.get("/readyz") for _ in range(5)]
            await asyncio.gather(*asked)
            return len(proxy.oracle.seen)

    assert run(scenario(60.0)) == 1
    assert run(scenario(0.0)) == 5


def test_the_access_log_names_routes_and_no_content(run, kit, logs):
    async def scenario():
        async with kit.proxy([kit.HARM], settings=ServerSettings(known_models_only=True)) as proxy:
            await proxy.chat(images=1, prompt="secret harm")
            await proxy.client.get("/v1/secret?key=secret")
            await proxy.client.get("/v1/models/secret", headers={"authorization": "Bearer secret"})

    logs.clear()
    run(scenario())  # a line comes after its answer, but before the server has ended
    written = [line_writer("json").format(r) for r in logs.records if r.name == "guardrail.access"]
    lines = [json.loads(text) for text in written]
    assert [line["event"] for line in lines] == ["decision", "refused", "refused"]
    assert [line["status"] for line in lines] == [200, 404, 404]
    assert [line["route"] for line in lines] == [
        "/v1/chat/completions",
        None,
        "/v1/models/{model:path}",
    ]
    assert lines[0]["decision"] == "block"
    assert lines[0]["samples"] > 0
    assert lines[0]["record_id"] is None  # none are kept
    assert "secret" not in logs.text + "".join(written)
