"""Streams that hold everything back until the verdict, and then send the answer in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from guardrail.api.heartbeats import STREAM_HEADERS
from guardrail.server.watch import wait_for_client

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from starlette.types import Receive, Scope, Send

    from guardrail.api.errors import Reply

__all__ = ["HeldStream", "stream_response"]

_BLOCK_BYTES = 1 << 14


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
        super().__init__(headers=headers)
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
                await wait_for_client(self._decision, receive, timeout_s=self._heartbeat_s)
            for block in _blocks(self._events(self._decision.result())):
                await body(block)
            await body(b"", more=False)
        except ClientDisconnect:
            return  # the client has gone, which is not a fault
        finally:
            self._decision.cancel()


def stream_response(reply: Reply, made: Iterable[bytes]) -> Response:
    """A stream whose verdict came before it began: complete, with the verdict's own headers."""
    return Response(
        b"".join(made), status_code=reply.status, headers={**reply.headers, **STREAM_HEADERS}
    )


def _blocks(made: Iterable[bytes]) -> Iterator[bytes]:
    """Events gathered for the socket: the answer is complete, so there is no need to wait."""
    gathered = bytearray()
    for piece in made:
        gathered += piece
        if len(gathered) >= _BLOCK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)
