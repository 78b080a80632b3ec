"""The first page: what was stopped and let through, what it took, and what is known of errors."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from guardrail.console.charts import Stack, draw_stacks
from guardrail.console.decision_filter import PERIODS
from guardrail.console.quality import (
    count_chosen_alarms,
    count_version_labels,
    read_canaries,
    read_false_alarms,
    read_recalls,
)
from guardrail.console.roles import ANY_ROLE
from guardrail.console.statistics import read_overview
from guardrail.console.visit import ConsoleRoute
from guardrail.console.windows import DAYS, read_times
from guardrail.engine.rules import Mode
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
    given, console, now = visit.request.query_params, visit.console, datetime.now(UTC)
    period = given.get("period", "day")
    since, until = read_times(given, period, now)
    day = (since, until) if period in DAYS else None

    async def count() -> Overview:
        return await visit.run(read_overview, console.database, period, now, day)

    numbers = await console.overviews.get(day or period, count)
    labelled = {}
    if numbers.versions:
        labelled = await visit.run(count_version_labels, console.database, since, until)
    return visit.render(
        template,
        period=period,
        periods=[(name, words) for name, (words, _) in PERIODS.items()],
        day=day,
        chosen_day=given.get("day", "")[:10],
        address=urlencode({"period": period} if day is None else _write_day(period, day)),
        which=urlencode({"period": period} if day is None else _write_day(None, day)),
        labelled=labelled,
        numbers=numbers,
        chart=_draw(
            numbers.slots, period, f"in the {PERIODS[period][0]}" if day is None else "of one day"
        ),
        alarms=await visit.run(read_false_alarms, console.database, now),
        chosen=await visit.run(count_chosen_alarms, console.database),
        confidence=1.0 - DELTA,
        recalls=await visit.run(read_recalls, console.deployment),
        canaries=read_canaries(console.telemetry),
        observe=Mode.OBSERVE.value,
        now=now,
    )


def _write_day(period: str | None, day: tuple[datetime, datetime]) -> dict[str, str]:
    """The fields of an address; those of the list of decisions without a period."""
    times = {"since": day[0].isoformat(), "until": day[1].isoformat()}
    return times if period is None else {"period": period, **times}


def _draw(slots: Sequence[Slot], period: str, words: str) -> Markup:
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
        title=f"Decisions {words}, by verdict",
    )


ROUTES = (
    ConsoleRoute("GET", "/", _show, ANY_ROLE, nav="Overview"),
    ConsoleRoute("GET", "/overview", _show_numbers, ANY_ROLE),
)
