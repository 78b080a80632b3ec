"""The part of an evaluation's page that sets the guard beside others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.counted_noun import count_of
from guardrail.engine.threat_recall import Against
from guardrail.evaluation.benchmark.beside import count_others
from guardrail.evaluation.benchmark.false_alarms import FALSE_ALARM_RATE
from guardrail.evaluation.benchmark.share_words import (
    format_false_alarms,
    format_recall,
    format_share,
)
from guardrail.html_page.parts import format_table, format_text
from guardrail.tuning.percent import percent_down

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.evaluation.benchmark.beside import Beside, CertifiedShare, GuardLine
    from guardrail.evaluation.benchmark.guard_report import Certified

__all__ = ["TOLD_FLOORS", "format_beside", "name_column", "told_columns"]

_TITLES: Mapping[str, str] = {
    Against.CROPS: "outside one window",
    Against.STICKERS: "a sticker anywhere",
    Against.STICKER_PLACE: "a sticker at a random place",
    Against.SUFFIX: "text behind the prompt",
}
TOLD_FLOORS = (0.5, 0.1)
"""Of the floors of certified recall, those that stand out; the tables have all."""


def format_beside(beside: Beside | None) -> str:
    """Every guard's line, for each set, as HTML; empty where there is no report."""
    if beside is None:
        return ""
    matched = len(beside.matched)
    lead = (
        f"<h2>Beside other guards</h2><p class=lead>On the {matched:,} of "
        f"{count_of(len(beside.rows), 'request')} that every report here rules on, matched by "
        "their names; all lines are about these. A request for which a report has no ruling, such "
        "as one that failed there, is left out for all. Labels are those of the data here.</p>"
    )
    parts = [lead, _format_reports(beside)]
    parts += [_format_set(beside, name) for name in beside.harmful_sets]
    if beside.other_clean_sets or not beside.harmful_sets:
        parts.append(_format_clean(beside))
    return "".join(parts)


def told_columns(beside: Beside) -> tuple[Certified, ...]:
    """The columns of certified recall that some guard has, all threats but only some floors."""
    columns = [column for guard in beside.guards for column in guard.claims]
    return tuple(
        column
        for column in dict.fromkeys(columns)
        if column.floor is None or column.floor in TOLD_FLOORS
    )


def name_column(column: Certified) -> str:
    """What a column of certified recall is against, in a few words."""
    if column.floor is not None:
        return f"changes of pixels, r(τ = {column.floor:g})"
    return _TITLES.get(column.threat, column.threat)


def _format_reports(beside: Beside) -> str:
    rows = []
    for guard in beside.guards:
        matched, others = count_others(beside.own[0], guard)
        rows.append(
            (guard.name, guard.source or "this evaluation",
             f"{len(guard.rulings) + guard.ambiguous:,}", f"{matched:,}", f"{others:,}",
             f"{guard.ambiguous:,}")
        )  # fmt: skip
    names = (
        "guard", "report", "rulings", "of requests here", "same name, another request",
        "name of several",
    )  # fmt: skip
    return format_table(names, rows, label="Reports", words=[1])


def _format_set(beside: Beside, set_name: str) -> str:
    lines = [beside.line(guard, set_name) for guard in beside.guards]
    names = (
        "guard", "clean passed", "harmful stopped",
        f"recall at {100 * FALSE_ALARM_RATE:g} % false alarms", "false alarms",
    )  # fmt: skip
    rows = (
        (line.guard.name, format_share(line.passed), format_share(line.stopped),
         format_recall(line.point), format_false_alarms(line.point))
        for line in lines
    )  # fmt: skip
    first = lines[0]
    return (
        f"<h3>{format_text(set_name)}: {count_of(first.stopped.total, 'harmful request')}, beside "
        f"{first.passed.total:,} clean ones</h3>"
        + format_table(names, rows, label=f"Guards on {set_name}", words=range(1, len(names)))
        + _format_certified(lines, told_columns(beside), set_name)
    )


def _format_certified(
    lines: Sequence[GuardLine], columns: Sequence[Certified], set_name: str
) -> str:
    if not columns:
        return "<p>None of these guards certifies anything.</p>"
    names = ("certified recall, at least", *map(name_column, columns))
    rows = (
        (line.guard.name, *(_certified_cell(line.certified.get(column)) for column in columns))
        for line in lines
    )
    return (
        format_table(
            names, rows, label=f"Certified recall of {set_name}", words=range(1, len(names))
        )
        + "<p>The floors of pixels hold together, and so do the threats, for each guard and set; "
        "which requests a report shows held is taken from it. A dash: nothing is certified.</p>"
    )


def _certified_cell(share: CertifiedShare | None) -> str:
    """`1.93 % (3 of 3), within ℓ2 0.9309`, or a dash where nothing is certified."""
    if share is None:
        return "–"
    return (
        f"{percent_down(share.recall_lower)} ({share.shown:,} of {share.requests:,}), "
        f"{share.extent}"
    )


def _format_clean(beside: Beside) -> str:
    sets = beside.other_clean_sets or tuple(sorted({row.set_name for row in beside.matched}))
    rows = [
        (guard.name, *(format_share(beside.passed(guard, name)) for name in sets))
        for guard in beside.guards
    ]
    return "<h3>Other clean requests that passed</h3>" + format_table(
        ("guard", *sets), rows, label="Other clean requests", words=range(1, len(sets) + 1)
    )
