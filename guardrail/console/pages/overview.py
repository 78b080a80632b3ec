"""The first page: what was stopped and let through, what it took, and what is known of errors."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guardrail.console.charts import Stack, draw_stacks
from guardrail.console.decision_filter import PERIODS
from guardrail.console.quality import (
    count_chosen_alarms,
    read_canaries,
    read_false_alarms,
    read_recalls,
)
from guardrail.console.roles import ANY_ROLE
from guardrail.console.statistics import read_overview
from guardrail.console.visit import ConsoleRoute
from guardrail.engine.rules import Mode
from guardrail.errors import RequestError
from guardrail.labelling.standing import DELTA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup
    from starlette.responses import Response

    from guardrail.console.statistics import Overview, Slot
    from guardrail.console.visit import Visit

__all__ = ["ROUTES"]

_COLOURS = ("var(--bar-good)", "var(--bar-watch)", "var(--bar-bad)", "var(--bar-fault)")


async def _show(visit: Visit) -> Response:
    return await _render(visit, "overview.html")


async def _show_numbers(visit: Visit) -> Response:
    """The part that a page asks for again and again."""
    return await _render(visit, "overview_numbers.html")


async def _render(visit: Visit, template: str) -> Response:
    period = visit.request.query_params.get("period", "day")
    if period not in PERIODS:
        raise RequestError("there is no such period; choose one of those on the page")
    console, now = visit.console, datetime.now(UTC)

    async def count() -> Overview:
        return await visit.run(read_overview, console.database, period, now)

    numbers = await console.overviews.get(period, count)
    return visit.render(
        template,
        period=period,
        periods=[(name, words) for name, (words, _) in PERIODS.items()],
        numbers=numbers,
        chart=_draw(numbers.slots, period),
        alarms=await visit.run(read_false_alarms, console.database, now),
        chosen=await visit.run(count_chosen_alarms, console.database),
        confidence=1.0 - DELTA,
        recalls=await visit.run(read_recalls, console.deployment),
        canaries=read_canaries(console.telemetry),
        observe=Mode.OBSERVE.value,
        now=now,
    )


def _draw(slots: Sequence[Slot], period: str) -> Markup:
    columns = []
    for slot in slots:
        one = slot.group
        would = one.would_block
        parts = (one.let_through - would, would, one.stopped, one.faults)
        told = f"{one.let_through:,} let through, {one.stopped:,} stopped, {one.faults:,} no answer"
        if would:
            told += f"; {would:,} would be stopped"
        columns.append(Stack(slot.begins, told, parts))
    return draw_stacks(
        columns,
        _COLOURS,
        form="day" if period == "month" else "hour",
        title=f"Decisions in the {PERIODS[period][0]}, by verdict",
    )


ROUTES = (
    ConsoleRoute("GET", "/", _show, ANY_ROLE, nav="Overview"),
    ConsoleRoute("GET", "/overview", _show_numbers, ANY_ROLE),
)
