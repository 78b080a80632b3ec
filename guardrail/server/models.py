"""GET /v1/models and /v1/models/{id}: what the upstream lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.endpoint import check_listed
from guardrail.api.errors import Reply
from guardrail.server.json_response import json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from guardrail.api.deployment import Deployment
    from guardrail.types import Json

__all__ = ["model_endpoint", "models_endpoint"]


def models_endpoint(deployment: Deployment) -> Callable[[Request], Awaitable[Response]]:
    """The list of models."""

    async def answer(_request: Request) -> Response:
        data = [_entry(name) for name in await deployment.current.last.models.get()]
        return json_response(Reply(200, {"object": "list", "data": data}))

    return answer


def model_endpoint(deployment: Deployment) -> Callable[[Request], Awaitable[Response]]:
    """One model; 404 where there is none of that name."""

    async def answer(request: Request) -> Response:
        name = request.path_params["model"]
        await check_listed(deployment.current.last, name)
        return json_response(Reply(200, _entry(name)))

    return answer


def _entry(name: str) -> dict[str, Json]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "guardrail"}
