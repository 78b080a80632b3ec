"""Tells an operator's own service what went wrong: JSON by POST, without any content."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guardrail.types import Json

__all__ = ["Webhook", "check_webhook_url"]

_log = logging.getLogger(__name__)
_MOST_WAITING = 64
_TRIES = 4
_FIRST_PAUSE_S = 1.0
_TIMEOUT_S = 10.0


def check_webhook_url(url: str) -> str:
    """The URL. Raises ConfigError, which does not quote it: it may hold a key."""
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_sound = False
    if not is_sound or not url.isascii() or not url.isprintable():
        raise ConfigError("must be an http or https URL", field="webhook")
    return url


class Webhook:
    """Sends messages one after the other, each up to four times; made inside an event loop.

    At most 64 messages wait; further ones are dropped, as none of them is worth more than the
    requests that are being decided. A redirect is not followed. The URL is in no log.

    Args:
        url: takes the messages, and answers with a status 2xx.
        count: told what became of each: `sent`, `failed` or `dropped`.
        pause_s: before the second try; it doubles with each further one.
    """

    def __init__(
        self,
        url: str,
        count: Callable[[str], None] = lambda _: None,
        *,
        pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._url = check_webhook_url(url)
        self._count = count
        self._pause_s = pause_s
        self._messages: asyncio.Queue[Mapping[str, Json]] = asyncio.Queue(_MOST_WAITING)

    def tell(self, message: Mapping[str, Json]) -> None:
        """Puts a message into the queue; never waits."""
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            self._count("dropped")

    async def run(self) -> None:
        """Sends what comes, until it is cancelled."""
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client:
            while True:
                message = await self._messages.get()
                fault = await self._send(client, message)
                self._count("failed" if fault else "sent")
                if fault:
                    _log.error("the webhook took no message (%s); it is dropped", fault)

    async def _send(self, client: httpx.AsyncClient, message: Mapping[str, Json]) -> str:
        """Empty, or why it was not taken: a status or the class of an error."""
        fault = ""
        for earlier in range(_TRIES):
            if earlier:
                await asyncio.sleep(self._pause_s * 2.0 ** (earlier - 1))
            try:
                async with client.stream("POST", self._url, json=message) as response:
                    if response.is_success:
                        return ""
                    fault = f"status {response.status_code}"
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                fault = type(error).__name__
        return fault
