"""One decision: what came of it and why, checked, labelled, kept as a case."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guardrail.console.decision_filter import read_filter
from guardrail.console.decision_view import view_decision
from guardrail.console.roles import REVIEWERS
from guardrail.console.visit import ConsoleRoute
from guardrail.errors import CertificationError, RequestError
from guardrail.records.database_audit import audit_record
from guardrail.records.query import DatabaseSource
from guardrail.records.review import (
    LabelVerdict,
    add_case,
    add_label,
    count_cases,
    list_labels,
)
from guardrail.records.review_tables import ASKED, WHOLE_REQUEST

if TYPE_CHECKING:
    from starlette.responses import Response

    from guardrail.console.visit import Visit
    from guardrail.records.record import Record

__all__ = ["ROUTES"]

_log = logging.getLogger(__name__)


async def _show(visit: Visit) -> Response:
    return await _render(visit, await _find(visit))


async def _find(visit: Visit) -> Record:
    """Raises RequestError (404) where there is no such record."""
    source = DatabaseSource(visit.console.database)
    record = await visit.run(source.find, visit.request.path_params["record_id"])
    if record is None:
        raise RequestError(
            "there is no such decision; it may have been removed, as records are kept for a time",
            status=404,
        )
    return record


async def _render(visit: Visit, record: Record, **values: Any) -> Response:
    assert visit.visitor is not None
    view = await visit.run(view_decision, record, visit.console.content_keys)
    if view.said:
        _log.info("content of record %s was shown to %s", record.record_id, visit.visitor.id)
    database = visit.console.database
    chosen = read_filter(visit.request.query_params)
    return visit.render(
        "decision.html",
        view=view,
        filter=chosen,
        labels=await visit.run(list_labels, database, record.record_id),
        cases=await visit.run(count_cases, database, record.record_id),
        whole=WHOLE_REQUEST,
        asked=ASKED,
        verdicts=tuple(LabelVerdict),
        actions=_actions(visit, record),
        **{"checked": None, **values},
        **await _neighbours(visit, record),
    )


def _actions(visit: Visit, record: Record) -> list[tuple[str, str]]:
    """What other pages offer to do with a decision: their words and addresses."""
    return [
        (words, path.replace("{record_id}", record.record_id)) for words, path in visit.on_decision
    ]


async def _neighbours(visit: Visit, record: Record) -> dict[str, Any]:
    """The decisions before and after this one in the list that the reader came from."""
    which = read_filter(visit.request.query_params).to_records(datetime.now(UTC))
    source = DatabaseSource(visit.console.database)
    place = (datetime.fromisoformat(record.created), record.record_id)
    older = await visit.run(source.page, which, 1, older_than=place)
    newer = await visit.run(source.page, which, 1, newer_than=place)
    return {
        "older": older.rows[0].record_id if older.rows else "",
        "newer": newer.rows[0].record_id if newer.rows else "",
    }


async def _verify(visit: Visit) -> Response:
    record = await _find(visit)
    try:
        neighbours = await visit.run(audit_record, visit.console.database, record.record_id)
        checked = {"holds": True, "neighbours": neighbours, "problem": ""}
    except CertificationError as error:
        checked = {"holds": False, "neighbours": 0, "problem": str(error)}
    if visit.asks_part:
        return visit.render("decision_checked.html", checked=checked, record=record)
    return await _render(visit, record, checked=checked)


async def _label(visit: Visit) -> Response:
    assert visit.visitor is not None
    record, form = await _find(visit), visit.form
    await visit.run(
        add_label,
        visit.console.database,
        record,
        reviewer=visit.visitor.id,
        verdict=form.get("verdict", ""),
        item=form.get("item", WHOLE_REQUEST),
        note=form.get("note", ""),
    )
    return visit.redirect(f"/decisions/{record.record_id}#labels")


async def _make_case(visit: Visit) -> Response:
    assert visit.visitor is not None
    record, form = await _find(visit), visit.form
    await visit.run(
        add_case,
        visit.console.database,
        record,
        reviewer=visit.visitor.id,
        name=form.get("name", ""),
        expected=form.get("expected", ""),
        note=form.get("note", ""),
        keys=visit.console.content_keys,
    )
    return visit.redirect(f"/decisions/{record.record_id}#case")


ROUTES = (
    ConsoleRoute("GET", "/decisions/{record_id}", _show, REVIEWERS),
    ConsoleRoute("POST", "/decisions/{record_id}/verify", _verify, REVIEWERS),
    ConsoleRoute("POST", "/decisions/{record_id}/labels", _label, REVIEWERS),
    ConsoleRoute("POST", "/decisions/{record_id}/case", _make_case, REVIEWERS),
)
