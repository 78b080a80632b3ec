"""The scripted model over real HTTP: what an end-to-end test or a demo points a client at.

Written on bare asyncio streams, since a web framework refuses to send what broken providers send.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from guardrail.upstreams.scripted import (
    OVERSIZE_BYTES,
    Call,
    CallLog,
    Fault,
    Script,
    State,
    Step,
    completion,
    words,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from guardrail.types import Json

__all__ = ["ScriptedServer", "scripted_server"]

_MAX_HEAD_BYTES = 1 << 16
_STREAM_HEADERS = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
_CLOSE_AFTER = {
    Fault.CRASH,
    Fault.RESET,
    Fault.UNREACHABLE,
    Fault.GARBAGE_HTTP,
    Fault.HALF_BODY,
    Fault.HALF_ANSWER,
    Fault.DRIP,
    Fault.OVERSIZE,
}


class ScriptedServer:
    """A running server; `base_url` is what an OpenAI client takes.

    Attributes:
        log: every chat completion asked for.
        connections: how many connections were ever opened.
    """

    def __init__(self, script: Script, model: str) -> None:
        self.log = CallLog(script)
        self.connections = 0
        self.port = 0
        self._loop = asyncio.get_running_loop()
        self._model = model
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def calls(self) -> list[Call]:
        return self.log.calls

    def open_gate(self, gate: asyncio.Event) -> None:
        """Lets the steps that wait for it answer; from any thread."""
        self._loop.call_soon_threadsafe(gate.set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._serve_one(reader, writer):
                pass
        writer.close()
        self._tasks.discard(task)

    async def stop(self) -> None:
        """Ends every connection."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; whether the connection stays open."""
        line, headers = await _read_head(reader)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, target, *_ = [*line.split(), "", ""]
        path = target.partition("?")[0]
        if method == "GET" and path.endswith("/models"):
            await _write(writer, _response(200, _model_list(self._model)))
            return True
        if method != "POST" or not path.endswith("/chat/completions"):
            await _write(writer, _response(404, b"{}"))
            return True
        return await self._complete(reader, writer, headers, body)

    async def _complete(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        headers: Mapping[str, str],
        body: bytes,
    ) -> bool:
        parsed = json.loads(body)
        call = Call(len(self.calls), 0, parsed, tuple(_pictures(parsed)), headers)
        step = self.log.open(call)
        state = State.CANCELLED
        try:
            gone = await _client_left(reader, step)
            if not gone and parsed.get("stream") is True and _can_stream(step):
                gone = not await _stream(reader, writer, step, completion(step, self._model))
                state = State.CANCELLED if gone else State.ANSWERED
            elif not gone:
                await _play(writer, step, completion(step, self._model))
                state = State.FAILED if step.fault else State.ANSWERED
        finally:
            self.log.close(call, state)
        return not gone and step.fault not in _CLOSE_AFTER


@asynccontextmanager
async def scripted_server(
    script: Script, *, model: str = "scripted"
) -> AsyncIterator[ScriptedServer]:
    """Serves `/v1/chat/completions` and `/v1/models` by a script, on a free loopback port."""
    scripted = ScriptedServer(script, model)
    server = await asyncio.start_server(
        scripted.serve, "127.0.0.1", 0, limit=_MAX_HEAD_BYTES, backlog=1024
    )
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
        await scripted.stop()
        await server.wait_closed()


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.rstrip().split("\r\n")
    pairs = (name_value.partition(":") for name_value in fields)
    return line, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _client_left(reader: asyncio.StreamReader, step: Step) -> bool:
    """Waits as long as the step says; True as soon as the client closes the connection."""
    if not step.waits:
        return False
    left, ready = asyncio.ensure_future(reader.read(1)), asyncio.ensure_future(step.wait())
    try:
        await asyncio.wait({left, ready}, return_when=asyncio.FIRST_COMPLETED)
        return left.done() and not left.result()
    finally:
        left.cancel()
        ready.cancel()
        await asyncio.gather(left, ready, return_exceptions=True)


async def _play(writer: asyncio.StreamWriter, step: Step, body: bytes) -> None:
    if step.fault in (Fault.RESET, Fault.UNREACHABLE):
        _reset(writer)
    elif step.fault is Fault.DRIP:
        await _drip(writer)
    elif step.fault is Fault.OVERSIZE:
        await _oversize(writer)
    elif step.fault is not Fault.CRASH:
        await _write(writer, _bytes_of(step, body))


async def _stream(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, step: Step, body: bytes
) -> bool:
    """Sends the completion as a stream, word by word; False where the client went away."""
    left = asyncio.ensure_future(reader.read(1))
    try:
        await _write(writer, _head(200, {**step.headers, **_STREAM_HEADERS}))
        for event in _events(step, json.loads(body)):
            if left.done():
                return False
            await _write(writer, b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.wait({left}, timeout=step.word_pause_s)
        await _write(writer, b"0\r\n\r\n")
    finally:
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
    return True


def _can_stream(step: Step) -> bool:
    return step.fault is None and step.response is None


def _events(step: Step, whole: Json) -> Iterator[bytes]:
    choice = whole["choices"][0]
    for delta in _deltas(step, choice["message"]):
        yield _event(whole, [{"index": 0, "delta": delta, "finish_reason": None}])
    yield _event(whole, [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}])
    yield _event(whole, [], usage=whole["usage"])
    yield b"data: [DONE]\n\n"


def _deltas(step: Step, message: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    if step.message is not None:  # unchanged, in one piece
        calls = enumerate(message.get("tool_calls") or [])
        yield {**message, "tool_calls": [{**call, "index": index} for index, call in calls]}
        return
    yield {"role": "assistant", "content": ""}
    for word in words(step):
        yield {"content": word}


def _event(whole: Json, choices: list[Json], usage: Json = None) -> bytes:
    chunk = {
        "id": whole["id"],
        "object": "chat.completion.chunk",
        "created": whole["created"],
        "model": whole["model"],
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _bytes_of(step: Step, body: bytes) -> bytes:
    if step.fault is Fault.GARBAGE_HTTP:
        return b"\x16\x03\x01 this is not HTTP\r\n\r\n"
    if step.fault is Fault.HALF_BODY:
        return _response(200, body)[: -len(body) // 2]
    if step.fault is Fault.HALF_ANSWER:
        return b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body[: len(body) // 2]
    if step.fault is Fault.REDIRECT:
        return _response(307, b"", {"location": "/elsewhere"})
    if step.fault is Fault.STATUS:
        retry = {} if step.retry_after is None else {"retry-after": step.retry_after}
        error = _error_body(step.status) if step.response is None else body
        return _response(step.status, error, retry)
    media_type = "text/html" if step.fault is Fault.HTML else "application/json"
    return _response(200, body, {**step.headers, "content-type": media_type})


def _response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    fields = {"content-type": "application/json", **(headers or {})}
    return _head(status, {**fields, "content-length": str(len(body))}) + body


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode("latin-1")


def _error_body(status: int) -> bytes:
    error = {"message": f"scripted fault {status}", "type": "scripted_error", "code": "scripted"}
    return json.dumps({"error": error}).encode()


def _model_list(model: str) -> bytes:
    models = [{"id": model, "object": "model", "created": 0, "owned_by": "guardrail"}]
    return json.dumps({"object": "list", "data": models}).encode()


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _drip(writer: asyncio.StreamWriter) -> None:
    await _write(writer, b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        await _write(writer, b" ")
        await asyncio.sleep(0.02)


async def _oversize(writer: asyncio.StreamWriter) -> None:
    """Chunked, so that only counting can notice its size."""
    await _write(writer, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    piece = b" " * (1 << 16)
    for _ in range(OVERSIZE_BYTES // len(piece)):
        await _write(writer, b"%x\r\n%b\r\n" % (len(piece), piece))
    await _write(writer, b"0\r\n\r\n")


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes so that the peer sees a reset instead of an orderly end."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def _pictures(body: Json) -> list[bytes]:
    """The encoded pictures of a request, in order."""
    contents = [m["content"] for m in body["messages"] if isinstance(m.get("content"), list)]
    parts = [part for content in contents for part in content if part.get("type") == "image_url"]
    return [base64.b64decode(part["image_url"]["url"].partition(",")[2]) for part in parts]
