"""The words of the other pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.console.glossary import GLOSSARY
from guardrail.console.roles import ANY_ROLE
from guardrail.console.visit import ConsoleRoute

if TYPE_CHECKING:
    from starlette.responses import Response

    from guardrail.console.visit import Visit

__all__ = ["ROUTES"]


async def _show(visit: Visit) -> Response:
    return visit.render("glossary.html", words=GLOSSARY)


ROUTES = (ConsoleRoute("GET", "/words", _show, ANY_ROLE),)
