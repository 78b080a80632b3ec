"""Links to pictures through the whole proxy, over loopback, against a site that misbehaves."""

import asyncio
import gzip
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from guardrail.api.pictures.fetch import Network
from guardrail.api.settings import ServerSettings
from guardrail.testing.attempts import same_attempt

LOOPBACK, PRIVATE = IPv4Address("127.0.0.1"), IPv4Address("10.0.0.7")
OFF = "remote_image_url_not_supported"
ROUTES = ("/v1/chat/completions", "/v1/responses", "/v1/guardrail/check", "/v1/messages")
LITELLM = "/beta/litellm_basic_guardrail_api"


@dataclass
class Site:
    """Answers by path with raw bytes; a path that is not there gets no answer, ever."""

    pages: dict
    port: int = 0
    heads: list = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    def url(self, path="/a.png", host="pictures.test"):
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader, writer):
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            page = self.pages.get(head.split(" ")[1])
            if page is None:
                await reader.read()
            else:
                writer.write(page)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


def answer(body, status="200 OK", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in {"Content-Length": len(body), **named}.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


@dataclass
class Scene:
    """A proxy that may fetch from the site, and the site."""

    proxy: object
    site: Site

    async def chat(self, *urls, **fields):
        return await self.proxy.client.post(ROUTES[0], json=chat_about(*urls, **fields))


def chat_about(*urls, **fields):
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content = [{"type": "text", "text": "What is this?"}, *parts]
    return {"model": "m", "messages": [{"role": "user", "content": content}], **fields}


def response_about(url):
    parts = [{"type": "input_text", "text": "What is this?"}]
    parts.append({"type": "input_image", "image_url": url})
    return {"model": "m", "input": [{"role": "user", "content": parts}]}


def message_about(url):
    parts = [{"type": "text", "text": "What is this?"}]
    parts.append({"type": "image", "source": {"type": "url", "url": url}})
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": parts}]}


BODIES = dict(zip(ROUTES, (chat_about, response_about, chat_about, message_about), strict=True))


@asynccontextmanager
async def scene(kit, pages, *, limits=None, addresses=(LOOPBACK,), settings=None, **images):
    site = Site(pages)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]

    async def resolve(_host, _port):
        return list(addresses)

    hosts = [f"pictures.test:{site.port}", f"127.0.0.1:{site.port}"]
    rules = {"remote": "allow_list", "remote_hosts": hosts, **images}
    policy = kit.make_policy(images=rules, limits=limits or {})
    network = Network(resolve, lambda address: address == LOOPBACK)
    options = {"policy": policy, "settings": settings, "network": network}
    try:
        async with kit.proxy(**options) as proxy:
            yield Scene(proxy, site)
    finally:
        server.close()


def told(kit, run, pages, *paths, **options):
    """The error of a chat about these paths."""

    async def scenario():
        async with scene(kit, pages, **options) as here:
            urls = [here.site.url(path) for path in paths or ("/a.png",)]
            response = await here.chat(*urls)
            assert here.proxy.calls == []
            assert here.proxy.oracle.seen == []
            return response

    response = run(scenario())
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"].startswith("messages[0].content[")
    assert "pictures.test" not in response.text
    return response.status_code, error["code"], error["param"]


@pytest.mark.parametrize("path", ROUTES[:3:2])
def test_a_link_is_decided_exactly_like_the_picture_itself(run, kit, path):
    async def scenario():
        async with scene(kit, {"/a.png": answer(kit.png(), Content_Type="text/html")}) as here:
            for url in (here.site.url(), kit.data_url()):
                response = await here.proxy.client.post(path, json=chat_about(url))
                yield response.json()["guardrail"]
            yield [call.pictures[0].tobytes() for call in here.proxy.calls]

    with same_attempt():
        linked, embedded, seen = run(_listed(scenario()))
    for told in (linked, embedded):
        for name in ("record_id", "elapsed_ms", "overhead_ms"):
            told.pop(name)
        told["certificate"] = kit.timeless(told["certificate"])
    assert linked["decision"] == "pass"
    assert linked == embedded
    half = len(seen) // 2
    assert sorted(seen[:half]) == sorted(seen[half:])  # the same noise


async def _listed(items):
    return [item async for item in items]


def test_the_routes_take_links_alike(run, kit):
    async def scenario():
        async with scene(kit, {"/a.png": answer(kit.png())}) as here:
            url = here.site.url()
            client = here.proxy.client
            response = await client.post(ROUTES[1], json=response_about(url))
            assert response.json()["guardrail"]["certificate"] is not None
            question = {
                "input_type": "request",
                "model": "m",
                "images": [url],
                "structured_messages": chat_about(url)["messages"],
            }
            asked = await client.post(LITELLM, json=question)
            missing = {**question, "structured_messages": chat_about("x" + url)["messages"]}
            blocked = await client.post(LITELLM, json=missing)
            return asked.json(), blocked.json()["action"], len(here.site.heads)

    assert run(scenario()) == ({"action": "NONE"}, "BLOCKED", 2)


def test_several_links_and_data_urls_keep_their_order(run, kit):
    pages = {f"/{i}": answer(kit.png(seed=i)) for i in range(3)}

    async def scenario():
        async with scene(kit, pages, limits={"max_images": 4}) as here:
            urls = [here.site.url("/2"), kit.data_url(kit.png(seed=3)), here.site.url("/0")]
            linked = await here.chat(*urls)
            data = [kit.data_url(kit.png(seed=i)) for i in (2, 3, 0)]
            embedded = await here.chat(*data)
            told = [r.json()["guardrail"]["certificate"] for r in (linked, embedded)]
            return [kit.timeless(certificate) for certificate in told]

    with same_attempt():
        linked, embedded = run(scenario())
    assert linked == embedded


def test_nothing_of_the_clients_request_reaches_the_site(run, kit):
    async def scenario():
        async with scene(kit, {"/a.png": answer(kit.png())}) as here:
            headers = {
                "authorization": "Bearer secret",
                "cookie": "a=secret",
                "x-api-key": "secret",
            }
            await here.proxy.client.post(
                ROUTES[0], json=chat_about(here.site.url()), headers=headers
            )
            return here.site.heads

    (head,) = run(scenario())
    assert "secret" not in head


def test_off_is_the_default_and_names_the_field_of_the_policy(run, kit):
    async def scenario():
        async with scene(kit, {}, remote="off", remote_hosts=[]) as here:
            client, url = here.proxy.client, here.site.url()
            for path in ROUTES:
                body = BODIES[path](url)
                yield kit.error_of(await client.post(path, json=body))
            yield here.site.heads

    *errors, heads = run(_listed(scenario()))
    assert heads == []
    for error in errors:
        assert error["code"] == OFF
        assert "images.remote" in error["message"]


BAD = {
    "text": (answer(b"hello"), 415, "unsupported_image_type"),
    "missing": (answer(b"", "404 Not Found"), 400, "image_fetch_failed"),
    "truncated": (answer(b"\x89PNG\r\n\x1a\n"), 400, "invalid_image"),
    "zipped": (answer(gzip.compress(b"x"), Content_Encoding="gzip"), 400, "image_fetch_failed"),
    "inside": (answer(b"", "302 X", Location="http://10.0.0.7/"), 400, "image_url_not_allowed"),
    "file": (answer(b"", "302 X", Location="file:///etc/passwd"), 400, "invalid_image_url"),
    "data": (answer(b"", "302 X", Location="data:image/png;base64,AA=="), 400, "invalid_image_url"),
    "no_http": (b"\x00\x01\x02\r\n\r\n", 400, "image_fetch_failed"),
    "long": (answer(b"", Content_Length=10**9), 413, "image_too_large"),
}


@pytest.mark.parametrize(("page", "status", "code"), BAD.values(), ids=BAD)
def test_what_is_no_picture_is_refused_and_named(run, kit, page, status, code):
    assert told(kit, run, {"/a.png": page}) == (
        status,
        code,
        "messages[0].content[1].image_url.url",
    )


def test_a_picture_of_too_many_pixels_is_not_decoded(run, kit):
    bomb = answer(kit.png_header(8000, 8000))
    assert told(kit, run, {"/a.png": bomb})[:2] == (413, "image_too_large")


def test_addresses_inside_are_refused_through_the_proxy(run, kit):
    options = {"addresses": (LOOPBACK, PRIVATE)}
    assert told(kit, run, {}, **options)[1] == "image_fetch_failed"


def test_the_one_at_fault_is_named_and_the_others_are_given_up(run, kit):
    async def scenario():
        async with scene(kit, {"/bad": answer(b"hello")}) as here:
            response = await here.chat(here.site.url("/silent"), here.site.url("/bad"))
            async with asyncio.timeout(20):
                while here.site.open:  # noqa: ASYNC110 (a closed socket has no event here)
                    await asyncio.sleep(0.01)
            return response.json()["error"]["param"]

    assert run(scenario()) == "messages[0].content[2].image_url.url"


def test_links_of_one_request_share_a_bound_of_bytes(run, kit):
    page = answer(kit.png(100, 100))
    limits = {"max_body_bytes": 50_000}
    code = told(kit, run, {"/a": page, "/b": page}, "/a", "/b", limits=limits)
    assert code == (413, "images_too_large", "messages[0].content[2].image_url.url")


def test_a_silent_site_ends_with_its_own_time_limit(run, kit):
    assert told(kit, run, {}, remote_timeout_s=0.2)[:2] == (400, "image_fetch_failed")


def test_fetching_ends_with_the_decision(run, kit):
    async def scenario():
        limits = {"deadline_s": 0.3, "call_timeout_s": 0.2}
        async with scene(kit, {}, limits=limits, remote_timeout_s=60.0) as here:
            response = await here.chat(here.site.url())
            return response, here.proxy.calls

    response, calls = run(scenario())
    assert (response.status_code, response.json()["error"]["code"]) == (503, "overloaded")
    assert "limits.deadline_s" in response.text
    assert calls == []


def test_a_stream_beats_while_a_picture_is_fetched(run, kit):
    async def scenario():
        settings = ServerSettings(first_byte_s=0.05, heartbeat_s=0.05)
        async with scene(kit, {}, settings=settings, remote_timeout_s=0.4) as here:
            return await here.chat(here.site.url(), stream=True)

    response = run(scenario())
    assert response.status_code == 200
    assert '"delta":{}' in response.text  # it waited
    *_, fault, done = kit.events_of(response.text)
    assert done == "[DONE]"
    assert fault["error"]["code"] == "image_fetch_failed"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_ends_the_fetch_and_gives_its_place_back(run, kit, stream):
    async def scenario():
        limits = {"max_concurrent_requests": 1, "deadline_s": 60.0}
        options = {"limits": limits, "remote_timeout_s": 60.0}
        async with scene(kit, {"/a.png": answer(kit.png())}, **options) as here:
            host, port = here.proxy.base_url.removeprefix("http://").removesuffix("/v1").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            raw = json.dumps(chat_about(here.site.url("/silent"), stream=stream)).encode()
            head = (
                "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
            )
            writer.write(head.encode() + raw)
            await _until(lambda: here.site.heads)
            writer.close()
            await _until(lambda: here.site.open == 0)
            response = await here.chat(here.site.url())  # the only place was given back
            return response.status_code, len(here.site.heads)

    assert run(scenario()) == (200, 2)


async def _until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.005)


def test_links_are_followed_a_bounded_number_at_a_time(run, kit):
    async def scenario():
        limits = {"max_images": 64, "deadline_s": 2.0, "call_timeout_s": 1.0}
        async with scene(kit, {}, limits=limits, remote_timeout_s=60.0) as here:
            response = await here.chat(*(here.site.url(f"/{i}") for i in range(40)))
            return response.status_code, here.site.most_open

    status, most_open = run(scenario())
    assert status == 503
    assert most_open <= 32
