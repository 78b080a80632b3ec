"""POST /v1/chat/completions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response  # noqa: TC002 (FastAPI resolves it at run time)

from guardrail.errors import GuardrailError, RequestError
from guardrail.server.access import note
from guardrail.server.failures import Reply, log_crash, reply_to_error
from guardrail.server.json_response import json_response
from guardrail.server.limits import read_body
from guardrail.server.reply import pending_headers, reply_to
from guardrail.server.sse import HeldStream, stream_response
from guardrail.server.watch import settled
from guardrail.server.wire import Incoming, read_chat

if TYPE_CHECKING:
    from guardrail.server.service import Service

__all__ = ["chat_router"]

_INLINE_BYTES = 1 << 15  # a smaller body is read faster than a thread is woken


def chat_router(service: Service) -> APIRouter:
    """The route, bound to one service."""
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        return await _guarded(service, request)

    return router


async def _guarded(service: Service, request: Request) -> Response:
    """Admits, reads, decides; a stream is handed over at its first heartbeat."""
    ticket = await service.admission.enter()
    try:
        incoming = await _incoming(service, request)
    except BaseException:
        ticket.release()
        raise
    decision = asyncio.create_task(_decided(service, request, incoming))
    # Not inside the task: one that is cancelled before it runs would never get there.
    decision.add_done_callback(lambda _: ticket.release())
    heartbeat_s = service.settings.heartbeat_s if incoming.stream else None
    if not await settled(decision, request.receive, timeout_s=heartbeat_s):
        return HeldStream(
            decision,
            heartbeat_s=service.settings.heartbeat_s,
            include_usage=incoming.include_usage,
            headers=pending_headers(service.policy),
        )
    reply = decision.result()
    if incoming.stream and not reply.is_error:
        return stream_response(reply, include_usage=incoming.include_usage)
    return json_response(reply)


async def _incoming(service: Service, request: Request) -> Incoming:
    limits = service.policy.limits
    raw = await read_body(
        request, max_bytes=limits.max_body_bytes, timeout_s=service.settings.body_timeout_s
    )
    if len(raw) <= _INLINE_BYTES:
        incoming = read_chat(raw, max_images=limits.max_images, limits=service.images)
    else:
        incoming = await asyncio.to_thread(
            read_chat, raw, max_images=limits.max_images, limits=service.images
        )
    await _check_model(service, incoming.chat.model)
    return incoming


async def _check_model(service: Service, model: str) -> None:
    if service.settings.known_models_only and model not in await service.models.get():
        raise RequestError(
            "model: there is no such model here; GET /v1/models lists those there are",
            status=404,
            param="model",
            code="model_not_found",
        )


async def _decided(service: Service, request: Request, incoming: Incoming) -> Reply:
    """The reply to one chat; every fault is one as well."""
    try:
        verdict = await service.engine.decide(incoming.chat, incoming.pictures)
        record_id = service.record(verdict, incoming.chat)
        note(request.scope, verdict, record_id)
        return reply_to(verdict, incoming.chat, service.policy, record_id)
    except GuardrailError as error:
        return reply_to_error(error)
    except Exception as error:  # noqa: BLE001 (the server's edge: nothing leaves but an error)
        log_crash(error)
        return reply_to_error(error)
