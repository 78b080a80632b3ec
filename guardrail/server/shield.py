"""The outermost layer of the app: what nothing else caught becomes an error reply."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guardrail.api.drain import shut_down_error
from guardrail.api.errors import log_crash, reply_to_error
from guardrail.server.access import note_fault
from guardrail.server.error_form import form_error
from guardrail.server.json_response import json_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from guardrail.api.drain import Drain

__all__ = ["Shield"]


class Shield:
    """ASGI middleware: an exception that nothing caught becomes a reply, and no stack is shown.

    So does the end of a request that had not come to a decision when the server ended.
    """

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch_send)
        except asyncio.CancelledError:
            if scope["type"] != "http" or started or not self._drain.is_cut:
                raise
            cut = json_response(form_error(scope, reply_to_error(shut_down_error())))
            await cut(scope, receive, send)
        except Exception as error:  # noqa: BLE001 (the server's edge)
            log_crash(error)
            note_fault(scope, error)
            if scope["type"] == "http" and not started:
                await json_response(form_error(scope, reply_to_error(error)))(scope, receive, send)
