"""The cases that reviewers kept: which there are, as a file, and removed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.responses import Response

from guardrail.cases.reviewers import MOST_CASES, list_cases, load_reviewers_cases, remove_case
from guardrail.cases.writing import write_cases
from guardrail.console.roles import REVIEWERS
from guardrail.console.visit import ConsoleRoute
from guardrail.errors import RequestError

if TYPE_CHECKING:
    from guardrail.console.visit import Visit

__all__ = ["ROUTES"]

_log = logging.getLogger(__name__)


async def _show(visit: Visit) -> Response:
    cases = await visit.run(list_cases, visit.console.database)
    return visit.render("cases.html", cases=cases, most=MOST_CASES)


async def _download(visit: Visit) -> Response:
    assert visit.visitor is not None
    console = visit.console
    cases, closed = await visit.run(load_reviewers_cases, console.database, console.content_keys)
    if not cases:
        why = "they are sealed with a key that this server has not" if closed else "none was kept"
        raise RequestError(f"there is no case to download: {why}", status=404)
    if console.content_keys is not None:
        _log.info("the cases of reviewers were given to %s", visit.visitor.id)
    headers = {"content-disposition": 'attachment; filename="cases.yaml"'}
    text = await visit.run(write_cases, cases)
    return Response(text.encode(), media_type="text/plain; charset=utf-8", headers=headers)


async def _remove(visit: Visit) -> Response:
    await visit.run(remove_case, visit.console.database, visit.request.path_params["case_id"])
    return visit.redirect("/cases")


ROUTES = (
    ConsoleRoute("GET", "/cases", _show, REVIEWERS),
    ConsoleRoute("GET", "/cases.yaml", _download, REVIEWERS),
    ConsoleRoute("POST", "/cases/{case_id}/remove", _remove, REVIEWERS),
)
