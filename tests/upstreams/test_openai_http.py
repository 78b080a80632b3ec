"""Everything here goes over real sockets on loopback."""

import asyncio
import contextlib
import io
import logging
import re
import shutil
import ssl
import subprocess
import threading
import traceback

import numpy as np
import pytest
from PIL import Image

from guardrail.errors import ConfigError, RequestError, UpstreamError
from guardrail.types import Usage
from guardrail.upstreams.base import Upstream
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, State, Step
from guardrail.upstreams.scripted_server import scripted_server
from tests.virtual_time import run_skipping, skip

KEY = "sk-very-secret-0123456789"
OWN_HEADER = "header-secret-9876543210"


def talk(script, talking, **options):
    """Runs `talking(upstream, server)` against a scripted server."""

    async def run():
        options.setdefault("timeout_s", 60.0)
        async with scripted_server(script) as server:
            upstream = OpenAICompatible(server.base_url, api_key=KEY, **options)
            try:
                return await talking(upstream, server)
            finally:
                await upstream.aclose()

    return run_skipping(run())


def fault_of(script, chat, pictures=(), **options):
    """The error of one call, and what the server recorded."""

    async def talking(upstream, server):
        with pytest.raises(UpstreamError) as caught:
            await upstream.complete(chat, pictures, seed=1)
        return caught.value, server

    return talk(script, talking, **options)


async def until(condition, timeout_s=60.0):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 (a server's record has no event to wait for)
            await asyncio.sleep(0.005)


# What is sent


def test_an_answer_and_its_request(make_chat, make_picture):
    chat = make_chat(2, temperature=0.5, unknown_field={"deep": [1, None]}, stream=True, n=1)
    pictures = [make_picture(seed=1), make_picture(40, 30, seed=2)]

    async def talking(upstream, server):
        assert isinstance(upstream, Upstream)
        return await upstream.complete(chat, pictures, seed=9), server.calls

    answer, (call,) = talk(["A cat."], talking)
    assert (answer.text, answer.model, answer.finish_reason) == ("A cat.", "scripted", "stop")
    assert answer.usage == Usage(7, 5, 1)
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.headers["content-type"] == "application/json"
    assert call.body.keys() == {"model", "messages", "temperature", "unknown_field", "n"}
    assert call.body["unknown_field"] == {"deep": [1, None]}
    assert call.body["messages"][0] == chat.messages[0]
    for encoded, picture in zip(call.pictures, pictures, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), picture)


def test_a_body_of_many_megabytes_arrives_whole(make_chat, make_picture):
    picture = make_picture(1024, 1024)

    async def talking(upstream, server):
        await upstream.complete(make_chat(1), [picture], seed=1)
        return server.calls[0].pictures[0]

    encoded = talk(["ok"], talking)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), picture)


def test_chats_that_take_turns_keep_their_own_words(make_chat, make_picture):
    chats = [make_chat(1, text="one"), make_chat(1, text="two")]

    async def talking(upstream, server):
        for chat in [*chats, *chats, chats[0], chats[0]]:
            await upstream.complete(chat, [make_picture()], seed=1)
        return [call.body["messages"][1]["content"][0]["text"] for call in server.calls]

    assert talk(["ok"] * 6, talking) == ["one", "two", "one", "two", "one", "one"]


def test_variants_can_travel_as_jpeg(make_chat, make_picture):
    async def talking(upstream, server):
        await upstream.complete(make_chat(1), [make_picture()], seed=1)
        return server.calls[0].pictures[0], upstream.revision

    encoded, revision = talk(["ok"], talking, variant_format="jpeg", jpeg_quality=80)
    assert Image.open(io.BytesIO(encoded)).format == "JPEG"
    assert revision.endswith("/v1 jpeg q80")


def test_model_names_are_mapped(make_chat):
    async def talking(upstream, server):
        await upstream.complete(make_chat(0, model="ours"), [], seed=1)
        await upstream.complete(make_chat(0, model="other"), [], seed=1)
        return [call.body["model"] for call in server.calls], await upstream.models()

    sent, listed = talk(["ok"], talking, model_map={"ours": "theirs"})
    assert sent == ["theirs", "other"]
    assert listed == ["ours", "scripted"]


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        (None, {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        ("max_tokens", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("max_tokens", {"max_tokens": 5}, {"max_tokens": 5}),
        ("max_tokens", {"max_tokens": 7, "max_completion_tokens": 5}, {"max_tokens": 5}),
        ("max_tokens", {"max_tokens": 7, "max_completion_tokens": None}, {"max_tokens": 7}),
        ("max_completion_tokens", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("max_tokens", {"max_tokens": 7, "max_completion_tokens": "x"}, {"max_tokens": "x"}),
        ("max_tokens", {}, {}),
    ],
)
def test_the_limit_of_tokens_goes_under_the_name_that_the_server_knows(
    make_chat, name, given, sent
):
    async def talking(upstream, server):
        await upstream.complete(make_chat(0, **given), [], seed=1)
        return {k: v for k, v in server.calls[0].body.items() if k.endswith("tokens")}

    assert talk(["ok"], talking, token_limit_name=name) == sent


def test_own_headers_replace_the_usual_ones(make_chat):
    async def talking(upstream, server):
        await upstream.complete(make_chat(0), [], seed=1)
        return server.calls[0].headers

    headers = talk(["ok"], talking, headers={"X-Own": "1", "user-agent": "me"})
    assert (headers["x-own"], headers["user-agent"]) == ("1", "me")


def test_without_a_key_no_authorization_is_sent(make_chat):
    async def run():
        async with scripted_server(["ok"]) as server:
            upstream = OpenAICompatible(server.base_url + "/")
            await upstream.complete(make_chat(0), [], seed=1)
            await upstream.aclose()
            return server.calls[0].headers

    assert "authorization" not in asyncio.run(run())


def test_what_the_provider_adds_is_kept(make_chat):
    message = {"content": None, "refusal": "No.", "annotations": [{"x": 1}]}
    step = Step(message=message, finish_reason="content_filter")

    async def talking(upstream, server):
        return await upstream.complete(make_chat(0), [], seed=1)

    answer = talk([step], talking)
    assert answer.message == {"role": "assistant", **message}
    assert answer.finish_reason == "content_filter"


def test_connections_are_kept_and_bounded(make_chat):
    gate = asyncio.Event()

    async def talking(upstream, server):
        for _ in range(3):
            gate.clear()
            calls = (upstream.complete(make_chat(0), [], seed=i) for i in range(20))
            answers = asyncio.gather(*calls)
            await until(lambda: server.log.in_flight == 4)
            gate.set()
            await answers
        return server

    server = talk([Step(gate=gate)], talking, max_connections=4)
    assert server.log.count(State.ANSWERED) == 60
    assert server.connections == 4
    assert server.log.peak_in_flight == 4


def test_cookies_of_one_call_are_not_sent_with_the_next(make_chat):
    async def run():
        heads = []

        async def serve(reader, writer):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 500 x\r\nset-cookie: a=b; path=/\r\ncontent-length: 0\r\n")
            writer.write(b"connection: close\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream = OpenAICompatible(f"http://127.0.0.1:{port}/v1")
        for _ in range(2):
            with pytest.raises(UpstreamError):
                await upstream.complete(make_chat(0), [], seed=1)
        await upstream.aclose()
        server.close()
        await server.wait_closed()
        return heads

    first, second = asyncio.run(run())
    assert b"cookie" not in first.lower() + second.lower()


# What comes back


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422, 451])
def test_refusals_of_the_provider_are_passed_on_and_final(make_chat, status):
    step = Step(fault=Fault.STATUS, status=status, retry_after="1")
    fault, server = fault_of([step], make_chat(0))
    assert (fault.transient, fault.retry_after_s) == (False, None)
    if status in (401, 403):  # of the guard's key, which says nothing of the client's
        assert (fault.status, fault.code, fault.upstream_status) == (502, "upstream_auth", status)
    else:
        assert (fault.status, fault.code) == (status, "scripted")
    assert len(server.calls) == 1


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 501, 502, 503, 504, 529])
def test_passing_troubles_of_the_provider_are_transient(make_chat, status):
    step = Step(fault=Fault.STATUS, status=status, retry_after="1.5")
    fault, server = fault_of([step], make_chat(0))
    assert (fault.status, fault.transient, fault.retry_after_s) == (status, True, 1.5)
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("fault", "code", "transient"),
    [
        (Fault.CRASH, "upstream_connection", True),
        (Fault.RESET, "upstream_connection", True),
        (Fault.GARBAGE_HTTP, "upstream_connection", True),
        (Fault.HALF_BODY, "upstream_connection", True),
        (Fault.HALF_ANSWER, "upstream_malformed_response", True),
        (Fault.GARBAGE, "upstream_malformed_response", True),
        (Fault.HTML, "upstream_malformed_response", True),
        (Fault.NO_CHOICE, "upstream_malformed_response", True),
        (Fault.EMPTY, "upstream_empty_answer", True),
        (Fault.OVERSIZE, "upstream_malformed_response", True),
        (Fault.REDIRECT, "upstream_redirect", False),
    ],
)
def test_broken_answers_are_bad_gateways(make_chat, fault, code, transient):
    error, server = fault_of([Step(fault=fault)], make_chat(0))
    assert (error.status, error.transient, error.code) == (502, transient, code)
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "step", [Step(fault=Fault.HANG), Step(fault=Fault.DRIP), Step(delay_s=999)]
)
def test_waiting_ends_and_closes_the_connection(make_chat, step):
    async def talking(upstream, server):
        call = asyncio.create_task(upstream.complete(make_chat(0), [], seed=1))
        await until(lambda: server.log.in_flight == 1)
        skip(61.0)  # aiohttp rounds it up to a whole second
        with pytest.raises(UpstreamError) as caught:
            await call
        await until(lambda: server.log.in_flight == 0)
        return caught.value, server.calls[0].state

    error, state = talk([step], talking, timeout_s=60.0)
    assert (error.status, error.transient) == (504, True)
    assert state is State.CANCELLED


def test_cancelling_closes_the_connection(make_chat):
    async def talking(upstream, server):
        calls = [asyncio.create_task(upstream.complete(make_chat(0), [], seed=i)) for i in range(6)]
        await until(lambda: len(server.calls) == 6)
        for call in calls:
            call.cancel()
        await until(lambda: server.log.in_flight == 0)
        return await asyncio.gather(*calls, return_exceptions=True), server.log

    results, log = talk([Step(fault=Fault.HANG)], talking, timeout_s=60.0)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert log.count(State.CANCELLED) == 6


def test_after_every_fault_the_next_call_is_answered(make_chat):
    faults = [fault for fault in Fault if fault not in (Fault.HANG, Fault.DRIP)]

    async def talking(upstream, server):
        for _ in faults:
            with pytest.raises(UpstreamError):
                await upstream.complete(make_chat(0), [], seed=1)
        return await upstream.complete(make_chat(0), [], seed=1)

    assert talk([*(Step(fault=fault) for fault in faults), "well"], talking).text == "well"


def test_a_long_answer_within_the_limit_is_read_whole(make_chat):
    async def talking(upstream, server):
        return await upstream.complete(make_chat(0), [], seed=1)

    assert talk(["word " * 100_000], talking).text == "word " * 100_000
    with pytest.raises(UpstreamError, match="more than 1000 bytes"):
        talk(["word " * 1000], talking, max_answer_bytes=1000)


def test_nobody_listens(make_chat):
    async def run():
        async with scripted_server(["x"]) as server:
            free = server.base_url
        upstream = OpenAICompatible(free, api_key=KEY)
        with pytest.raises(UpstreamError) as caught:
            await upstream.complete(make_chat(0), [], seed=1)
        await upstream.aclose()
        return caught.value

    error = asyncio.run(run())
    assert (error.status, error.transient) == (502, True)
    assert "could not be reached" in str(error)


def test_a_host_that_does_not_exist(make_chat):
    async def run():
        upstream = OpenAICompatible("http://nowhere.invalid/v1", timeout_s=5.0)
        try:
            await upstream.complete(make_chat(0), [], seed=1)
        finally:
            await upstream.aclose()

    with pytest.raises(UpstreamError) as caught:
        asyncio.run(run())
    assert caught.value.transient


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory):
    """A server's TLS context with a certificate that no authority signed."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context, certificate


def talk_tls(context, chat):
    async def serve(reader, writer):
        if context is None:
            writer.write(b"HTTP/1.1 400 this is plain HTTP\r\n\r\n")
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 418 x\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        upstream = OpenAICompatible(f"https://127.0.0.1:{port}/v1", api_key=KEY)
        with pytest.raises(UpstreamError) as caught:
            await upstream.complete(chat, [], seed=1)
        await upstream.aclose()
        server.close()
        return caught.value

    return asyncio.run(run())


def test_a_certificate_that_nobody_signed_is_refused_for_good(make_chat, self_signed):
    error = talk_tls(self_signed[0], make_chat(0))
    assert (error.status, error.transient, error.code) == (502, False, "upstream_tls")


def test_an_own_authority_can_be_named(make_chat, self_signed, monkeypatch):
    context, certificate = self_signed
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert talk_tls(context, make_chat(0)).status == 418


def test_tls_spoken_to_a_plain_server_is_final(make_chat):
    assert talk_tls(None, make_chat(0)).code == "upstream_tls"


def test_a_list_of_models_that_is_none():
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")
        await writer.drain()
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream = OpenAICompatible(f"http://127.0.0.1:{port}/v1")
        try:
            await upstream.models()
        finally:
            await upstream.aclose()
            server.close()

    with pytest.raises(UpstreamError):
        asyncio.run(run())


def test_an_error_body_that_breaks_off_keeps_its_status(make_chat):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 429 x\r\nretry-after: 4\r\ncontent-length: 99\r\n\r\n{"err')
        await writer.drain()
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream = OpenAICompatible(f"http://127.0.0.1:{port}/v1")
        try:
            await upstream.complete(make_chat(0), [], seed=1)
        finally:
            await upstream.aclose()
            server.close()

    with pytest.raises(UpstreamError) as caught:
        asyncio.run(run())
    assert (caught.value.status, caught.value.retry_after_s) == (429, 4.0)


# What never comes out


@pytest.mark.parametrize("fault", list(Fault))
def test_no_error_shows_a_key_or_the_request(make_chat, make_picture, caplog, fault):
    caplog.set_level(logging.DEBUG)
    text = "words of the client that nobody else may read"
    error, _ = fault_of(
        [Step(text=text, fault=fault, status=401)],
        make_chat(1, text),
        [make_picture()],
        timeout_s=0.2,
        headers={"x-own-key": OWN_HEADER},
    )
    told = "".join(traceback.format_exception(error)) + repr(vars(error)) + caplog.text
    assert error.__context__ is None
    for secret in (KEY, OWN_HEADER, text):
        assert secret not in told


def test_a_provider_that_quotes_is_not_quoted(make_chat):
    async def serve(reader, writer):
        body = (
            b'{"error": {"message": "bad key %b, you said TEXT", "code": "%b", "type": "auth"}}'
            % (KEY.encode(), KEY.encode())
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream = OpenAICompatible(f"http://127.0.0.1:{port}/v1", api_key=KEY)
        with pytest.raises(UpstreamError) as caught:
            await upstream.complete(make_chat(0), [], seed=1)
        await upstream.aclose()
        server.close()
        return caught.value

    error = asyncio.run(run())
    assert KEY not in str(error) + repr(vars(error))
    assert "TEXT" not in str(error)
    assert error.code == "upstream_auth"


def test_names_hold_no_key():
    upstream = OpenAICompatible("http://h/v1", api_key=KEY, headers={"x-key": OWN_HEADER})
    shown = f"{upstream!r} {upstream} {upstream.name} {upstream.revision}"
    assert KEY not in shown
    assert OWN_HEADER not in shown
    assert upstream.name == "openai_compatible:http://h/v1"
    assert upstream.revision == "http://h/v1 png"


# Options and life


@pytest.mark.parametrize(
    ("base_url", "options", "field"),
    [
        ("", {}, "base_url"),
        ("api.openai.com/v1", {}, "base_url"),
        ("ftp://host/v1", {}, "base_url"),
        ("http:///v1", {}, "base_url"),
        ("http://host:99999/v1", {}, "base_url"),
        ("http://host:port/v1", {}, "base_url"),
        ("http://[::1/v1", {}, "base_url"),
        ("http://user:hunter2@host/v1", {}, "base_url"),
        ("http://host/v1?key=hunter2", {}, "base_url"),
        ("http://host/v1#x", {}, "base_url"),
        ("http://host/v1 hunter2", {}, "base_url"),
        ("http://h/v1", {"api_key": ""}, "api_key"),
        ("http://h/v1", {"api_key": "hunter2\r\nx: y"}, "api_key"),
        ("http://h/v1", {"api_key": "hunter2\N{GREEK SMALL LETTER ALPHA}"}, "api_key"),
        ("http://h/v1", {"headers": {"x": "hunter2\r\ny: z"}}, "headers"),
        ("http://h/v1", {"headers": {"x y": "hunter2"}}, "headers"),
        ("http://h/v1", {"headers": {"Authorization": "hunter2"}, "api_key": "k"}, "headers"),
        ("http://h/v1", {"timeout_s": 0}, "timeout_s"),
        ("http://h/v1", {"max_connections": 0}, "max_connections"),
        ("http://h/v1", {"max_answer_bytes": 0}, "max_answer_bytes"),
        ("http://h/v1", {"variant_format": "bmp"}, "variant_format"),
        ("http://h/v1", {"jpeg_quality": 0}, "jpeg_quality"),
    ],
)
def test_wrong_options_are_named_and_never_quoted(base_url, options, field):
    with pytest.raises(ConfigError) as caught:
        OpenAICompatible(base_url, **options)
    assert caught.value.field == field
    assert "hunter2" not in str(caught.value)


def test_blanks_around_a_key_are_dropped(make_chat):
    async def run():
        async with scripted_server(["ok"]) as server:
            upstream = OpenAICompatible(server.base_url, api_key=f" {KEY}\n")
            await upstream.complete(make_chat(0), [], seed=1)
            await upstream.aclose()
            return server.calls[0].headers["authorization"]

    assert asyncio.run(run()) == f"Bearer {KEY}"


def test_wrong_calls_send_nothing(make_chat, make_picture):
    async def talking(upstream, server):
        with pytest.raises(RequestError):
            await upstream.complete(make_chat(0, n=3), [], seed=1)
        with pytest.raises(UpstreamError, match="refers to 1"):
            await upstream.complete(make_chat(1), [], seed=1)
        return server.connections

    assert talk(["ok"], talking) == 0


def test_a_closed_upstream_says_so(make_chat):
    async def talking(upstream, server):
        await upstream.complete(make_chat(0), [], seed=1)
        await upstream.aclose()
        with pytest.raises(UpstreamError, match="closed") as caught:
            await upstream.complete(make_chat(0), [], seed=1)
        return caught.value.transient

    assert talk(["ok"], talking) is False


def test_closing_before_use_is_fine():
    asyncio.run(OpenAICompatible("http://h/v1").aclose())


def test_a_second_event_loop_is_refused(make_chat):
    async def talking(upstream, server):
        await upstream.complete(make_chat(0), [], seed=1)

        def elsewhere():
            asyncio.run(upstream.complete(make_chat(0), [], seed=1))

        with pytest.raises(UpstreamError, match="one event loop"):
            await asyncio.to_thread(elsewhere)

    talk(["ok"], talking)


def test_encoding_leaves_the_loop_free(make_chat, make_picture, monkeypatch):
    from guardrail.upstreams import encoding

    free, waited = threading.Event(), []

    def slow(*arguments, **options):
        waited.append(free.wait(60))
        return b"x"

    monkeypatch.setattr(encoding, "encode_image", slow)

    async def talking(upstream, server):
        call = asyncio.create_task(
            upstream.complete(make_chat(1), [make_picture(600, 600)], seed=1)
        )
        await asyncio.sleep(0.01)
        free.set()
        await call

    talk(["ok"], talking)
    assert waited == [True]


def test_the_environment_can_name_a_proxy(make_chat, monkeypatch):
    for name in ("http_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    async def run():
        seen = []

        async def serve(reader, writer):
            seen.append(await reader.readline())
            writer.write(b"HTTP/1.1 503 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "direct.invalid")
        for host in ("far.invalid", "direct.invalid"):
            upstream = OpenAICompatible(f"http://{host}/v1", timeout_s=5.0)
            with pytest.raises(UpstreamError):
                await upstream.complete(make_chat(0), [], seed=1)
            await upstream.aclose()
        server.close()
        return seen

    (line,) = asyncio.run(run())
    assert line.startswith(b"POST http://far.invalid/v1/chat/completions ")


# Azure, redirects, compressed answers


@contextlib.asynccontextmanager
async def raw_server(*answers):
    """Answers each request by the next of these bytes; yields its URL and the heads it got."""
    left, heads = list(answers), []

    async def serve(reader, writer):
        while left:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head.decode())
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(left.pop(0))
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


def reply(body, status="200 OK", **headers):
    headers = {"content-type": "application/json", "content-length": len(body), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def ask_raw(answers, chat, path="/v1", calls=("complete",)):
    async def run():
        async with raw_server(*answers) as (url, heads):
            upstream = OpenAICompatible(url + path, api_key=KEY, timeout_s=5.0)
            try:
                results = []
                for call in calls:
                    asked = (
                        upstream.models()
                        if call == "models"
                        else upstream.complete(chat, (), seed=1)
                    )
                    results.append(await asked)
                return results, heads, upstream
            finally:
                await upstream.aclose()

    return asyncio.run(run())


SAID = b'{"choices": [{"message": {"role": "assistant", "content": "A cat."}}]}'
LISTED = b'{"object": "list", "data": [{"id": "gpt-35-turbo"}]}'


@pytest.mark.parametrize("end", ["", "/", "/chat/completions"])
def test_a_deployment_of_azure(make_chat, end):
    path = f"/openai/deployments/my-gpt{end}?api-version=2024-10-21"
    (answer, models), heads, upstream = ask_raw(
        [reply(SAID), reply(LISTED)], make_chat(0), path, ("complete", "models")
    )
    assert answer.text == "A cat."
    assert models == ["my-gpt"]
    asked = [head.split(" HTTP/")[0] for head in heads]
    assert asked == [
        "POST /openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
        "GET /openai/models?api-version=2024-10-21",
    ]
    for head in heads:
        assert f"api-key: {KEY}" in head
        assert "authorization" not in head.lower()
    assert upstream.name.endswith("/openai/deployments/my-gpt?api-version=2024-10-21")


@pytest.mark.parametrize(
    "query", ["api-key=secret", "api-version=1&sig=secret", "api-version=", "api-version=a b", "x"]
)
def test_no_other_query_is_taken(query):
    with pytest.raises(ConfigError, match="api-version") as caught:
        OpenAICompatible(f"https://a.example/v1?{query}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://other.example/v1?token=secret", "an https address"),
        ("/v1/chat/completions/", "another path"),
        ("http://other.example/", "another address"),
        ("", "another address"),
    ],
)
def test_a_redirect_is_named_and_not_followed(make_chat, status, location, where):
    answer = reply(b"", f"{status} Moved", location=location)
    with pytest.raises(UpstreamError, match=f"HTTP {status}, a redirect to {where}") as caught:
        ask_raw([answer], make_chat(0))
    assert (caught.value.status, caught.value.code) == (502, "upstream_redirect")
    assert not caught.value.transient
    assert "secret" not in str(caught.value)


def test_a_zstd_answer_is_unpacked(make_chat):
    zstd = pytest.importorskip("backports.zstd")
    (answer,), heads, _ = ask_raw(
        [reply(zstd.compress(SAID), content_encoding="zstd")], make_chat(0)
    )
    assert answer.text == "A cat."
    assert "accept-encoding: identity" in heads[0].lower()


@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_an_answer_that_cannot_be_unpacked_is_named(make_chat, encoding, monkeypatch):
    for name in ("HAS_BROTLI", "HAS_ZSTD"):
        monkeypatch.setattr(f"aiohttp.http_parser.{name}", False)
    with pytest.raises(UpstreamError, match="compressed bytes that cannot be read") as caught:
        ask_raw([reply(SAID, content_encoding=encoding)], make_chat(0))
    assert caught.value.code == "upstream_content_encoding"
