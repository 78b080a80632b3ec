"""What people decided about single requests: asked for by reviewers, decided by editors."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from guardrail.console.pages.decision import find_record
from guardrail.console.roles import ADMINS, ANY_ROLE, EDITORS, REVIEWERS
from guardrail.console.visit import ConsoleRoute
from guardrail.errors import CertificationError, RequestError
from guardrail.records.overrides import (
    approve_override,
    end_override,
    list_overrides,
    start_override,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from guardrail.console.visit import Visit

__all__ = ["ROUTES"]

_DECIDERS = EDITORS | ADMINS
"""Who may let through what the guard stopped; a reviewer may ask for it."""


async def _show(visit: Visit) -> Response:
    record_id = visit.request.query_params.get("record", "").strip()
    if record_id:
        return visit.redirect(f"/decisions/{quote(record_id, safe='')}")
    found, problem = [], ""
    try:
        found = await visit.run(list_overrides, visit.console.database)
    except CertificationError as error:
        problem = str(error)
    deployment = visit.console.deployment
    served = () if deployment is None else deployment.current.policies
    return visit.render(
        "appeals.html",
        entries=found,
        problem=problem,
        now=datetime.now(UTC),
        deaf=[one.name for one in served if one.listed.policy.overrides == "off"],
        may_decide=visit.may("editor") or visit.may("admin"),
    )


async def _ask(visit: Visit) -> Response:
    return await _start(visit, is_asked=True)


async def _add(visit: Visit) -> Response:
    return await _start(visit, is_asked=False)


async def _start(visit: Visit, *, is_asked: bool) -> Response:
    assert visit.visitor is not None
    record, form = await find_record(visit), visit.form
    try:
        await visit.run(
            start_override,
            visit.console.database,
            record,
            action=form.get("action", ""),
            by=visit.visitor.id,
            note=form.get("note", ""),
            days=_read_days(form),
            is_asked=is_asked,
        )
    except CertificationError as error:
        raise RequestError(f"no override can be made of this decision: {error}") from error
    return visit.redirect("/appeals")


async def _approve(visit: Visit) -> Response:
    assert visit.visitor is not None
    await visit.run(
        approve_override,
        visit.console.database,
        visit.request.path_params["override_id"],
        by=visit.visitor.id,
        note=visit.form.get("note", ""),
        days=_read_days(visit.form),
    )
    return visit.redirect("/appeals")


async def _end(visit: Visit) -> Response:
    assert visit.visitor is not None
    await visit.run(
        end_override,
        visit.console.database,
        visit.request.path_params["override_id"],
        by=visit.visitor.id,
        note=visit.form.get("note", ""),
    )
    return visit.redirect("/appeals")


def _read_days(form: Mapping[str, str]) -> float | None:
    """Raises RequestError where the field is no number."""
    text = form.get("days", "").strip()
    try:
        return float(text) if text else None
    except ValueError:
        raise RequestError("days: say a number, or leave it empty", param="days") from None


ROUTES = (
    ConsoleRoute("GET", "/appeals", _show, ANY_ROLE, nav="Appeals"),
    ConsoleRoute("POST", "/decisions/{record_id}/override", _add, _DECIDERS),
    ConsoleRoute("POST", "/decisions/{record_id}/override/ask", _ask, REVIEWERS),
    ConsoleRoute("POST", "/appeals/{override_id}/approve", _approve, _DECIDERS),
    ConsoleRoute("POST", "/appeals/{override_id}/end", _end, _DECIDERS),
)
