"""Decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.console.roles import REVIEWERS
from guardrail.console.visit import ConsoleRoute

if TYPE_CHECKING:
    from starlette.responses import Response

    from guardrail.console.visit import Visit

__all__ = ["ROUTES"]


async def _show(visit: Visit) -> Response:
    return visit.render("decisions.html")


ROUTES = (ConsoleRoute("GET", "/decisions", _show, REVIEWERS, nav="Decisions"),)
