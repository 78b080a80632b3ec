"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response  # noqa: TC002 (FastAPI resolves it at run time)

from guardrail.api.chat.form import CHAT_FORM
from guardrail.api.openapi.described import CHAT
from guardrail.server.direct import Direct
from guardrail.server.guarded import guarded

if TYPE_CHECKING:
    from guardrail.api.service import Service

__all__ = ["chat_router"]

_SUMMARY = "Chat completions, guarded."


def chat_router(service: Service) -> APIRouter:
    """The route, bound to one service."""
    router = APIRouter(route_class=Direct)

    @router.post("/v1/chat/completions", summary=_SUMMARY, openapi_extra=CHAT)
    async def chat_completions(request: Request) -> Response:
        return await guarded(service, request, CHAT_FORM)

    return router
