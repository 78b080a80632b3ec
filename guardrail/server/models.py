"""GET /v1/models and /v1/models/{id}: what the upstream lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import Response  # noqa: TC002 (FastAPI resolves it at run time)

from guardrail.api.errors import Reply
from guardrail.api.openapi.about import LISTED
from guardrail.errors import RequestError
from guardrail.server.json_response import json_response

if TYPE_CHECKING:
    from guardrail.api.service import Service
    from guardrail.types import Json

__all__ = ["models_router"]


def models_router(service: Service) -> APIRouter:
    """The routes, bound to one service."""
    router = APIRouter()

    @router.get("/v1/models", summary="The models of the upstream.", openapi_extra=LISTED)
    async def list_models() -> Response:
        data = [_entry(name) for name in await service.models.get()]
        return json_response(Reply(200, {"object": "list", "data": data}))

    @router.get("/v1/models/{model:path}", summary="One of them.", openapi_extra=LISTED)
    async def get_model(model: str) -> Response:
        if model not in await service.models.get():
            raise RequestError(
                "model: there is no such model here; GET /v1/models lists those there are",
                status=404,
                param="model",
                code="model_not_found",
            )
        return json_response(Reply(200, _entry(model)))

    return router


def _entry(name: str) -> dict[str, Json]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "guardrail"}
