"""One line of JSON for each request: what happened, and nothing of what was said."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from guardrail.engine.verdict import Verdict

__all__ = ["AccessLog", "note"]

_log = logging.getLogger("guardrail.access")
_KEY = "guardrail.note"
_GONE = 499  # the client closed the connection before there was an answer


def note(scope: MutableMapping[str, Any], verdict: Verdict, record_id: str | None) -> None:
    """Adds a verdict to the line of its request."""
    certificate = verdict.certificate
    scope.get(_KEY, {}).update(
        decision=verdict.action.value,
        reason=verdict.reason.value,
        would_block=verdict.would_block,
        remembered=verdict.remembered,
        samples=0 if certificate is None else certificate.samples,
        calls=verdict.usage.calls,
        overhead_ms=round(verdict.overhead_s * 1e3, 1),
        record_id=record_id,
    )


class AccessLog:
    """ASGI middleware that logs to `guardrail.access` at level INFO.

    The path is named by its route and never as it was sent: some clients put keys into it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _log.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        line: dict[str, object] = {"method": scope["method"], "status": _GONE}
        extra: dict[str, object] = {}
        scope[_KEY] = extra

        async def watch_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                line["status"] = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch_send)
        finally:
            line["route"] = getattr(scope.get("route"), "path", None)
            line["elapsed_ms"] = round((time.monotonic() - started) * 1e3, 1)
            _log.info("%s", json.dumps({**line, **extra}))
