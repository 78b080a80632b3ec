"""One HTTP connection, with the bounds that its server has not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_remote_addr

from guardrail.server import refusal
from guardrail.server.connections import peer_of
from guardrail.server.head import find_fault

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from guardrail.server.connections import Connections
    from guardrail.server.refusal import Refusal

__all__ = ["BoundedConnection"]

_MOST_PIPELINED = 8
"""Requests that wait behind the one that is answered; each costs some kilobytes."""
_LONGEST_STALL_S = 60.0
"""How long a client may leave its answer unread."""
_LINGER_S, _LINGER_BYTES = 2.0, 1 << 20
"""How long a refused client may go on sending before it reads what it is told: a connection that is
closed while more comes in is reset, and the answer may be lost with it."""


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection on httptools, that bounds heads, trailers, silence and connections.

    Why this server, by `benchmarks/http_servers`: httptools is the only parser of four that refuses
    what others read differently (h11, hypercorn and granian take Content-Length beside
    Transfer-Encoding, two Content-Lengths and bare line feeds; h11 and hypercorn folded header
    fields too). What it lacks is bounds, which can be put around it: without this class it took
    40 MB of one header field, and 300 of 300 half-sent heads were open after 15 s, as with h11
    (granian: 257).
    """

    peer: str | None = None
    """The address that it counts for; None for a socket in a folder."""

    def __init__(self, *args: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self._connections = connections
        self._limits = connections.limits
        self._refused = False  # what still comes is thrown away
        self._entered = False
        self._in_head = True
        self._unread_bytes = 0  # of a head, or of what came since the body's last byte
        self._fault = refusal.MALFORMED
        self._timer: asyncio.TimerHandle | None = None

    # What uvicorn and the event loop call

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        address = get_remote_addr(self.transport)
        self.peer = peer_of(address[0]) if address else None
        if (why := self._connections.enter(self)) is not None:
            self._refuse(why)
            self.transport.close()  # not counted, so it may not linger
            return
        self._entered = True
        self._start_timer(self._limits.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._entered:
            self._connections.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unread_bytes += len(data)
        if self._refused:
            if self._unread_bytes > _LINGER_BYTES:
                self.flow.pause_reading()
            return
        super().data_received(data)
        if not self._unread_bytes:
            return
        if self._unread_bytes > self._limits.max_head_bytes:
            self._refuse(refusal.HEAD_TOO_LARGE)
        elif self._timer is None and not self._answers:
            self._start_timer(self._limits.head_timeout_s)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (uvicorn's words are not ours)
        self._refuse(self._fault)

    # What the parser calls

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unread_bytes = 0
        self._stop_timer()
        version = self.parser.get_http_version()
        fault = find_fault(version, self.url, self.headers, self._limits)
        if len(self.pipeline) >= _MOST_PIPELINED:
            fault = refusal.PIPELINED
        if fault is not None:
            self.fail(fault)
        super().on_headers_complete()
        self.headers = _NoTrailers(self)  # type: ignore[assignment]
        self._connections.serve(self)

    def on_body(self, body: bytes) -> None:
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._unread_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._answers or self.transport.is_closing():
            return
        self._connections.wait(self)
        if self._unread_bytes or not self._in_head:  # the next head has begun, or a body goes on
            self._start_timer(self._limits.head_timeout_s)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_timer(_LONGEST_STALL_S)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_timer()

    def timeout_keep_alive_handler(self) -> None:
        self._end()

    # The bounds

    def close_waiting(self) -> None:
        self._connections.serve(self)
        self._end()

    @property
    def _answers(self) -> bool:
        """Whether a request of this connection is under way."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and (not cycle.response_complete or bool(self.pipeline))

    def fail(self, fault: Refusal) -> None:
        """Ends the parsing; uvicorn then calls `send_400_response`."""
        self._fault = fault
        raise ValueError(fault.code)

    def _refuse(self, why: Refusal) -> None:
        self._refused = True
        self._unread_bytes = 0
        self._connections.refusals.count(why.bound)
        if self._answers:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started or self.pipeline:
                self.transport.abort()  # a second answer would be read as part of the first
                return
        self._unset_keepalive_if_required()
        self.transport.write(why.response())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self._entered:
            self._connections.wait(self)
            self._start_timer(_LINGER_S)

    def _start_timer(self, delay_s: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(delay_s, self._end_of_time)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_of_time(self) -> None:
        self._timer = None
        if self._in_head and self._unread_bytes and not self._refused:
            self._refuse(refusal.HEAD_TOO_LATE)
        else:  # silent from the beginning, told enough, or it does not read
            self._end()

    def _end(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # `close` would wait for the client to read it
        else:
            self.transport.close()


class _NoTrailers:
    """Stands for the list of header fields once the app has it: what comes then is a trailer."""

    def __init__(self, connection: BoundedConnection) -> None:
        self._connection = connection

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._connection.scope["headers"])

    def append(self, _field: tuple[bytes, bytes]) -> None:
        self._connection.fail(refusal.TRAILERS)
