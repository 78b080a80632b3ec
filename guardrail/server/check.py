"""POST /v1/guardrail/check: a verdict and its certificate, and no answer of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response  # noqa: TC002 (FastAPI resolves it at run time)

from guardrail.api.check import CHECK_FORM
from guardrail.api.openapi.described import CHECK
from guardrail.server.direct import Direct
from guardrail.server.guarded import guarded

if TYPE_CHECKING:
    from guardrail.api.service import Service

__all__ = ["check_router"]

_SUMMARY = "Verdict and certificate for a chat, without its answer."


def check_router(service: Service) -> APIRouter:
    """The route, bound to one service."""
    router = APIRouter(route_class=Direct)

    @router.post("/v1/guardrail/check", summary=_SUMMARY, openapi_extra=CHECK)
    async def check(request: Request) -> Response:
        return await guarded(service, request, CHECK_FORM)

    return router
