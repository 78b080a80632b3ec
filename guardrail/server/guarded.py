"""One guarded request over HTTP: admitted, read, decided, answered at once or as a held stream."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from guardrail.api.admission import too_large
from guardrail.api.chat.reply import pending_headers
from guardrail.api.endpoint import check_model, decide_incoming, word_reply
from guardrail.api.errors import Reply, log_crash, reply_to_error
from guardrail.api.opening import Opening
from guardrail.api.progress import RUNNING, JudgementCount, count_judgements
from guardrail.errors import GuardrailError, RequestError
from guardrail.offload import READ_BODY, offload
from guardrail.server.access import note
from guardrail.server.held_stream import WAITING, HeldStream, stream_response
from guardrail.server.json_response import json_response
from guardrail.server.watch import wait_for_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from guardrail.api.endpoint import Endpoint
    from guardrail.api.incoming import Incoming
    from guardrail.api.service import Service

__all__ = ["answer_guarded", "read_aside", "read_body"]


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


_SHOWS_BOTH = "ai-sdk/"
"""In the user agent of Vercel's AI SDK, which shows a message's content and then its refusal."""
_T = TypeVar("_T")


async def answer_guarded(service: Service, request: Request, endpoint: Endpoint) -> Response:
    """Admits, reads, decides; a stream is handed over at its first heartbeat."""
    ticket = await service.admission.enter()
    try:
        incoming = await _read_incoming(service, request, endpoint)
    except BaseException:
        ticket.release()
        raise
    tally = _tally(service, incoming)
    decision = asyncio.create_task(_decide(service, request, endpoint, incoming, tally))
    # Not inside the task: one that is cancelled before it runs would never get there.
    decision.add_done_callback(lambda _: ticket.release())
    settings = service.settings
    patience_s = settings.first_byte_s if incoming.stream else None
    if not await wait_for_client(decision, request.receive, timeout_s=patience_s):
        opening = Opening()
        return HeldStream(
            decision,
            heartbeat_s=settings.heartbeat_s,
            heartbeat=_heartbeat(service, endpoint, incoming, tally, opening),
            events=lambda reply: endpoint.events(reply, incoming, opening),
            headers=pending_headers(service.policy),
        )
    reply = decision.result()
    if incoming.stream and not reply.is_error:
        return stream_response(reply, endpoint.events(reply, incoming))
    return json_response(reply)


def _tally(service: Service, incoming: Incoming) -> JudgementCount | None:
    tells = service.policy.block.details != "none"
    return JudgementCount() if incoming.progress and tells else None


def _heartbeat(
    service: Service,
    endpoint: Endpoint,
    incoming: Incoming,
    tally: JudgementCount | None,
    opening: Opening,
) -> Callable[[], bytes]:
    """What a stream says while it waits for its verdict."""
    wait = endpoint.wait
    if wait is not None and service.policy.advanced.streams.heartbeat == "chunks":
        return lambda: wait(incoming, opening)
    if tally is not None:
        return tally.event
    return lambda: RUNNING if incoming.progress else WAITING


async def read_aside(service: Service, request: Request, read: Callable[[bytes], _T]) -> _T:
    """The body, read in a thread where it is large. Raises RequestError."""
    raw = await read_body(
        request,
        max_bytes=service.policy.advanced.limits.max_body_bytes,
        timeout_s=service.settings.body_timeout_s,
    )
    return await offload(READ_BODY, len(raw), read, raw)


async def _read_incoming(service: Service, request: Request, endpoint: Endpoint) -> Incoming:
    advanced = service.policy.advanced

    def read(raw: bytes) -> Incoming:
        return endpoint.read(
            raw,
            max_images=advanced.limits.max_images,
            limits=service.image_loader.limits,
            rules=service.request_rules,
            recall=service.items.recall,
        )

    incoming = await read_aside(service, request, read)
    incoming = replace(incoming, words_once=_SHOWS_BOTH in request.headers.get("user-agent", ""))
    await check_model(service, incoming.chat.model)
    return incoming


async def _decide(
    service: Service,
    request: Request,
    endpoint: Endpoint,
    incoming: Incoming,
    tally: JudgementCount | None,
) -> Reply:
    """The reply to one chat; every fault is one as well."""
    try:
        engine = service.engine if tally is None else count_judgements(service.engine, tally)
        verdict = await decide_incoming(service, engine, incoming)
        record_id = service.keep(verdict, incoming.chat)
        note(request.scope, verdict, record_id)
        return word_reply(service, endpoint, verdict, incoming, record_id)
    except GuardrailError as error:
        return reply_to_error(error)
    except Exception as error:  # noqa: BLE001 (the server's edge: nothing leaves but an error)
        log_crash(error)
        return reply_to_error(error)
