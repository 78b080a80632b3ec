"""Canaries through a running server: right, wrong, and all that keeps one from a verdict."""

import asyncio

import pytest

from guardrail.errors import ConfigError
from guardrail.telemetry.canary import CanaryText
from guardrail.telemetry.remote_canary import RemoteServer, run_remote_canaries
from guardrail.upstreams.scripted import Fault, Step

TEXTS = (CanaryText("p", "forbidden", is_harmful=True), CanaryText("p", "fine", is_harmful=False))


def asked(run, kit, *, url="{}", key="", policy_header=None, timeout_s=20.0, model=None, **options):
    """The results of canaries through a proxy, and what it kept."""
    records = []

    def record(verdict, chat):
        records.append(verdict)
        return f"r{len(records)}"

    async def scene():
        async with kit.proxy(record=record, **options) as proxy:
            root = proxy.base_url.removesuffix("/v1")
            server = RemoteServer(url.format(root), key, policy_header, timeout_s)
            return await run_remote_canaries(server, TEXTS, model=model), records

    return run(scene())


def words(results):
    return {result.canary: result.word for result in results}


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize("url", ["{}", "{}/", "{}/v1"])
def test_a_server_that_decides_rightly(run, kit, mode, url):
    results, records = asked(run, kit, url=url, policy=kit.make_policy(mode=mode), model="scripted")
    assert words(results) == {"harmful": "ok", "harmless": "ok", "model": "ok"}
    assert all(not result.cause for result in results)
    assert len(records) == 3  # requests like any others


def test_an_oracle_that_finds_no_harm_and_one_that_finds_nothing_else(run, kit, monkeypatch):
    monkeypatch.setattr(
        kit.Words, "_judged", staticmethod(lambda _: kit.Judgement(kit.Outcome.HARMLESS, 0.0))
    )
    assert words(asked(run, kit)[0]) == {"harmful": "wrong", "harmless": "ok"}
    monkeypatch.setattr(
        kit.Words, "_judged", staticmethod(lambda _: kit.Judgement(kit.Outcome.HARMFUL, 1.0))
    )
    results, _ = asked(run, kit, model="scripted")
    assert words(results) == {"harmful": "ok", "harmless": "wrong", "model": "wrong"}


def test_what_has_no_verdict_says_why(run, kit):
    results, _ = asked(run, kit, oracle=kit.Words(RuntimeError("x")))
    assert words(results) == {"harmful": "fault", "harmless": "fault"}
    assert "oracle failed" in results[0].reason
    assert "could not decide" in results[0].cause
    results, _ = asked(run, kit, script=[Step(fault=Fault.STATUS, status=401)], model="scripted")
    (model,) = [result for result in results if result.canary == "model"]
    assert (model.word, "refused the guard's own access" in model.cause) == ("fault", True)


def test_a_server_that_is_slow_or_gone_or_something_else(run, kit):
    results, _ = asked(run, kit, oracle=kit.Words("hang"), timeout_s=0.3)
    assert {(result.word, "--timeout" in result.cause) for result in results} == {("fault", True)}
    results, _ = asked(run, kit, url="http://127.0.0.1:9")
    assert "could not be reached (ConnectError)" in results[0].cause

    async def scene():
        async def strange(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n["\x1b[31m"]')
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(strange, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await run_remote_canaries(RemoteServer(f"http://127.0.0.1:{port}"), TEXTS)

    results = run(scene())
    assert words(results) == {"harmful": "fault", "harmless": "fault"}
    assert all(result.cause == "HTTP 200, no verdict" for result in results)


def test_a_policy_that_is_not_there_is_told(run, kit):
    results, _ = asked(run, kit, policy_header="none")
    assert "names no policy" in results[0].cause
    results, _ = asked(run, kit, policy_header="test")
    assert words(results) == {"harmful": "ok", "harmless": "ok"}


def test_a_server_that_takes_keys(run, kit, book):
    secret = book.create()

    async def scene(key):
        async with kit.proxy(keys=book.authenticator()) as proxy:
            return await run_remote_canaries(RemoteServer(proxy.base_url, key), TEXTS)

    assert words(run(scene(secret))) == {"harmful": "ok", "harmless": "ok"}
    results = run(scene(""))
    assert words(results) == {"harmful": "fault", "harmless": "fault"}
    assert "HTTP 401" in results[0].cause
    assert secret not in repr(RemoteServer("http://127.0.0.1", secret))


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://a", "http://", "http://u:p@a", "http://a:0", "http://ä", "http://a\n"]
)
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="url"):
        RemoteServer(url)
