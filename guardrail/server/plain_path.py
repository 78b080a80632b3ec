"""Paths in one spelling only, so that whatever stands in front routes by the same path as this app.

The server has undone percent-encoding once before this. A path that another server may read as
another one is answered as a path that no route has: with a slash, a backslash or a percent sign
in encoded form, empty or dot segments, or anything that is no plain ASCII. Only behind
`/v1/models/` may a slash be encoded: names of models hold slashes, and OpenAI's clients encode
them. Names of policies, in the console's addresses, may have the letters of any script.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["PlainPath", "is_plain", "sent_path"]

_PLAIN = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/-]*")
_ENCODED = re.compile(rb"%(2f|5c|25)", re.IGNORECASE)
_EMPTY_OR_DOTS = re.compile(r"//|/\.{1,2}(?:/|$)")
_LETTERS = re.compile(r"\w")
_FOREIGN = re.compile(r"[\\%]")
_MODELS = "/v1/models/"
_POLICIES = "/console/policies/"
_KEY = "guardrail.sent_path"
_NOWHERE = "/path-not-plain"
"""No route has it, so it is answered 404."""


class PlainPath:
    """ASGI middleware; `refused` is called for each path that it sends nowhere."""

    def __init__(self, app: ASGIApp, refused: Callable[[], None]) -> None:
        self._app = app
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_plain(scope["path"], scope.get("raw_path") or b""):
            self._refused()
            scope = {**scope, "path": _NOWHERE, "raw_path": _NOWHERE.encode(), _KEY: scope["path"]}
        await self._app(scope, receive, send)


def sent_path(scope: Scope) -> str:
    """The path as the client spelled it, for what it is told."""
    path: str = scope.get(_KEY, scope["path"])
    return path


def is_plain(path: str, raw_path: bytes) -> bool:
    """Whether every server reads this path alike.

    Args:
        path: with percent-encoding undone once.
        raw_path: as it was sent; empty where the server does not tell.
    """
    if _EMPTY_OR_DOTS.search(path) or not path.startswith("/"):
        return False
    if path.startswith(_MODELS) and raw_path.startswith(_MODELS.encode()):
        return path.isprintable() and not _FOREIGN.search(path)
    if path.startswith(_POLICIES) and raw_path.startswith(_POLICIES.encode()):
        path = _LETTERS.sub("", path)
    return _PLAIN.fullmatch(path) is not None and not _ENCODED.search(raw_path)
