"""The body of a JSON request: read within the bounds of all bodies, and parsed aside if large."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TypeVar

from guardrail.api.admission import too_large
from guardrail.errors import RequestError
from guardrail.offload import READ_BODY, offload
from guardrail.server.connections import peer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from guardrail.api.bodies import Bodies, Body

__all__ = ["ArrivedBody", "read_body"]

_T = TypeVar("_T")


class ArrivedBody:
    """A body that is there; its bytes count until `close`."""

    def __init__(self, raw: bytes, body: Body, bodies: Bodies) -> None:
        self._raw = raw
        self._body = body
        self._bodies = bodies

    async def parse(self, parse: Callable[[bytes], _T]) -> _T:
        """What `parse` makes of it, once; large ones in a thread, and only so many at a time.

        Raises:
            RequestError: what `parse` raises.
        """
        raw, self._raw = self._raw, b""
        size = len(raw)
        try:
            if READ_BODY.allows(size):
                return parse(raw)
            async with self._bodies.parsing(size):
                return await offload(READ_BODY, size, parse, raw)
        except RequestError as error:
            if error.code == "json_too_large":
                self._bodies.refusals.count("json_size")
            raise

    def give_back(self, size: int) -> None:
        """So many of its bytes are not held any more."""
        self._body.give_back(size)

    def close(self) -> None:
        self._body.close()


async def read_body(bodies: Bodies, request: Request, *, max_bytes: int) -> ArrivedBody:
    """The body of a JSON request, never holding more than `max_bytes` of it; `close` it.

    Raises:
        RequestError: 408, 413, 415 or 503.
        ClientDisconnect: the client went away.
    """
    _check_headers(request, bodies, max_bytes)
    body = bodies.open(peer_of(request.client.host) if request.client else None)
    gathered = io.BytesIO()  # hands its bytes on without a copy
    try:
        async with body.arriving():
            async for piece in request.stream():
                _check_bytes(bodies, body.size + len(piece), max_bytes)
                await body.take(len(piece))
                gathered.write(piece)
    except BaseException:
        body.close()
        raise
    return ArrivedBody(gathered.getvalue(), body, bodies)


def _check_headers(request: Request, bodies: Bodies, max_bytes: int) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        # Browsers send other types to other sites unasked, and this one only after asking.
        raise _unsupported_error("content type", "set Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _unsupported_error("content encoding", "send the body uncompressed")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        _check_bytes(bodies, int(declared[:20]), max_bytes)


def _check_bytes(bodies: Bodies, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        bodies.refusals.count("body_bytes")
        raise too_large(max_bytes)


def _unsupported_error(what: str, remedy: str) -> RequestError:
    return RequestError(
        f"the {what} of the request is not supported; {remedy}",
        status=415,
        code="unsupported_media_type",
    )
