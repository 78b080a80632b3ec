"""Keys at the wire: who gets in, how much they may ask, and that no key is found anywhere after."""

import asyncio
import json
import logging
import time
from datetime import timedelta

import anthropic
import httpx
import openai
import pytest

from guardrail.api.settings import ServerSettings
from guardrail.keys.api_key import KeyScope, utc_now
from guardrail.keys.secret import new_secret
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.testing.journal import MemoryJournal
from guardrail.upstreams.scripted import Step

GUARDED = ["/v1/chat/completions", "/v1/responses", "/v1/guardrail/check", "/v1/messages",
           "/beta/litellm_basic_guardrail_api"]  # fmt: skip
PRICE = {"input_usd_per_million": 1e5, "output_usd_per_million": 0.0}  # ten cents a token


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


async def ask(kit, proxy, secret, images=0, **options):
    body = kit.request(images, **options)
    return await proxy.client.post("/v1/chat/completions", json=body, headers=bearer(secret))


def error_of(response):
    return response.json()["error"]


def test_every_route_but_those_of_health_and_documents_needs_a_key(run, kit, book):
    book.create()

    async def scene():
        async with kit.proxy(keys=book.authenticator()) as proxy:
            guarded = [await proxy.client.post(path, json={}) for path in GUARDED]
            guarded += [await proxy.client.get(path) for path in ("/v1/models", "/v1/models/x")]
            free = [await proxy.client.get(path)
                    for path in ("/healthz", "/readyz", "/openapi.json", "/docs")]  # fmt: skip
            return guarded, free, proxy.calls

    guarded, free, calls = run(scene())
    assert [response.status_code for response in guarded] == [401] * 7
    assert [response.status_code for response in free] == [200] * 4
    assert calls == []


def test_whatever_is_wrong_with_a_key_is_told_alike(run, kit, book):
    good = book.create()
    expired = book.create(expires=utc_now() - timedelta(seconds=5))
    revoked = book.create(revoked=utc_now())
    wrong = [
        {}, bearer(new_secret()), bearer(expired), bearer(revoked), bearer("sk-other"),
        bearer(good[:-1]), bearer(good + " x"), {"authorization": good},
        {"authorization": f"Basic {good}"}, {"x-api-key": new_secret()}, {"x-api-key": ""},
        {**bearer(good), "x-api-key": new_secret()},
    ]  # fmt: skip

    async def scene():
        async with kit.proxy(keys=book.authenticator()) as proxy:
            return [await proxy.client.get("/v1/models", headers=headers) for headers in wrong]

    responses = run(scene())
    assert {response.status_code for response in responses} == {401}
    assert len({response.text for response in responses}) == 1
    error = error_of(responses[0])
    assert error["code"] == "invalid_api_key"
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith("Incorrect API key provided")
    assert {response.headers["www-authenticate"] for response in responses} == {"Bearer"}


@pytest.mark.parametrize(
    "headers",
    [
        lambda key: bearer(key),
        lambda key: {"x-api-key": key},
        lambda key: {"authorization": f"bearer  {key}"},
        lambda key: {**bearer(key), "x-api-key": key},
    ],
)
def test_a_key_comes_by_either_header(run, kit, book, headers):
    key = book.create()

    async def scene():
        async with kit.proxy(keys=book.authenticator()) as proxy:
            body, sent = kit.request(1), headers(key)
            chat = await proxy.client.post("/v1/chat/completions", json=body, headers=sent)
            return chat, await proxy.client.get("/v1/models", headers=sent)

    assert [response.status_code for response in run(scene())] == [200, 200]


def test_anthropics_client_brings_its_key_and_is_told_in_its_own_form(run, kit, book):
    key = book.create()
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}

    async def scene():
        async with kit.proxy(keys=book.authenticator()) as proxy:
            options = {"base_url": proxy.base_url.removesuffix("/v1"), "max_retries": 0}
            async with anthropic.AsyncAnthropic(api_key=key, **options) as client:
                made = await client.messages.create(**asked)
            async with anthropic.AsyncAnthropic(api_key=new_secret(), **options) as client:
                with pytest.raises(anthropic.AuthenticationError) as caught:
                    await client.messages.create(**asked)
            return made, caught.value

    made, error = run(scene())
    assert made.guardrail["decision"] == "pass"
    assert (error.type, error.error_code) == ("authentication_error", "invalid_api_key")


def test_a_key_of_another_scope_is_no_client(run, kit, book):
    admin = book.create(scopes=frozenset(set(KeyScope) - {KeyScope.CLIENT}))

    async def scene():
        async with kit.proxy(keys=book.authenticator()) as proxy:
            return await ask(kit, proxy, admin)

    response = run(scene())
    assert response.status_code == 403
    assert (error_of(response)["code"], error_of(response)["type"]) == (
        "scope_missing", "permission_error",
    )  # fmt: skip


def test_routes_of_operators_need_an_admins_key(run, kit, book):
    admin, client = book.create(scopes=frozenset({KeyScope.ADMIN})), book.create()

    async def scene():
        async with kit.proxy(keys=book.authenticator()) as proxy:
            return [
                (await proxy.client.get("/admin/policies", headers=headers)).status_code
                for headers in (bearer(admin), bearer(client), {})
            ]

    assert run(scene()) == [200, 403, 401]


def test_a_key_for_another_policy_is_refused(run, kit, book):
    other, this = book.create(policy="another"), book.create(policy="test")

    async def scene():
        async with kit.proxy(keys=book.authenticator()) as proxy:
            return await ask(kit, proxy, other), await ask(kit, proxy, this), proxy.calls

    refused, served, calls = run(scene())
    assert (refused.status_code, served.status_code, len(calls)) == (403, 200, 1)
    assert error_of(refused)["code"] == "policy_not_found"


def test_a_revoked_key_is_refused_by_a_running_server(run, kit, book):
    import dataclasses

    key = book.create()

    async def scene():
        async with kit.proxy(keys=book.authenticator()) as proxy:
            before = await ask(kit, proxy, key)
            book.store.change(
                book.id_of(key), lambda one: dataclasses.replace(one, revoked=utc_now())
            )
            began = time.monotonic()
            status = 200
            while status == 200:
                status = (await ask(kit, proxy, key)).status_code
            return before.status_code, time.monotonic() - began

    status, took_s = run(scene())
    assert status == 200
    assert took_s < 5.0


def test_no_key_is_found_anywhere_after(run, kit, book, tmp_path, caplog, capfd):
    """In what the model is sent, in logs, answers, records and files."""
    caplog.set_level(logging.DEBUG)
    good, bad = book.create(limits={"requests_per_minute": 3}), new_secret()
    journal, said = MemoryJournal(), []

    async def scene():
        from guardrail.engine.engine import Engine
        from guardrail.images.keys import NoiseKey
        from guardrail.policy.compile import compile_policy
        from guardrail.server.serve import running_server_async
        from guardrail.upstreams.openai_http import OpenAICompatible
        from guardrail.upstreams.scripted_server import scripted_server

        policy = kit.make_policy()
        async with scripted_server(["A cat."], model="scripted") as model:
            upstream = OpenAICompatible(model.base_url, api_key="provider-key")
            engine = Engine(compile_policy(policy), upstream, kit.Words(), NoiseKey(bytes(32)))
            async with (
                running_server_async(
                    policy,
                    engine,
                    keys=book.authenticator(),
                    record=Recorder(RecordWriter(journal), engine),
                ) as server,
                httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client,
            ):
                for secret in (good, bad):
                    for headers in (bearer(secret), {"x-api-key": secret}, {**bearer(secret),
                                    "x-api-key": bad}):  # fmt: skip
                        for path in (*GUARDED, f"/v1/{secret}"):
                            response = await client.post(path, json=kit.request(1), headers=headers)
                            said.append(f"{response.text} {response.headers}")
            return [json.dumps([call.headers, call.body], default=str) for call in model.calls]

    calls = run(scene())
    assert len(calls) > 10
    assert "provider-key" in calls[0]
    written = "".join(map(str, journal.records)) + book.file.read_text()
    shown = capfd.readouterr()
    # The client of this test, which is given the keys, logs where it asks.
    logged = [
        r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))
    ]
    everything = [*calls, *said, *logged, written, shown.out, shown.err]
    for secret in (good, bad):
        assert not [text for text in everything if secret[4:40] in text]


class TestLimits:
    def test_requests_a_minute(self, run, kit, book):
        key, other = (book.create(limits={"requests_per_minute": 2}) for _ in range(2))

        async def scene():
            async with kit.proxy(keys=book.authenticator()) as proxy:
                first = [await ask(kit, proxy, key) for _ in range(3)]
                wrong = await proxy.client.post(
                    "/v1/chat/completions", json={"model": 3}, headers=bearer(other)
                )
                return *first, wrong, await ask(kit, proxy, other), len(proxy.calls)

        one, two, three, wrong, fine, calls = run(scene())
        assert [r.status_code for r in (one, two, three, wrong, fine)] == [200, 200, 429, 400, 200]
        assert calls == 3
        remaining = "x-ratelimit-remaining-requests"
        assert [r.headers[remaining] for r in (one, two, three, wrong)] == ["1", "0", "0", "1"]
        assert three.headers["x-ratelimit-limit-requests"] == "2"
        assert three.headers["x-ratelimit-reset-requests"].endswith("s")
        assert 1 <= int(three.headers["retry-after"]) <= 61
        assert error_of(three)["code"] == "rate_limit_exceeded"
        assert "block" not in three.text

    def test_a_stream_says_its_rate_too(self, run, kit, book):
        key = book.create(limits={"requests_per_minute": 2})

        async def scene():
            settings = ServerSettings(first_byte_s=0.0, heartbeat_s=0.1)
            async with kit.proxy(keys=book.authenticator(), settings=settings) as proxy:
                return await ask(kit, proxy, key, 1, stream=True)

        response = run(scene())
        assert response.headers["x-ratelimit-remaining-requests"] == "1"
        assert response.text.endswith("data: [DONE]\n\n")

    def test_requests_at_a_time(self, run, kit, book):
        key = book.create(limits={"max_concurrency": 2})

        async def scene():
            gate = asyncio.Event()

            class Slow(kit.Scripted):
                async def complete(self, chat, pictures, *, seed):
                    await gate.wait()
                    return await super().complete(chat, pictures, seed=seed)

            async with kit.proxy(Slow(["A."]), keys=book.authenticator()) as proxy:
                asked = [asyncio.create_task(ask(kit, proxy, key)) for _ in range(4)]
                pending, refused = set(asked), []
                while len(refused) < 2:
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    refused += [one.result() for one in done]
                gate.set()
                answers = await asyncio.gather(*asked)
                return refused, answers, await ask(kit, proxy, key)

        refused, answers, after = run(scene())
        assert {one.status_code for one in refused} == {429}
        assert sorted(one.status_code for one in answers) == [200, 200, 429, 429]
        assert after.status_code == 200

    def test_calls_a_minute_are_reserved_and_given_back(self, run, kit, book):
        """A picture's plan takes 32 calls here; a text one."""
        key, small = (book.create(limits={"calls_per_minute": n}) for n in (80, 10))

        async def scene():
            async with kit.proxy(keys=book.authenticator()) as proxy:
                two = await asyncio.gather(
                    *(ask(kit, proxy, key, 1, prompt=prompt) for prompt in "ab")
                )
                third = await ask(kit, proxy, key, 1)
                text = await ask(kit, proxy, key)
                return two, third, text, await ask(kit, proxy, small, 1), len(proxy.calls)

        two, third, text, never, calls = run(scene())
        assert [r.status_code for r in two] == [200, 200]
        assert (third.status_code, text.status_code) == (429, 200)
        assert int(third.headers["retry-after"]) > 30
        assert never.status_code == 429
        assert never.headers["x-should-retry"] == "false"
        assert calls <= 80

    def test_a_refused_try_holds_no_number(self, run, kit, book):
        """Where tries share alpha, one that drew nothing costs its key nothing."""
        key = book.create(limits={"calls_per_minute": 1})
        policy = kit.make_policy(spending={"mode": "principal"})

        async def scene():
            async with kit.proxy(keys=book.authenticator(), policy=policy) as proxy:
                return [(await ask(kit, proxy, key, 1)).status_code for _ in range(3)], proxy.calls

        assert run(scene()) == ([429] * 3, [])

    def test_answers_that_are_only_watched_count_as_well(self, run, kit, book):
        key = book.create(limits={"calls_per_minute": 1})
        policy = kit.make_policy(mode="observe")

        async def scene():
            async with kit.proxy(keys=book.authenticator(), policy=policy) as proxy:
                statuses = [(await ask(kit, proxy, key)).status_code for _ in range(3)]
                return statuses, len(proxy.calls)

        assert run(scene()) == ([200, 429, 429], 1)

    def test_dollars_a_day(self, run, kit, book):
        policy = kit.make_policy(
            prices={"*": PRICE}, limits={"max_cost_usd_per_request": 60.0, "retries": 0}
        )
        key = book.create(limits={"usd_per_day": 61.0})

        async def scene():
            async with kit.proxy(keys=book.authenticator(), policy=policy) as proxy:
                return [await ask(kit, proxy, key, 1) for _ in range(3)], len(proxy.calls)

        answers, calls = run(scene())
        assert [answer.status_code for answer in answers] == [200, 429, 429]
        assert calls == 32
        last = answers[-1]
        assert (error_of(last)["code"], error_of(last)["type"]) == ("insufficient_quota",) * 2
        assert last.headers["x-should-retry"] == "false"
        assert 1 <= int(last.headers["retry-after"]) <= 86_400

    def test_dollars_without_a_limit_for_each_decision(self, run, kit, book):
        """A twentieth of the day each; without prices nothing is asked."""
        rich, poor = (book.create(limits={"usd_per_day": usd}) for usd in (2000.0, 20.0))
        one_by_one = {"max_parallel": 1}  # calls that are out side by side may exceed the limit
        policy = kit.make_policy(prices={"*": PRICE}, sampling=one_by_one)

        async def scene(policy):
            async with kit.proxy(keys=book.authenticator(), policy=policy) as proxy:
                return [await ask(kit, proxy, key, 1) for key in (rich, poor)], len(proxy.calls)

        (fine, cut), _ = run(scene(policy))
        assert (fine.status_code, cut.status_code) == (200, 503)
        assert cut.json()["guardrail"]["reason"] == "cost limit"
        (unpriced, _), calls = run(scene(kit.make_policy()))
        assert (unpriced.status_code, error_of(unpriced)["code"], calls) == (
            500, "misconfigured", 0,
        )  # fmt: skip


class TestOpenAIClient:
    def test_a_wrong_key(self, run, kit, book):
        book.create()

        async def scene():
            async with kit.proxy(keys=book.authenticator()) as proxy:
                client = openai.AsyncOpenAI(
                    base_url=proxy.base_url,
                    api_key=new_secret(),
                    http_client=httpx.AsyncClient(trust_env=False),
                )
                async with client:
                    with pytest.raises(openai.AuthenticationError) as caught:
                        await client.chat.completions.create(**kit.request())
                    return caught.value

        assert run(scene()).code == "invalid_api_key"

    def test_it_waits_as_it_is_told(self, run, kit, book):
        """One place: the second request is refused, waits a second, and is served."""
        key = book.create(limits={"max_concurrency": 1})

        async def scene():
            refused = asyncio.Event()

            async def note(response):
                if response.status_code == 429:
                    refused.set()

            script = [Step("A.", gate=refused)]
            async with kit.proxy(script, keys=book.authenticator()) as proxy:
                http = httpx.AsyncClient(trust_env=False, event_hooks={"response": [note]})
                client = openai.AsyncOpenAI(base_url=proxy.base_url, api_key=key, http_client=http)
                async with client:
                    began = time.monotonic()
                    await asyncio.gather(
                        *(client.chat.completions.create(**kit.request()) for _ in range(2))
                    )
                    waited = time.monotonic() - began
                    refused.clear()
                    once = client.with_options(max_retries=0)
                    told = await asyncio.gather(
                        *(once.chat.completions.create(**kit.request()) for _ in range(3)),
                        return_exceptions=True,
                    )
                    return waited, told

        waited, told = run(scene())
        assert waited >= 1.0
        error = next(one for one in told if isinstance(one, openai.RateLimitError))
        assert error.code == "rate_limit_exceeded"
        assert error.response.headers["retry-after"] == "1"


def test_the_document_says_how_keys_are_sent(run, kit):
    async def scene():
        async with kit.proxy() as proxy:
            return (await proxy.client.get("/openapi.json")).json()

    document = run(scene())
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert schemes["x_api_key"]["name"] == "x-api-key"
    for path, methods in document["paths"].items():
        for operation in methods.values():
            is_open = path in ("/healthz", "/readyz")
            assert operation["security"] == ([] if is_open else [{"bearer": []}, {"x_api_key": []}])
