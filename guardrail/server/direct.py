"""A route whose endpoint takes the request as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.routing import APIRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from fastapi import Request
    from fastapi.responses import Response

__all__ = ["Direct"]


class Direct(APIRoute):
    """FastAPI describes the route, and does not read requests that the endpoint reads itself."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint
