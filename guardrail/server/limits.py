"""How much the server takes on: bytes of a body, requests at a time, requests that wait."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from guardrail.errors import RequestError

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["Admission", "Ticket", "read_body", "too_large"]


class Admission:
    """Lets `max_concurrent` requests in; up to `max_waiting` more wait, first come first served.

    Requests are admitted before their bodies are read, so that those that wait hold no memory.
    """

    def __init__(self, max_concurrent: int, max_waiting: int) -> None:
        self._free = max_concurrent
        self._max_waiting = max_waiting
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def free(self) -> int:
        return self._free

    async def enter(self) -> Ticket:
        """A place, after a wait in line; give it back by `release`.

        Raises:
            RequestError: 503, the line is full.
        """
        if self._free > 0:
            self._free -= 1
            return Ticket(self)
        if len(self._queue) >= self._max_waiting:
            raise RequestError(
                "too many requests are being decided or waiting; retry later, or raise "
                "limits.max_concurrent_requests",
                status=503,
                code="overloaded",
            )
        await self._turn()
        return Ticket(self)

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._queue.remove(turn)
            else:  # the place was handed over in the same moment: it goes to the next one
                self._leave()
            raise

    def _leave(self) -> None:
        waiting = next((turn for turn in self._queue if not turn.done()), None)
        if waiting is None:
            self._free += 1
        else:
            self._queue.remove(waiting)
            waiting.set_result(None)


class Ticket:
    """A place among the requests being decided; releasing it twice does no harm."""

    def __init__(self, admission: Admission) -> None:
        self._admission: Admission | None = admission

    def release(self) -> None:
        if self._admission is not None:
            self._admission._leave()  # noqa: SLF001 (one class in two halves)
            self._admission = None


async def read_body(request: Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """The body of a JSON request, never holding more than `max_bytes` of it.

    Raises:
        RequestError: 408, 413 or 415.
        ClientDisconnect: the client went away.
    """
    _check_headers(request, max_bytes)
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for piece in request.stream():
                size += len(piece)
                if size > max_bytes:
                    raise too_large(max_bytes)
                pieces.append(piece)
    except TimeoutError:
        raise RequestError(
            f"the request body did not arrive within {timeout_s:g} s; send it faster",
            status=408,
            code="request_timeout",
        ) from None
    return b"".join(pieces)


def _check_headers(request: Request, max_bytes: int) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        # Browsers send other types to other sites unasked, and this one only after asking.
        raise _unsupported("content type", "set Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _unsupported("content encoding", "send the body uncompressed")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise too_large(max_bytes)


def _unsupported(what: str, remedy: str) -> RequestError:
    return RequestError(
        f"the {what} of the request is not supported; {remedy}",
        status=415,
        code="unsupported_media_type",
    )


def too_large(max_bytes: int) -> RequestError:
    return RequestError(
        f"the request body has more than {max_bytes} bytes; send fewer or smaller pictures",
        status=413,
        code="request_too_large",
    )
