"""`guardrail records summary`: what was stopped and why, added up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from guardrail.counted_noun import count_of
from guardrail.records.endings import HowEnded

if TYPE_CHECKING:
    from datetime import datetime

    from guardrail.records.tally import RecordsTally, Tally

__all__ = ["BY_WORDS", "print_summary"]

BY_WORDS = ("policy", "key", "hour", "reason", "test", "category", "field")
"""What people write for each of `tally.BY`."""
_COLUMNS = ("records", "stopped", "would be stopped", "let through", "faults", "limits",
            "not decided", "overridden", "calls", "US$")  # fmt: skip
_ENDINGS = (HowEnded.STOPPED, HowEnded.WOULD_STOP, HowEnded.LET_THROUGH, HowEnded.FAULT,
            HowEnded.LIMIT, HowEnded.NOT_DECIDED, HowEnded.OVERRIDDEN)  # fmt: skip


def print_summary(
    place: str,
    since: datetime | None,
    until: datetime | None,
    *,
    by: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> None:
    """Reads all records of the time, and prints their tables."""
    from guardrail.cli.progress import progress_bar
    from guardrail.records.documents import open_documents
    from guardrail.records.tally import tally_records

    with (
        open_documents(place, since=since, until=until) as documents,
        progress_bar("records", documents.count()) as step,
    ):
        found = tally_records(documents, step)
    if as_json:
        click.echo(json.dumps(found.to_dict(), allow_nan=False))
        return
    _print(found, by, limit)


def _print(found: RecordsTally, by: tuple[str, ...], limit: int) -> None:
    from guardrail.cli.tables import print_table
    from guardrail.records.tally import BY

    total = found.total
    if found.first is None or found.last is None:
        click.echo("There are no records of this time.")
        return
    click.echo(f"{count_of(total.decisions, 'record')} from {found.first:%Y-%m-%d %H:%M} to "
               f"{found.last:%Y-%m-%d %H:%M} UTC")  # fmt: skip
    for line in _total_lines(total):
        click.echo(f"  {line}")
    for word, name in zip(BY_WORDS, BY, strict=True):
        rows = found.largest(name)
        if not rows or (by and word not in by):
            continue
        shown = rows[-limit:] if word == "hour" else rows[:limit]
        hidden = len(rows) - len(shown)
        title = f"by {name}" + (f", {hidden} more not shown (--limit)" if hidden else "")
        click.echo()
        print_table(title, (name, *_COLUMNS), [(key, *_cells(one)) for key, one in shown])


def _total_lines(total: Tally) -> list[str]:
    share = {
        ended: f"{total.endings[ended]:,} {words} ({total.endings[ended] / total.decisions:.1%})"
        for ended, words in zip(_ENDINGS, _COLUMNS[1:8], strict=True)
        if total.endings[ended] or ended in (HowEnded.STOPPED, HowEnded.LET_THROUGH)
    }
    lines = ["; ".join(share.values())]
    if total.remembered:
        lines.append(f"{total.remembered:,} of them were given an earlier verdict again")
    cost = "cost not known" if total.unpriced == total.decisions else f"US$ {total.cost_usd:,.2f}"
    if 0 < total.unpriced < total.decisions:
        cost += f" ({count_of(total.unpriced, 'request')} of unknown cost left out)"
    tokens = f"{count_of(total.prompt_tokens, 'token')} in, {total.completion_tokens:,} out"
    if total.uncounted:
        tokens += f" ({count_of(total.uncounted, 'request')} of unknown number left out)"
    return [*lines, f"{count_of(total.calls, 'call')}; {cost}; {tokens}"]


def _cells(tally: Tally) -> tuple[str, ...]:
    cost = "–" if tally.unpriced == tally.decisions else f"{tally.cost_usd:,.2f}"
    counts = (f"{tally.endings[ended]:,}" for ended in _ENDINGS)
    return (f"{tally.decisions:,}", *counts, f"{tally.calls:,}", cost)
