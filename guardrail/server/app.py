"""The proxy as an ASGI application."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from guardrail.api.deployment import fixed_deployment
from guardrail.api.errors import Reply, error_reply
from guardrail.api.pictures.fetch import INTERNET
from guardrail.api.service import Service
from guardrail.api.settings import ServerSettings
from guardrail.errors import GuardrailError
from guardrail.server.access import AccessLog
from guardrail.server.cors import cors_middleware
from guardrail.server.error_form import form_error
from guardrail.server.json_response import fault_response, json_response
from guardrail.server.plain_path import PlainPath, sent_path
from guardrail.server.policy_sync import PolicySync
from guardrail.server.routes import make_routes
from guardrail.server.shield import Shield
from guardrail.sharing.folder_board import FolderBoard
from guardrail.telemetry.background import run_background
from guardrail.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from guardrail.api.deployment import Deployment
    from guardrail.api.overrides import OverrideList
    from guardrail.api.pictures.fetch import Network
    from guardrail.api.recording import RecordFunction, Recording
    from guardrail.engine.engine import Engine
    from guardrail.keys.authenticator import Authenticator
    from guardrail.keys.limits import Limits
    from guardrail.policy.schema import Policy
    from guardrail.server.worker import Worker
    from guardrail.sharing.process_board import Board

__all__ = ["create_app", "create_deployed_app"]

_ROUTES = (
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/guardrail/check"),
    ("GET", "/v1/models"),
)


def create_app(
    policy: Policy,
    engine: Engine,
    *,
    settings: ServerSettings | None = None,
    record: Recording | RecordFunction | None = None,
    network: Network = INTERNET,
    keys: Authenticator | None = None,
    limits: Limits | None = None,
    telemetry: Telemetry | None = None,
    metrics_listener: socket.socket | None = None,
    beside: Sequence[BaseRoute] = (),
    overrides: OverrideList | None = None,
) -> Starlette:
    """The application; it closes the engine's upstream and oracle, and `keys`, when it shuts down.

    Args:
        policy: block style, limits and mode; the engine's rules must be compiled from it.
        engine: decides every request.
        settings: times of the server.
        record: a recorder, or a function that keeps a decision and returns the name of its record;
            None keeps none.
        network: how links to pictures are looked up; for tests only.
        keys: knows the API keys; None lets in whoever reaches the server.
        limits: counts what keys use; None counts in this process.
        telemetry: counts, traces and watches; None for the log alone.
        metrics_listener: where its metrics are served; None serves none.
        beside: further routes, as those of the console.
        overrides: where entries are looked up, for a policy that heeds them.

    Raises:
        ConfigError: an origin in the settings is none, or see `Service`.
    """
    service = Service(
        policy,
        engine,
        settings or ServerSettings(),
        record,
        network,
        limits=limits,
        overrides=overrides,
    )
    return create_deployed_app(
        fixed_deployment(service),
        keys=keys,
        telemetry=telemetry,
        metrics_listener=metrics_listener,
        beside=beside,
    )


def create_deployed_app(
    deployment: Deployment,
    triggers: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    *,
    keys: Authenticator | None = None,
    telemetry: Telemetry | None = None,
    metrics_listener: socket.socket | None = None,
    beside: Sequence[BaseRoute] = (),
    worker: Worker | None = None,
) -> Starlette:
    """The application of policies that may change; it closes them when it shuts down.

    Args:
        deployment: decides every request.
        triggers: what makes it reload, entered while the application runs.
        keys: knows the API keys; None lets in whoever reaches the server.
        telemetry: see `create_app`.
        metrics_listener: likewise.
        beside: likewise.
        worker: which of several processes on one port this is; None where it is alone there.

    Raises:
        ConfigError: an origin in the settings is none, or a canary says nothing of any policy.
    """
    telemetry = telemetry or Telemetry()
    telemetry.watch(deployment)
    sync = PolicySync(deployment, _open_board(deployment, worker))
    deployment.sync = sync

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as beside:
            if keys is not None:
                keys.start()
                beside.push_async_callback(asyncio.to_thread, keys.close)
            beside.push_async_callback(deployment.aclose)
            await beside.enter_async_context(run_background(telemetry, deployment))
            if metrics_listener is not None and telemetry.metrics is not None:
                from guardrail.server.metrics_port import serve_metrics

                registry = telemetry.metrics.registry
                await beside.enter_async_context(serve_metrics(registry, metrics_listener, worker))
            if deployment.sharing is not None:
                await beside.enter_async_context(deployment.sharing.running())
            await beside.enter_async_context(sync.running())
            await beside.enter_async_context(triggers())
            yield

    app = Starlette(
        routes=[*make_routes(deployment, sync, keys), *beside],
        lifespan=lifespan,
        middleware=[
            Middleware(AccessLog, telemetry),
            Middleware(PlainPath, refused=lambda: deployment.refusals.count("path")),
            *cors_middleware(deployment.settings.cors_origins),
            Middleware(Shield, drain=deployment.drain),
        ],
        exception_handlers={
            HTTPException: _reply_to_no_route,
            GuardrailError: _reply_to_fault,
            ClientDisconnect: _reply_to_disconnect,
        },
    )
    app.router.redirect_slashes = False
    app.state.deployment = deployment
    return app


def _open_board(deployment: Deployment, worker: Worker | None) -> Board | None:
    """Where this process meets the others; None where there are none."""
    if deployment.sharing is not None:
        return deployment.sharing.open_board()
    return None if worker is None else FolderBoard(worker.folder)


async def _reply_to_no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = sent_path(request.scope)
    return json_response(form_error(request.scope, _refusal(path, error)))


def _refusal(path: str, error: HTTPException) -> Reply:
    """Starlette's 404 and 405; every route that is not guarded is refused."""
    if error.status_code == 405:
        message = "this route does not take this method; the Allow header names those it takes"
        return error_reply(405, message, code="method_not_allowed", headers=error.headers)
    if error.status_code == 404 and path.startswith("/v1/"):
        message = (
            "this route is not guarded here and hence refused; use POST /v1/chat/completions, "
            "POST /v1/responses, POST /v1/messages, POST /v1/guardrail/check or GET /v1/models"
            f"{_hint(path)}"
        )
        return error_reply(404, message, code="route_not_guarded")
    message = f"there is no such route{_hint(path)}"
    return error_reply(error.status_code, message, code="not_found")


def _hint(path: str) -> str:
    """What was meant by a path that ends like one of the routes, or is the start of all of them."""
    tail = path.rstrip("/").lower()
    if tail.endswith("/messages/count_tokens"):
        return "; tokens are not counted beforehand here: the usage of each answer tells them"
    for method, route in _ROUTES:
        if tail.endswith(route.removeprefix("/v1")):
            base = "address, without /v1" if route == "/v1/messages" else "/v1"
            return f"; {method} {route} is one: set the client's base URL to this server's {base}"
    if tail in ("", "/v1", "/api", "/openai"):
        return "; set the client's base URL to this server's /v1"
    return ""


async def _reply_to_fault(request: Request, error: Exception) -> Response:
    return fault_response(request.scope, error)


async def _reply_to_disconnect(_request: Request, _error: Exception) -> Response:
    """No client receives this; the status is only logged."""
    return Response(status_code=499)
