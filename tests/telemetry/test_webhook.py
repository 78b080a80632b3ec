"""The webhook against a real server: repeated, bounded, and silent about its URL."""

import asyncio
import json
import logging

import pytest

from guardrail.errors import ConfigError
from guardrail.telemetry.webhook import Webhook, check_webhook_url

MESSAGE = {"event": "canary", "result": "wrong"}


class Receiver:
    """Answers one connection after the other with the statuses of a list; the last one stays."""

    def __init__(self, *statuses):
        self.statuses, self.bodies, self.url = list(statuses), [], ""

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line[15:])
            for line in head.splitlines()
            if line.lower().startswith("content-length:")
        )
        self.bodies.append(json.loads(await reader.readexactly(length)))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status:
            extra = "location: /other\r\n" if status == 302 else ""
            head = f"HTTP/1.1 {status} x\r\n{extra}content-length: 0\r\nconnection: close"
            writer.write(f"{head}\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/hook?key=secret"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()


def send(*statuses, messages=1, wanted=1, url=None):
    async def scenario():
        counted, seen = [], asyncio.Event()

        def count(result):
            counted.append(result)
            if len(counted) >= wanted:
                seen.set()

        async with Receiver(*statuses) as receiver:
            hook = Webhook(url or receiver.url, count, pause_s=0.001)
            for _ in range(messages):
                hook.tell(MESSAGE)
            task = asyncio.create_task(hook.run())
            await asyncio.wait_for(seen.wait(), 20)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return counted, receiver.bodies

    return asyncio.run(scenario())


def test_a_message_is_sent_once():
    assert send(204) == (["sent"], [MESSAGE])


@pytest.mark.parametrize("first", [500, 429, 0])
def test_one_that_was_not_taken_is_repeated(first):
    counted, bodies = send(first, first, 200)
    assert counted == ["sent"]
    assert bodies == [MESSAGE] * 3


@pytest.mark.parametrize("status", [503, 302])
def test_one_that_is_never_taken_is_given_up_and_told(status, caplog):
    counted, bodies = send(status)
    assert counted == ["failed"]
    assert len(bodies) == 4
    assert f"status {status}" in caplog.text
    assert "secret" not in caplog.text


def test_a_server_that_is_not_there_is_told_by_the_kind_of_error(caplog):
    assert send(200, url="http://127.0.0.1:9/hook?key=secret")[0] == ["failed"]
    assert "ConnectError" in caplog.text
    assert "secret" not in caplog.text


def test_messages_beyond_the_bound_are_dropped(caplog):
    caplog.set_level(logging.CRITICAL)
    counted, bodies = send(200, messages=100, wanted=100)
    assert (counted.count("dropped"), counted.count("sent"), len(bodies)) == (36, 64, 64)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://a/b", "http://", "http://a:99999/", "http://[", "http://a/\n"]
)
def test_what_is_no_url_is_refused_and_not_quoted(url):
    with pytest.raises(ConfigError, match="webhook") as refused:
        check_webhook_url(url)
    assert not url or url not in str(refused.value)
