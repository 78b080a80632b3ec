"""The middleware: the application behind it is the model, asked once for every variant."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import TYPE_CHECKING, Any

import httpx

from guardrail import FunctionUpstream, Heartbeats

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping

    from guardrail import Guard, HttpAnswer

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["GuardrailMiddleware"]

_OF_THE_BODY = (b"content-length", b"content-type", b"transfer-encoding", b"content-encoding")


class GuardrailMiddleware:
    """Answers chat completion requests with the guard's verdict on what the application says.

    Args:
        app: the application; its routes at `paths` get every variant as a request of its own,
            with the headers and everything else of the client's, and never as a stream.
        guard: decides; whoever made it closes it.
        paths: where chat completions are asked for by POST. All else passes by unguarded.
        heartbeat_s: how often a stream that waits for its verdict says that it is alive.
    """

    def __init__(
        self,
        app: App,
        *,
        guard: Guard,
        paths: Collection[str] = ("/v1/chat/completions",),
        heartbeat_s: float = 5.0,
    ) -> None:
        self._app = app
        self._guard = guard
        self._paths = frozenset(paths)
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guards a chat request, and passes every other one on."""
        guarded = scope["type"] == "http" and scope["method"] == "POST"
        if not guarded or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        raw = await _body(receive, self._guard.policy.advanced.limits.max_body_bytes)
        ask = functools.partial(_asked, self._app, scope)
        upstream = FunctionUpstream(ask, name=f"asgi:{scope['path']}")
        beats = Heartbeats()
        deciding = self._guard.respond(raw, upstream=upstream, heartbeats=beats)
        decision = asyncio.create_task(deciding)
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await self._answered(decision, gone, send, beats)
        finally:
            gone.cancel()
            decision.cancel()
            await asyncio.wait({gone, decision})

    async def _answered(
        self,
        decision: asyncio.Task[HttpAnswer],
        gone: asyncio.Task[None],
        send: Send,
        beats: Heartbeats,
    ) -> None:
        """Sends the answer, after heartbeats where one may; nothing once the client has gone."""
        begun = False
        while not decision.done():
            await asyncio.wait(
                {decision, gone}, timeout=self._heartbeat_s, return_when="FIRST_COMPLETED"
            )
            if gone.done():
                return
            if not decision.done() and (beat := beats.next()) is not None:
                if not begun:
                    await send(_start(200, beats.headers))
                begun = True
                await send({"type": "http.response.body", "body": beat, "more_body": True})
        answer = decision.result()
        if not begun:
            await send(_start(answer.status, answer.headers))
        body = answer.events if begun else answer.content
        await send({"type": "http.response.body", "body": body})


def _start(status: int, headers: Mapping[str, str]) -> dict[str, Any]:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


async def _body(receive: Receive, max_bytes: int) -> bytes:
    """The request's body, as far as it may be read; the guard refuses one that is longer."""
    pieces, more = bytearray(), True
    while more and len(pieces) <= max_bytes:
        message = await receive()
        pieces += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(pieces)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _asked(app: App, scope: Scope, body: Mapping[str, Any]) -> Any:
    """One variant's way through the application. Raises HTTPStatusError if it is not an answer."""
    raw = json.dumps(body).encode()
    kept = [pair for pair in scope["headers"] if pair[0].lower() not in _OF_THE_BODY]
    described = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(raw))]
    given = [{"type": "http.request", "body": raw, "more_body": False}]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return given.pop() if given else await asyncio.Future()

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    inner = {**scope, "headers": [*kept, *described], "state": dict(scope.get("state", {}))}
    await app(inner, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    content = b"".join(message.get("body", b"") for message in sent)
    request = httpx.Request("POST", "asgi://app")
    headers = start.get("headers", [])
    response = httpx.Response(start["status"], headers=headers, content=content, request=request)
    return response.raise_for_status().json()
