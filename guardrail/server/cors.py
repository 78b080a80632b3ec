"""Which web pages may ask this server from a browser: those of listed origins, by default none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["cors_middleware"]

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")
_TOLD = tuple(
    # Headers of a reply that a page may read.
    f"x-guardrail-{name}"
    for name in "decision reason policy mode record-id alpha radius harmless-rate-lower samples "
    "cost-usd overhead-ms unscanned unmeasured would-block remembered pictures-left-out".split()
)
_RATES = tuple(f"x-ratelimit-{what}-requests" for what in ("limit", "remaining", "reset"))
_KEPT_S = 600


def cors_middleware(origins: Collection[str]) -> list[Middleware]:
    """What answers browsers' questions; nothing where no origin is listed.

    No cookies are allowed, as none are used. Any header may be sent: clients name their own.

    Raises:
        ConfigError: an origin is none, or stands for every page of the web.
    """
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                "must be an origin in lower case, as https://chat.example or "
                "http://localhost:3000; "
                "'*' would let every page of the web spend this server's key",
                field="cors_origins",
            )
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],
            expose_headers=[
                *(*_TOLD, *_RATES, "request-id", "retry-after", "x-request-id", "x-should-retry")
            ],
            max_age=_KEPT_S,
        )
    ]
