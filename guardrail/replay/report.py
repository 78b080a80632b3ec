"""The report of a replay: one HTML page that needs nothing else, for people who decide on policies.

It holds ids, reasons and names out of records, all of them escaped; no prompt and no answer.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.printable import show_text
from guardrail.replay.wording import (
    ASSUMED,
    FRESH_TRIES,
    describe_anew,
    describe_calls,
    describe_error,
    describe_interval,
    describe_test,
    describe_unused_labels,
    format_share,
    format_value,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from guardrail.replay.deciding import DecidedAnew
    from guardrail.replay.intervals import ShareInterval
    from guardrail.replay.replay import PolicyReplay
    from guardrail.replay.summary import ReplaySummary

__all__ = ["STYLE_FILE", "write_report"]

STYLE_FILE = Path(__file__).with_name("report.css")
"""The style of the pages of replays and searches."""
_EXACT = "Clopper–Pearson, two-sided, δ = 0.05; unknown decisions count against both ends"


def write_report(
    path: Path, found: PolicyReplay, summary: ReplaySummary, anew: DecidedAnew | None = None
) -> None:
    """Writes the page.

    Args:
        path: of the page.
        found: the replay.
        summary: of it.
        anew: what was decided with calls beside it.

    Raises:
        ConfigError: it cannot be written.
    """
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    )
    page = (
        f"<!doctype html><html lang=en>{head}<title>guardrail policy replay</title>"
        f"<style>{STYLE_FILE.read_text(encoding='utf-8')}</style>"
        f"{_body(found, summary, anew)}</html>\n"
    )
    try:
        path.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(
            f"the report cannot be written ({error.strerror}); choose another path", file=str(path)
        ) from error


def _body(found: PolicyReplay, summary: ReplaySummary, anew: DecidedAnew | None) -> str:
    observes = (
        "<p class=warn>This policy only observes: what it would stop is delivered all the same.</p>"
        if summary.only_observes
        else ""
    )
    return f"""
<h1>What the policy “{_text(summary.policy)}” would have decided</h1>
<p class=lead>{summary.decisions:,} recorded decisions about {summary.requests:,} requests.
{escape(ASSUMED)}</p>{observes}
<div class=facts>{_cards(summary)}</div>
<h2>Before and after</h2><div class=wide>{_transitions(summary.table)}</div>
<p>{escape(describe_test(summary).capitalize())}.</p>
{_labelled(summary)}
{_unknown(summary)}
{_fresh_tries(anew)}
{_fields(found, summary)}
{_changed(summary)}
<footer>Shares count equal requests once. {escape(_EXACT)}.</footer>"""


def _cards(summary: ReplaySummary) -> str:
    cards = [
        (_share(summary.now_stopped), "now stopped", describe_interval(summary.now_stopped)),
        (_share(summary.now_let_through), "now let through",
         describe_interval(summary.now_let_through)),
        (f"{summary.stay:,}", "decisions stay as they were", ""),
        (f"{summary.unknown:,}", "decisions are not known", "see below what they need"),
    ]  # fmt: skip
    return "".join(
        f"<div class=fact><b><abbr title='{escape(_EXACT, quote=True)}'>{escape(value)}</abbr></b>"
        f"{escape(what)}<br><span>{escape(more)}</span></div>"
        for value, what, more in cards
    )


def _share(one: ShareInterval) -> str:
    return format_share(one.count / one.total) if one.total else "–"


def _transitions(counts: Mapping[str, Mapping[str, int]]) -> str:
    names = list(next(iter(counts.values())))
    rows = (
        [before, *(f"{row[name]:,}" for name in names)]
        for before, row in counts.items()
        if any(row.values())
    )
    return _table(["before ↓ after →", *names], rows)


def _labelled(summary: ReplaySummary) -> str:
    if summary.labelled is None:
        return ""
    lines = [
        *describe_error("False alarms", summary.labelled.false_alarms),
        *describe_error("Missed harm", summary.labelled.missed_harm),
        describe_unused_labels(summary.labelled),
    ]
    items = "".join(f"<li>{escape(line)}.</li>" for line in lines)
    return (
        "<h2>Against labels</h2><p class=lead>False alarms are requests labelled harmless that are "
        "stopped, missed harm are requests labelled harmful that are let through. The intervals "
        "hold for all traffic only where the labelled records were drawn from it at random.</p>"
        f"<ul>{items}</ul>"
    )


def _unknown(summary: ReplaySummary) -> str:
    if not summary.needs:
        return ""
    rows = ([f"{count:,}", words] for words, count in summary.needs.items())
    return (
        f"<h2>Not known</h2><div class='wide words'>{_table(['decisions', 'need'], rows)}</div>"
        f"<p>{escape(describe_calls(summary.further_calls)).capitalize()}.</p>"
    )


def _fresh_tries(anew: DecidedAnew | None) -> str:
    if anew is None:
        return ""
    table = f"<div class=wide>{_transitions(anew.table)}</div>" if anew.tries else ""
    lines = "".join(f"<p>{escape(line)}.</p>" for line in describe_anew(anew))
    return f"<h2>Fresh tries</h2><p class=lead>{escape(FRESH_TRIES)}.</p>{table}{lines}"


def _fields(found: PolicyReplay, summary: ReplaySummary) -> str:
    parts = []
    for (name, digest, count, _), comparison in zip(
        summary.made_by, found.comparisons, strict=True
    ):
        head = f"<h2>{count:,} records of “{_text(name)}” ({escape(digest[:16])})</h2>"
        if comparison is None:
            body = "<p class=warn>The fields of this policy are not known here.</p>"
        elif comparison.is_same:
            body = "<p>The same policy: every decision is the recorded one.</p>"
        else:
            rows = (
                [one.field, format_value(one.old), format_value(one.new), one.effect.value]
                for one in comparison.changes
            )
            table = _table(["field", "recorded", "now", "acts on"], rows)
            body = f"<div class='wide words'>{table}</div>"
        parts.append(head + body)
    if summary.unseen:
        parts.append(
            "<p class=warn>These fields differ and say which requests are taken at all, which a "
            f"replay does not look at: {_text(', '.join(summary.unseen))}.</p>"
        )
    return "".join(parts)


def _changed(summary: ReplaySummary) -> str:
    if not summary.changed:
        return ""
    rows = (
        [one.record_id, one.before, one.old_reason, one.after, one.new_reason]
        for one in summary.changed
    )
    names = ["record", "before", "reason", "after", "reason"]
    return (
        "<h2>Decisions that change</h2><p class=lead>At most two hundred of each direction; "
        "<code>guardrail records explain</code> says more of one.</p>"
        f"<div class='wide words'>{_table(names, rows)}</div>"
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(text: str) -> str:
    return escape(show_text(text))
