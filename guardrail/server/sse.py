"""Streams that hold everything back until the verdict, and then send the answer in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from guardrail.server.strict_json import encode_json
from guardrail.server.watch import settled

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from starlette.types import Receive, Scope, Send

    from guardrail.server.failures import Reply
    from guardrail.types import Json

__all__ = ["DONE", "WAITING", "HeldStream", "chunks", "events", "pieces", "stream_response"]

WAITING = b": waiting for the verdict\n\n"
DONE = b"data: [DONE]\n\n"
_BLOCK_BYTES = 1 << 14
_PIECE_CHARS = 48
_MOST_PIECES = 512
_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # else nginx gathers the heartbeats
}
_PIECEWISE = ("reasoning", "reasoning_content", "content", "refusal")


class HeldStream(Response):
    """Sends heartbeats until `decision` is done, then its reply as events.

    Owns the decision: if the client goes away, or this response is stopped, so is the decision.
    """

    def __init__(
        self,
        decision: asyncio.Task[Reply],
        *,
        heartbeat_s: float,
        heartbeat: Callable[[], bytes],
        events: Callable[[Reply], Iterable[bytes]],
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(headers={**headers, **_HEADERS})
        del self.headers["content-length"]
        self._decision = decision
        self._heartbeat_s = heartbeat_s
        self._heartbeat = heartbeat
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 (ASGI's signature)
        async def body(data: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            while not self._decision.done():
                await body(self._heartbeat())
                await settled(self._decision, receive, timeout_s=self._heartbeat_s)
            for block in _blocks(self._events(self._decision.result())):
                await body(block)
            await body(b"", more=False)
        except ClientDisconnect:
            return  # nobody is left to be told, and it is no fault
        finally:
            self._decision.cancel()


def stream_response(reply: Reply, made: Iterable[bytes]) -> Response:
    """A stream whose verdict fell before it began: complete, with the verdict's own headers."""
    return Response(b"".join(made), status_code=reply.status, headers={**reply.headers, **_HEADERS})


def events(reply: Reply, include_usage: bool) -> Iterator[bytes]:
    """The events of a stream that ends in `reply`; an error is one event."""
    bodies = [reply.body] if reply.is_error else chunks(reply.body, include_usage)
    for body in bodies:
        yield b"data: " + encode_json(body) + b"\n\n"
    yield DONE


def chunks(completion: Mapping[str, Json], include_usage: bool) -> Iterator[dict[str, Json]]:
    """The chunks whose sum is this chat completion.

    The last one with a choice carries the finish reason and the `guardrail` object.
    """
    (choice,) = completion["choices"]
    kept = ("id", "created", "model", "system_fingerprint", "service_tier")
    head = {name: completion[name] for name in kept if name in completion}
    head["object"] = "chat.completion.chunk"
    if include_usage:
        head["usage"] = None
    logprobs = choice.get("logprobs")
    for delta in _deltas(choice["message"]):
        yield {**head, "choices": [_choice(delta, logprobs=logprobs)]}
        logprobs = None  # clients add up those of all chunks
    end = _choice({}, finish_reason=choice["finish_reason"])
    if "stop_reason" in choice:
        end["stop_reason"] = choice["stop_reason"]
    yield {**head, "choices": [end], "guardrail": completion.get("guardrail")}
    if include_usage:
        yield {**head, "choices": [], "usage": completion["usage"]}


def _choice(
    delta: Mapping[str, Json], *, finish_reason: str | None = None, logprobs: Json = None
) -> dict[str, Json]:
    return {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _deltas(message: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    message = _flat(message)
    pieced = {name for name in _PIECEWISE if isinstance(message.get(name), str)}
    whole = {k: v for k, v in message.items() if k not in pieced and k != "tool_calls"}
    yield whole | {"content": "" if "content" in pieced else None}
    for name in _PIECEWISE:
        for piece in pieces(message[name]) if name in pieced else ():
            yield {name: piece}
    for index, call in enumerate(message.get("tool_calls") or []):
        yield from _call_deltas(index, call)


def _flat(message: Mapping[str, Json]) -> Mapping[str, Json]:
    """Content in parts becomes text: a delta has no parts."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    texts = {kind: "".join(_texts(content, kind)) for kind in ("text", "refusal")}
    refusal = message.get("refusal") or texts["refusal"] or None
    return {**message, "content": texts["text"], "refusal": refusal}


def _texts(parts: Iterable[Json], kind: str) -> Iterator[str]:
    for part in parts:
        if isinstance(part, dict) and isinstance(part.get(kind), str):
            yield part[kind]


def _call_deltas(index: int, call: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    function = call.get("function")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(arguments, str):
        yield {"tool_calls": [{**call, "index": index}]}
        return
    first = {**call, "index": index, "function": {**function, "arguments": ""}}
    yield {"tool_calls": [first]}
    for piece in pieces(arguments):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def pieces(text: str) -> Iterator[str]:
    """The text in pieces that end at blanks where there are any; not too many of them."""
    most = max(_PIECE_CHARS, len(text) // _MOST_PIECES)
    start = 0
    while start < len(text):
        stop = start + most
        if stop < len(text):
            stop = text.rfind(" ", start + 1, stop) + 1 or stop
        yield text[start:stop]
        start = stop


def _blocks(made: Iterable[bytes]) -> Iterator[bytes]:
    """Events gathered for the socket: the answer is complete, so nothing is gained by dripping."""
    gathered = bytearray()
    for piece in made:
        gathered += piece
        if len(gathered) >= _BLOCK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)
