"""Reads a request's body, never more of it than the policy allows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guardrail.api.admission import too_large
from guardrail.errors import RequestError

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["read_body"]


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
        raise _unsupported_error("content type", "set Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _unsupported_error("content encoding", "send the body uncompressed")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise too_large(max_bytes)


def _unsupported_error(what: str, remedy: str) -> RequestError:
    return RequestError(
        f"the {what} of the request is not supported; {remedy}",
        status=415,
        code="unsupported_media_type",
    )
