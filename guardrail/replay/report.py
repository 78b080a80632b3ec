"""The report of a replay: one HTML page that needs nothing else, for people who decide on policies.

It holds ids, reasons and names out of records, all of them escaped; no prompt and no answer.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from guardrail.counted_noun import count_of
from guardrail.html_page.page import write_page
from guardrail.html_page.parts import format_fact, format_table, format_text, format_warning
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
    from collections.abc import Mapping
    from pathlib import Path

    from guardrail.replay.deciding import DecidedAnew
    from guardrail.replay.intervals import ShareInterval
    from guardrail.replay.policy_replay import PolicyReplay
    from guardrail.replay.summary import ReplaySummary

__all__ = ["write_report"]

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
    write_page(path, "guardrail policy replay", _body(found, summary, anew))


def _body(found: PolicyReplay, summary: ReplaySummary, anew: DecidedAnew | None) -> str:
    observes = (
        format_warning("This policy only observes: what it would stop is delivered all the same.")
        if summary.only_observes
        else ""
    )
    return f"""
<h1>What the policy “{format_text(summary.policy)}” would have decided</h1>
<p class=lead>{count_of(summary.decisions, "recorded decision")} about
{count_of(summary.requests, "request")}.
{escape(ASSUMED)}</p>{observes}
<div class=facts>{_cards(summary)}</div>
<h2>Before and after</h2>{_transitions(summary.table, "Decisions before and after")}
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
    return "".join(format_fact(value, what, more, hint=_EXACT) for value, what, more in cards)


def _share(one: ShareInterval) -> str:
    return format_share(one.count / one.total) if one.total else "–"


def _transitions(counts: Mapping[str, Mapping[str, int]], label: str) -> str:
    names = list(next(iter(counts.values())))
    rows = (
        [before, *(f"{row[name]:,}" for name in names)]
        for before, row in counts.items()
        if any(row.values())
    )
    return format_table(["before ↓ after →", *names], rows, label=label)


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
    names = ["decisions", "need"]
    rows = ([f"{count:,}", words] for words, count in summary.needs.items())
    return (
        f"<h2>Not known</h2>{format_table(names, rows, label='What is not known', words=[1])}<p>"
        f"{escape(describe_calls(summary.further_calls)).capitalize()}.</p>"
    )


def _fresh_tries(anew: DecidedAnew | None) -> str:
    if anew is None:
        return ""
    table = _transitions(anew.table, "Fresh tries") if anew.tries else ""
    lines = "".join(f"<p>{escape(line)}.</p>" for line in describe_anew(anew))
    return f"<h2>Fresh tries</h2><p class=lead>{escape(FRESH_TRIES)}.</p>{table}{lines}"


def _fields(found: PolicyReplay, summary: ReplaySummary) -> str:
    parts = []
    for (name, digest, count, _), comparison in zip(
        summary.made_by, found.comparisons, strict=True
    ):
        head = (
            f"<h2>{count_of(count, 'record')} of “{format_text(name)}” ({escape(digest[:16])})</h2>"
        )
        if comparison is None:
            body = format_warning("The fields of this policy are not known here.")
        elif comparison.is_same:
            body = "<p>The same policy: every decision is the recorded one.</p>"
        else:
            rows = (
                [one.field, format_value(one.old), format_value(one.new), one.effect.value]
                for one in comparison.changes
            )
            names = ["field", "recorded", "now", "acts on"]
            body = format_table(names, rows, label="Fields that differ", words=[1, 2, 3])
        parts.append(head + body)
    if summary.unseen:
        parts.append(
            format_warning(
                "These fields differ and say which requests are taken at all, which a replay does "
                f"not look at: {', '.join(summary.unseen)}."
            )
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
        f"{format_table(names, rows, label='Decisions that change', words=range(1, 5))}"
    )
