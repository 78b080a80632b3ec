"""Signing in by an API key, and out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.console.cookies import choose_token, set_token
from guardrail.console.roles import ANY_ROLE
from guardrail.console.visit import ConsoleRoute
from guardrail.errors import RequestError

if TYPE_CHECKING:
    from starlette.responses import Response

    from guardrail.console.visit import Visit
    from guardrail.keys.api_key import ApiKey

__all__ = ["ROUTES"]

_WRONG = (
    "This key is not known here, or may not be used any more. A key of this server begins with "
    "grd_; whoever runs the server makes one by 'guardrail keys create --scope reviewer'."
)
_CLIENT = (
    "This key is for programs that send requests. The console needs one with the scope reviewer, "
    "editor or admin."
)


async def _show(visit: Visit) -> Response:
    if visit.visitor is not None:
        return visit.redirect("/")
    return visit.render("sign_in.html", problem="")


async def _sign_in(visit: Visit) -> Response:
    keys = visit.console.keys
    if keys is None:
        return visit.redirect("/")
    client = visit.request.client
    address = "" if client is None else client.host
    visit.console.sign_in_rate.check(address)
    secret = visit.form.get("key", "").strip()
    key = keys.find(secret)
    if key is None or not key.scopes & ANY_ROLE:
        visit.console.sign_in_rate.count_failure(address)
        problem = _WRONG if key is None else _CLIENT
        return visit.render("sign_in.html", status=403, problem=problem)
    return await _open_session(visit, key, keys.digest(secret))


async def _open_session(visit: Visit, key: ApiKey, secret_digest: str) -> Response:
    """A new token, so that one that was known before signing in opens nothing."""
    token = await visit.run(visit.console.sessions.open, key, secret_digest)
    response = visit.redirect("/")
    set_token(visit.request, response, token)
    return response


async def _sign_out(visit: Visit) -> Response:
    if visit.console.keys is None:
        raise RequestError("nobody is signed in: this server takes no keys", status=404)
    token, _ = choose_token(visit.request)
    await visit.run(visit.console.sessions.end, token)
    return visit.redirect("/sign-in")


ROUTES = (
    ConsoleRoute("GET", "/sign-in", _show, None),
    ConsoleRoute("POST", "/sign-in", _sign_in, None),
    ConsoleRoute("POST", "/sign-out", _sign_out, ANY_ROLE),
)
