"""The list of decisions: filtered, paged from a place on, kept fresh, and as a table for others."""

from __future__ import annotations

import csv
import dataclasses
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

from guardrail.console.decision_filter import PERIODS, read_filter, read_place, write_place
from guardrail.console.roles import REVIEWERS
from guardrail.console.saved_filters import list_filters, remove_filter, save_filter
from guardrail.console.visit import ConsoleRoute
from guardrail.console.words import REASON_WORDS, TEST_WORDS
from guardrail.records.csv_cells import defuse
from guardrail.records.query import DatabaseSource
from guardrail.records.rows import RecordSummary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

    from guardrail.console.decision_filter import DecisionFilter
    from guardrail.console.visit import Visit
    from guardrail.records.query import RecordFilter, RecordPage

__all__ = ["ROUTES"]

_PAGE = 50
_EXPORTED = 500
_CHOICES = ("category", "policy", "api_key_id", "model")


async def _show(visit: Visit) -> Response:
    chosen = read_filter(visit.request.query_params)
    values = await _list(visit, chosen)
    source = DatabaseSource(visit.console.database)
    choices = {name: await visit.run(source.values, name) for name in _CHOICES}
    assert visit.visitor is not None
    saved = await visit.run(list_filters, visit.console.database, visit.visitor.id)
    return visit.render(
        "decisions.html",
        choices=choices,
        saved=saved,
        reasons=REASON_WORDS,
        tests=TEST_WORDS,
        period_choices=[(name, words) for name, (words, _) in PERIODS.items()],
        **values,
    )


async def _show_table(visit: Visit) -> Response:
    """The list alone, which a page asks for again and again."""
    values = await _list(visit, read_filter(visit.request.query_params))
    return visit.render("decisions_table.html", **values)


async def _list(visit: Visit, chosen: DecisionFilter) -> dict[str, Any]:
    source = DatabaseSource(visit.console.database)
    places = {name: visit.request.query_params.get(name) for name in ("older_than", "newer_than")}
    given = {name: read_place(text) for name, text in places.items() if text}
    which = chosen.to_records(datetime.now(UTC))
    page = await visit.run(source.page, which, _PAGE, **given)
    if "newer_than" in given and len(page.rows) < _PAGE:  # the first page, and a full one
        page, given = await visit.run(source.page, which, _PAGE), {}
    return {"filter": chosen, "page": page, "is_first": not given, **_links(chosen, page)}


def _links(chosen: DecisionFilter, page: RecordPage) -> dict[str, str]:
    """Where the neighbouring pages are; empty where there are none."""
    links = {"newer": "", "older": ""}
    if page.rows and page.has_newer:
        first = page.rows[0]
        links["newer"] = chosen.with_place(newer_than=write_place((first.created, first.record_id)))
    if page.rows and page.has_older:
        last = page.rows[-1]
        links["older"] = chosen.with_place(older_than=write_place((last.created, last.record_id)))
    return links


async def _export(visit: Visit) -> Response:
    chosen = read_filter(visit.request.query_params)
    which = chosen.to_records(datetime.now(UTC))
    headers = {"content-disposition": 'attachment; filename="decisions.csv"'}
    return StreamingResponse(
        _write_csv(visit, which), media_type="text/csv; charset=utf-8", headers=headers
    )


async def _write_csv(visit: Visit, which: RecordFilter) -> AsyncIterator[str]:
    """Page by page, so that a table of any length takes little memory."""
    names = [field.name for field in dataclasses.fields(RecordSummary)]
    source, place = DatabaseSource(visit.console.database), None
    yield _rows([names])
    while True:
        page = await visit.run(source.page, which, _EXPORTED, older_than=place)
        yield _rows([[_cell(getattr(one, name)) for name in names] for one in page.rows])
        if not page.has_older:
            return
        place = (page.rows[-1].created, page.rows[-1].record_id)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return defuse(value)


def _rows(rows: list[list[Any]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\r\n").writerows(rows)
    return stream.getvalue()


async def _save(visit: Visit) -> Response:
    assert visit.visitor is not None
    chosen = read_filter(visit.form)
    name = visit.form.get("name", "")
    await visit.run(save_filter, visit.console.database, visit.visitor.id, name, chosen.query)
    return visit.redirect(f"/decisions?{chosen.query}")


async def _remove(visit: Visit) -> Response:
    assert visit.visitor is not None
    filter_id = visit.request.path_params["filter_id"]
    await visit.run(remove_filter, visit.console.database, visit.visitor.id, filter_id)
    return visit.redirect("/decisions")


ROUTES = (
    ConsoleRoute("GET", "/decisions", _show, REVIEWERS, nav="Decisions"),
    ConsoleRoute("GET", "/decisions/table", _show_table, REVIEWERS),
    ConsoleRoute("GET", "/decisions.csv", _export, REVIEWERS),
    ConsoleRoute("POST", "/decisions/filters", _save, REVIEWERS),
    ConsoleRoute("POST", "/decisions/filters/{filter_id}/remove", _remove, REVIEWERS),
)
