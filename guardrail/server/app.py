"""The proxy as an ASGI application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from guardrail.api.errors import Reply, error_reply, reply_to_error
from guardrail.api.openapi.about import ABOUT
from guardrail.api.pictures.fetch import INTERNET
from guardrail.api.service import Service, random_record
from guardrail.api.settings import Settings
from guardrail.errors import GuardrailError
from guardrail.server.access import AccessLog
from guardrail.server.chat import chat_router
from guardrail.server.check import check_router
from guardrail.server.docs_page import docs_router
from guardrail.server.health import health_router
from guardrail.server.json_response import json_response
from guardrail.server.litellm_api import litellm_router
from guardrail.server.models import models_router
from guardrail.server.responses import responses_router
from guardrail.server.shield import Shield
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from guardrail.api.pictures.fetch import Network
    from guardrail.api.service import Record
    from guardrail.engine.engine import Engine
    from guardrail.policy.schema import Policy

__all__ = ["create_app"]

_ROUTERS = (
    chat_router,
    responses_router,
    check_router,
    litellm_router,
    models_router,
    health_router,
)


def create_app(
    policy: Policy,
    engine: Engine,
    *,
    settings: Settings | None = None,
    record: Record | None = None,
    network: Network = INTERNET,
) -> FastAPI:
    """The application; it closes the engine's upstream and oracle when it shuts down.

    Args:
        policy: block style, limits and mode; the engine's rules must be compiled from it.
        engine: decides every request.
        settings: times of the server.
        record: keeps a decision and returns its name; by default a random name is given.
        network: how links to pictures are looked up; for tests only.
    """
    service = Service(policy, engine, settings or Settings(), record or random_record, network)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.aclose()

    app = FastAPI(
        title="guardrail",
        lifespan=lifespan,
        redirect_slashes=False,
        description=ABOUT,
        version=__version__,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
    )
    for made in _ROUTERS:
        app.include_router(made(service))
    app.include_router(docs_router(app.openapi))
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(GuardrailError, _failed)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_middleware(Shield)
    app.add_middleware(AccessLog)
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return json_response(_refusal(request.url.path, error))


def _refusal(path: str, error: HTTPException) -> Reply:
    """Starlette's 404 and 405; every route that is not guarded is refused."""
    if error.status_code == 405:
        message = "this route does not take this method; the Allow header names those it takes"
        return error_reply(405, message, code="method_not_allowed", headers=error.headers)
    if error.status_code == 404 and path.startswith("/v1/"):
        message = (
            "this route is not guarded here and hence refused; use POST /v1/chat/completions, "
            "POST /v1/responses, POST /v1/guardrail/check or GET /v1/models"
        )
        return error_reply(404, message, code="route_not_guarded")
    return error_reply(error.status_code, "there is no such route", code="not_found")


async def _failed(_request: Request, error: Exception) -> Response:
    return json_response(reply_to_error(error))


async def _gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads this; the status is for the log."""
    return Response(status_code=499)
