"""POST /v1/responses: the same engine behind OpenAI's other wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response  # noqa: TC002 (FastAPI resolves it at run time)

from guardrail.api.openapi.described import RESPONSES
from guardrail.api.responses.form import RESPONSES_FORM
from guardrail.server.direct import Direct
from guardrail.server.guarded import guarded

if TYPE_CHECKING:
    from guardrail.api.service import Service

__all__ = ["responses_router"]

_SUMMARY = "The Responses API, guarded; nothing is stored."


def responses_router(service: Service) -> APIRouter:
    """The route, bound to one service."""
    router = APIRouter(route_class=Direct)

    @router.post("/v1/responses", summary=_SUMMARY, openapi_extra=RESPONSES)
    async def responses(request: Request) -> Response:
        return await guarded(service, request, RESPONSES_FORM)

    return router
