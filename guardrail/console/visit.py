"""One request to a page: who asks, with which form, and how it is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response

from guardrail.console.forms import MOST_FORM_BYTES, Form
from guardrail.console.templates import render_page
from guardrail.keys.api_key import KeyScope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from guardrail.console.console import Console
    from guardrail.console.visitor import Visitor

__all__ = ["HOME", "ConsoleRoute", "Visit"]

HOME = "/console"
"""Where the console is mounted."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request to one page.

    Attributes:
        console: what all pages share.
        request: as Starlette has it; read `form`, not its body.
        visitor: who asks; None on a page that is open to nobody yet.
        form: the fields of a form that was sent; empty for a GET.
        form_token: what the forms of the page carry.
        menu: label and address of the pages that the visitor may open.
        on_decision: words and address (with `{record_id}` in it) of what they may do with a
            decision.
    """

    console: Console
    request: Request
    visitor: Visitor | None
    form: Form
    form_token: str
    menu: tuple[tuple[str, str], ...] = ()
    on_decision: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """Of the page, as asked for; Starlette's `url` fails where the `Host` is no address."""
        path: str = self.request.scope["path"]
        return path

    def may(self, role: str) -> bool:
        """Whether the visitor has a role: `reviewer`, `editor` or `admin`."""
        return self.visitor is not None and KeyScope(role) in self.visitor.roles

    @property
    def asks_part(self) -> bool:
        """Whether htmx asks for a part of a page, to put in place of another one."""
        return self.request.headers.get("hx-request") == "true"

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What a function that blocks returns, run in a thread."""
        return await self.console.run(function, *args, **kwargs)

    def render(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page of a template; all values are escaped."""
        return HTMLResponse(render_page(template, visit=self, **values), status_code=status)

    def redirect(self, path: str) -> Response:
        """Leads to another page, by its path within the console, as after a form.

        What a header cannot hold, as in the name of a policy, is percent-encoded.
        """
        address = quote(f"{HOME}{path}", safe="/?#&=%")
        if self.asks_part:
            return Response(status_code=204, headers={"hx-redirect": address})
        return Response(status_code=303, headers={"location": address})


@dataclass(frozen=True, slots=True)
class ConsoleRoute:
    """A page, or what a form of it does.

    Attributes:
        method: GET, or POST for all that changes anything.
        path: within the console, with Starlette's parameters (`visit.request.path_params`).
        handler: answers.
        needs: the roles that open it; one of them is enough. None for a page that is open before
            anybody has signed in.
        nav: its name in the menu; empty for none.
        on_decision: what a button on the page of each decision says that leads here; the path then
            has `{record_id}` in it. Empty for no button.
        most_bytes: how long its form may be.
    """

    method: str
    path: str
    handler: Callable[[Visit], Awaitable[Response]]
    needs: frozenset[KeyScope] | None
    nav: str = ""
    on_decision: str = ""
    most_bytes: int = MOST_FORM_BYTES
