"""Every route of the proxy, with its operation in the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Match, Route

from guardrail.api.chat.endpoint import CHAT_ENDPOINT
from guardrail.api.check import CHECK_ENDPOINT
from guardrail.api.errors import Reply
from guardrail.api.messages.endpoint import MESSAGES_ENDPOINT
from guardrail.api.openapi.document import KEY_SECURITY, describe_plain, make_document
from guardrail.api.openapi.operations import CHAT, CHECK, LITELLM, MESSAGES, RESPONSES
from guardrail.api.responses.endpoint import RESPONSES_ENDPOINT
from guardrail.errors import GuardrailError
from guardrail.keys.api_key import KeyScope
from guardrail.server.admin import policies_endpoint, reload_endpoint, rollback_endpoint
from guardrail.server.authentication import Authenticated
from guardrail.server.docs_page import docs_endpoint
from guardrail.server.guarded import answer_guarded
from guardrail.server.health import live_endpoint, ready_endpoint
from guardrail.server.json_response import fault_response, json_response
from guardrail.server.litellm_api import litellm_endpoint
from guardrail.server.models import model_endpoint, models_endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from guardrail.api.deployment import Deployment
    from guardrail.api.endpoint import Endpoint
    from guardrail.keys.authenticator import Authenticator
    from guardrail.server.policy_sync import PolicySync
    from guardrail.types import Json

__all__ = ["make_routes"]

_MODELS = "As OpenAI lists models."


@dataclass(frozen=True, slots=True)
class _Described:
    """A route, what the document says of it (None for one that it does not name), and for whom.

    `needs` is the scope of the keys that open it; None opens it to everybody.
    """

    method: str
    path: str
    endpoint: Callable[[Request], Awaitable[Response]]
    operation: Mapping[str, Json] | None = None
    needs: KeyScope | None = KeyScope.CLIENT


class _NamedRoute(Route):
    """A route that the access log finds in the scope, in every release of Starlette."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return match, child_scope if match is Match.NONE else {**child_scope, "route": self}


def make_routes(
    deployment: Deployment, sync: PolicySync, keys: Authenticator | None = None
) -> list[Route]:
    """The routes, bound to one deployment; all but a few are open to keys only."""
    described = [
        _Described("POST", "/v1/chat/completions", _guard(deployment, CHAT_ENDPOINT), CHAT),
        _Described("POST", "/v1/responses", _guard(deployment, RESPONSES_ENDPOINT), RESPONSES),
        _Described("POST", "/v1/messages", _guard(deployment, MESSAGES_ENDPOINT), MESSAGES),
        _Described("POST", "/v1/guardrail/check", _guard(deployment, CHECK_ENDPOINT), CHECK),
        _Described("POST", "/beta/litellm_basic_guardrail_api", litellm_endpoint(deployment),
                   LITELLM),
        _Described("GET", "/v1/models", models_endpoint(deployment),
                   describe_plain("The models of the upstream.", _MODELS)),
        _Described("GET", "/v1/models/{model:path}", model_endpoint(deployment),
                   describe_plain("One of them.", _MODELS, ("model",))),
        _Described("GET", "/admin/policies", policies_endpoint(deployment, sync),
                   needs=KeyScope.ADMIN),
        _Described("POST", "/admin/reload", reload_endpoint(deployment, sync),
                   needs=KeyScope.ADMIN),
        _Described("POST", "/admin/rollback", rollback_endpoint(deployment, sync),
                   needs=KeyScope.ADMIN),
        _Described("GET", "/healthz", live_endpoint,
                   describe_plain("Whether the process lives.", "It does."), needs=None),
        _Described("GET", "/readyz", ready_endpoint(deployment, sync),
                   describe_plain("Whether model and oracle answer and records can be kept; 503 "
                                  "where not.", "They do."), needs=None),
    ]  # fmt: skip
    operations = {
        (entry.path.replace(":path", ""), entry.method.lower()): _with_security(entry)
        for entry in described
        if entry.operation is not None
    }
    document = make_document(operations)
    described += [
        _Described("GET", "/openapi.json", _serve_document(document), needs=None),
        _Described("GET", "/docs", docs_endpoint(document), needs=None),
    ]
    return [_route(entry, keys) for entry in described]


def _route(entry: _Described, keys: Authenticator | None) -> Route:
    route = _NamedRoute(entry.path, entry.endpoint, methods=[entry.method])
    app = _answer_by(entry.endpoint)
    route.app = app if entry.needs is None else Authenticated(app, keys, entry.needs)
    return route


def _answer_by(endpoint: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    """The endpoint as an ASGI application, its refusals answered.

    In here, so that they say where a key stands as answers do. Starlette's own wrapper looks for a
    handler of whatever is raised, which the app does already.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await endpoint(Request(scope, receive, send))
        except GuardrailError as error:
            response = fault_response(scope, error)
        await response(scope, receive, send)

    return app


def _with_security(entry: _Described) -> dict[str, Json]:
    assert entry.operation is not None
    return {**entry.operation, "security": [] if entry.needs is None else list(KEY_SECURITY)}


def _guard(deployment: Deployment, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await answer_guarded(deployment, request, endpoint)

    return answer


def _serve_document(document: Mapping[str, Json]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return json_response(Reply(200, document))

    return answer
