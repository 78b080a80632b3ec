"""Who asks: found by the key of a request before anything else of it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from guardrail.api.caller import ANYBODY, Caller, caller_of
from guardrail.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from guardrail.keys.api_key import KeyScope
    from guardrail.keys.authenticator import Authenticator
    from guardrail.keys.limit_errors import RequestRate

__all__ = ["Authenticated", "get_caller", "set_rate"]

_CALLER = "guardrail.caller"
_RATE = "guardrail.request_rate"
_BEARER = "bearer "
_SECRET_HEADERS = (b"authorization", b"x-api-key")


def get_caller(scope: Mapping[str, Any]) -> Caller:
    """Who asks. Raises KeyError where a route forgot to ask for a key."""
    caller: Caller = scope[_CALLER]
    return caller


def set_rate(scope: Scope, rate: RequestRate | None) -> None:
    """Has the answer to a request say where its key stands."""
    scope[_RATE] = rate


class Authenticated:
    """ASGI middleware of one route: only callers with a scope get to it.

    The caller is left in the request's scope as `guardrail.caller`. The headers that hold the key
    are then taken out of it, so that nothing behind this can log, keep or pass them on.

    Args:
        app: the route.
        keys: knows the keys; None where everybody who reaches the server may ask.
        needs: the scope.
    """

    def __init__(self, app: ASGIApp, keys: Authenticator | None, needs: KeyScope) -> None:
        self._app = app
        self._keys = keys
        self._needs = needs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = ANYBODY if self._keys is None else _find_caller(self._keys, scope)
        if self._needs not in caller.scopes:
            raise RequestError(
                f"this needs a key of the scope '{self._needs}'; ask the operator of this server "
                "for one",
                status=403,
                code="scope_missing",
            )
        scope[_CALLER] = caller
        if self._keys is None:  # there are no limits to tell of
            await self._app(scope, receive, send)
            return
        scope["headers"] = [
            (name, value) for name, value in scope["headers"] if name not in _SECRET_HEADERS
        ]

        async def send_with_rate(message: Message) -> None:
            rate: RequestRate | None = scope.get(_RATE)
            if rate is not None and message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(rate.headers)
            await send(message)

        await self._app(scope, receive, send_with_rate)


def _find_caller(keys: Authenticator, scope: Scope) -> Caller:
    """Raises RequestError: 401, whatever is wrong with the key, or 503."""
    given = _given_secret(Headers(scope=scope))
    key = None if given is None else keys.find(given)
    if key is None:
        raise RequestError(
            "Incorrect API key provided. Send a key that the operator of this server gave you, as "
            "'Authorization: Bearer KEY' or 'x-api-key: KEY'.",
            status=401,
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )
    return caller_of(key)


def _given_secret(headers: Headers) -> str | None:
    """The secret that a request brings; None where it brings none, or two different ones."""
    bearers = [
        value[len(_BEARER) :].strip()
        for value in headers.getlist("authorization")
        if value[: len(_BEARER)].lower() == _BEARER
    ]
    given = {*bearers, *(value.strip() for value in headers.getlist("x-api-key"))}
    return given.pop() if len(given) == 1 else None
