"""One decision: what came of it and why, checked, labelled, kept as a case."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guardrail.cases.reviewers import find_obstacle, keep_case, list_cases
from guardrail.console.decision_filter import read_filter
from guardrail.console.decision_view import view_decision
from guardrail.console.picture_view import view_pictures
from guardrail.console.roles import REVIEWERS
from guardrail.console.visit import ConsoleRoute
from guardrail.engine.verdict import Action
from guardrail.errors import CertificationError, RequestError
from guardrail.records.database_audit import audit_record
from guardrail.records.kept_pictures import find_pictures
from guardrail.records.overrides import describe_obstacle, list_overrides
from guardrail.records.query import DatabaseSource
from guardrail.records.review import (
    LabelVerdict,
    add_label,
    list_labels,
)
from guardrail.records.review_tables import ASKED, WHOLE_REQUEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from guardrail.console.visit import Visit
    from guardrail.database.database import Database
    from guardrail.records.override_chain import Override
    from guardrail.records.record import Record

__all__ = ["ROUTES", "Appeal", "find_record"]

_OVERRIDE_ACTIONS = (Action.PASS, Action.BLOCK)

_log = logging.getLogger(__name__)


async def _show(visit: Visit) -> Response:
    return await _render(visit, await find_record(visit))


async def find_record(visit: Visit) -> Record:
    """The record that the address names. Raises RequestError (404) where there is none."""
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
    database, keys = visit.console.database, visit.console.content_keys
    view = await visit.run(view_decision, record, keys)
    if view.said:
        _log.info("content of record %s was shown to %s", record.record_id, visit.visitor.id)
    there = await visit.run(find_pictures, database, record.record_id)
    chosen = read_filter(visit.request.query_params)
    return visit.render(
        "decision.html",
        view=view,
        shown=view_pictures(record, view.certificate, there, has_keys=keys is not None),
        filter=chosen,
        labels=await visit.run(list_labels, database, record.record_id),
        cases=await visit.run(list_cases, database, record.record_id),
        no_case=await visit.run(find_obstacle, record),
        whole=WHOLE_REQUEST,
        asked=ASKED,
        verdicts=tuple(LabelVerdict),
        actions=_actions(visit, record),
        appeal=await visit.run(_find_appeal, database, record),
        **{"checked": None, **values},
        **await _neighbours(visit, record),
    )


@dataclass(frozen=True, slots=True)
class Appeal:
    """What was and may be decided about a request in the guard's place.

    Attributes:
        entries: those made of this decision, as they stand now.
        actions: `pass` and `block`, as far as an entry can be made.
        problem: why none can be made, or why they are not known.
    """

    entries: Sequence[Override]
    actions: Sequence[str]
    problem: str


def _find_appeal(database: Database, record: Record) -> Appeal:
    try:
        entries = [steps[-1] for steps in list_overrides(database, record.record_id)]
    except CertificationError as error:
        return Appeal((), (), str(error))
    problems = {action.value: describe_obstacle(record, action) for action in _OVERRIDE_ACTIONS}
    actions = [action for action, problem in problems.items() if not problem]
    return Appeal(entries, actions, "" if actions else problems[Action.BLOCK.value])


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
    record = await find_record(visit)
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
    record, form = await find_record(visit), visit.form
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
    record, form = await find_record(visit), visit.form
    await visit.run(
        keep_case,
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
