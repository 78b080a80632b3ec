"""The one cookie of the console: a token that stands for a session, or for a visit before it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from guardrail.console.sessions import new_token

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["choose_token", "set_token"]

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def choose_token(request: Request) -> tuple[str, bool]:
    """The token that a request brings, or a new one; and whether it is new."""
    given = request.cookies.get(_name(request), "")
    return (given, False) if _TOKEN.fullmatch(given) else (new_token(), True)


def set_token(request: Request, response: Response, token: str) -> None:
    """Has the browser keep a token until it is closed, for the console alone.

    No script can read it, and no other site's link or form brings it along.
    """
    response.set_cookie(
        _name(request),
        token,
        path="/console",
        secure=_is_secure(request),
        httponly=True,
        samesite="strict",
    )


def _name(request: Request) -> str:
    """Browsers take a name with this prefix from encrypted connections only."""
    return "__Secure-guardrail_console" if _is_secure(request) else "guardrail_console"


def _is_secure(request: Request) -> bool:
    """Whether the browser speaks TLS, with this server or with one in front of it.

    Who makes the header up asks that the own cookie be more careful, and no more.
    """
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip()
    return request.scope["scheme"] == "https" or forwarded == "https"
