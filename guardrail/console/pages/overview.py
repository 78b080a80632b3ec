"""The first page: what was stopped and let through, and what it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.console.roles import ANY_ROLE
from guardrail.console.visit import ConsoleRoute

if TYPE_CHECKING:
    from starlette.responses import Response

    from guardrail.console.visit import Visit

__all__ = ["ROUTES"]


async def _show(visit: Visit) -> Response:
    return visit.render("overview.html")


ROUTES = (ConsoleRoute("GET", "/", _show, ANY_ROLE, nav="Overview"),)
