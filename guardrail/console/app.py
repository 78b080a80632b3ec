"""The console as a part of the proxy: its routes, each behind the same checks."""

from __future__ import annotations

import logging
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Mount, Route

from guardrail.console.cookies import choose_token, set_token
from guardrail.console.forms import Form, read_form
from guardrail.console.pages import (
    appeals,
    cases,
    decision,
    decision_picture,
    decision_replay,
    decisions,
    glossary,
    health,
    label,
    overview,
    playground,
    policies,
    sign_in,
    tune,
)
from guardrail.console.protection import (
    SECURITY_HEADERS,
    check_host,
    check_origin,
    comes_by_link,
    make_form_token,
    same_token,
)
from guardrail.console.static_files import serve_static
from guardrail.console.visit import HOME, ConsoleRoute, Visit
from guardrail.console.visitor import find_visitor
from guardrail.errors import GuardrailError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from guardrail.console.console import Console
    from guardrail.console.visitor import Visitor

__all__ = ["console_routes"]

_PAGES = (
    overview,
    decisions,
    decision,
    decision_picture,
    decision_replay,
    label,
    appeals,
    playground,
    policies,
    cases,
    tune,
    health,
    glossary,
    sign_in,
)
"""Every page, in the order of the menu."""

_log = logging.getLogger(__name__)


def console_routes(console: Console) -> list[BaseRoute]:
    """The routes of a console, for the proxy's application."""
    routes = [route for page in _PAGES for route in page.ROUTES]
    app = Starlette(
        routes=[
            *(_route(console, routes, one) for one in routes),
            _NamedRoute("/static/{name:path}", serve_static, methods=["GET"]),
        ],
        exception_handlers={
            HTTPException: partial(_answer_fault, console),
            GuardrailError: partial(_answer_fault, console),
            Exception: partial(_answer_fault, console),
        },
    )
    app.router.redirect_slashes = False
    return [Route(HOME, _go_home, methods=["GET"]), Mount(HOME, app=_Protected(app, console))]


class _NamedRoute(Route):
    """A route whose pattern the access log finds in the scope."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return match, child_scope if match is Match.NONE else {**child_scope, "route": _Named(self)}


class _Named:
    """What the access log reads of a route: its path with that of the mount."""

    def __init__(self, route: Route) -> None:
        self.path = f"{HOME}{route.path}"


class _Protected:
    """ASGI middleware: no request of another site, and every answer with the same headers."""

    def __init__(self, app: ASGIApp, console: Console) -> None:
        self._app = app
        self._console = console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        given = {name.encode(): value.encode() for name, value in SECURITY_HEADERS.items()}

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                # A file of ours says itself how long it may be kept.
                own = {name for name, _ in message["headers"]}
                added = [one for one in given.items() if one[0] not in own]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        request = Request(scope)
        try:
            if self._console.keys is None:
                check_host(request.headers)
            check_origin(request.method, request.headers)
            if comes_by_link(request.headers):
                # A link of another site brings no cookie; the same address asked for by a page of
                # ours does.
                visit = _nobodys_visit(self._console, request)
                await visit.render("continue.html")(scope, receive, send_protected)
                return
        except RequestError as error:
            response = await _answer_fault(self._console, request, error)
            await response(scope, receive, send_protected)
            return
        await self._app(scope, receive, send_protected)


def _route(console: Console, routes: Sequence[ConsoleRoute], one: ConsoleRoute) -> Route:
    async def answer(request: Request) -> Response:
        token, is_new = choose_token(request)
        visitor = await find_visitor(console, None if is_new else token)
        if one.needs is not None and visitor is None:
            return _send_to_sign_in(request)
        _check_role(one, visitor)
        form_token = make_form_token(token)
        form = Form([])
        if one.method != "GET":
            form = await read_form(request, one.most_bytes)
            _check_form(request, form, form_token)
        visit = Visit(
            console=console,
            request=request,
            visitor=visitor,
            form=form,
            form_token=form_token,
            menu=_open_to(visitor, routes, attrgetter("nav")),
            on_decision=_open_to(visitor, routes, attrgetter("on_decision")),
        )
        response = await one.handler(visit)
        if is_new and "set-cookie" not in response.headers:
            set_token(request, response, token)
        return response

    return _NamedRoute(one.path, answer, methods=[one.method])


def _open_to(
    visitor: Visitor | None, routes: Sequence[ConsoleRoute], words: Callable[[ConsoleRoute], str]
) -> tuple[tuple[str, str], ...]:
    """Words and addresses of the routes that a visitor may open, without those that have none."""
    roles = frozenset() if visitor is None else visitor.roles
    return tuple(
        (words(one), f"{HOME}{one.path}")
        for one in routes
        if words(one) and (one.needs is None or one.needs & roles)
    )


def _check_role(route: ConsoleRoute, visitor: Visitor | None) -> None:
    """Raises RequestError (403) where the visitor has none of the route's roles."""
    if route.needs is None or (visitor is not None and visitor.roles & route.needs):
        return
    wanted = " or ".join(sorted(route.needs))
    raise RequestError(
        f"this page is for keys with the role {wanted}; yours has another one",
        status=403,
        code="role_missing",
    )


def _check_form(request: Request, form: Form, form_token: str) -> None:
    """Raises RequestError (403) where a form is not one of this session's pages."""
    given = request.headers.get("x-csrf-token") or form.get("csrf", "")
    if not same_token(given, form_token):
        raise RequestError(
            "this form is out of date, or not one of this console's; go back, load the page "
            "again, and send it once more",
            status=403,
            code="form_token",
        )


def _send_to_sign_in(request: Request) -> Response:
    address = f"{HOME}/sign-in"
    if request.headers.get("hx-request") == "true":
        return Response(status_code=401, headers={"hx-redirect": address})
    return RedirectResponse(address, status_code=303)


async def _go_home(_request: Request) -> Response:
    return RedirectResponse(f"{HOME}/", status_code=308, headers=SECURITY_HEADERS)


async def _answer_fault(console: Console, request: Request, error: Exception) -> Response:
    """A page that says what went wrong, in the words of an error of ours alone."""
    status, words, headers = 500, "the console failed; the server's log names the place", {}
    match error:
        case HTTPException():
            status, words = error.status_code, "there is no such page in this console"
            if status == 405:
                words = "this page takes no such request"
        case RequestError():
            status, words, headers = error.status, str(error), error.headers
        case GuardrailError():
            status = getattr(error, "status", 500)
            words = "the records cannot be read just now; the server's log says why"
            _log.warning("a page of the console failed: %s", error)
        case _:
            pass  # the server's outermost layer logs it
    visit = _nobodys_visit(console, request)
    response = visit.render("error.html", status=status, code=status, words=words)
    response.headers.update(headers)
    return response


def _nobodys_visit(console: Console, request: Request) -> Visit:
    return Visit(console=console, request=request, visitor=None, form=Form([]), form_token="")
