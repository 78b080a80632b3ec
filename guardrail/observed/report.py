"""The report of what observe mode saw: one HTML page for those who decide about enforcing.

It holds counts, and ids of records and keys; nothing that was asked or answered.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from guardrail.html_page.page import write_page
from guardrail.html_page.parts import format_chart, format_fact, format_table, format_warning
from guardrail.svg import Axis, draw_dot, draw_line, draw_text
from guardrail.tuning.percent import percent_down, percent_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardrail.observed.graduation import GroupRate, PolicyReport

__all__ = ["ASSUMPTION", "write_observe_report"]

ASSUMPTION = (
    "An interval speaks of distinct requests like these, whose outcomes do not hang together; each "
    "counts once, by its first decision, as equal ones are chosen alike. The shares of requests "
    "with repeats are what was seen, and no bounds. The bounds in the advice hold at all times at "
    "once (a confidence sequence), however often one looks, from a start that was not chosen by "
    "what was stopped; those by day and by key and the share of all distinct requests hold for one "
    "look each. Where a share is decided, it is chosen by a secret key from the request alone: for "
    "whoever does not know the key, a simple random sample without replacement of the distinct "
    "requests. Requests by routes that decide every one (the check and LiteLLM routes, guards in "
    "a process, observe.wait) are a stratum of their own beside that sample. Chosen requests that "
    "were not decided (the line was full, a fault) count as stopped on the upper side and as let "
    "through on the lower one."
)
_WIDTH, _HEIGHT = 950, 300
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 16, 120, 36
_MOST_KEYS = 50
_MOST_LABELS = 12


def write_observe_report(path: Path, reports: Sequence[PolicyReport]) -> None:
    """Writes one HTML file that needs nothing else. Raises ConfigError."""
    body = "".join(_policy(report) for report in reports)
    page = f"<h1>What observe mode saw</h1>{body}<footer>{escape(ASSUMPTION)}</footer>"
    write_page(path, "guardrail observe report", page)


def _policy(report: PolicyReport) -> str:
    tally = report.tally
    return f"""
<h2>{escape(tally.name)}: {escape(report.advice.value)}</h2>
<p class=lead>{escape(_window(report))}</p>
<div class=facts>{_headline(report)}</div>
<p>{escape(report.advice_in_words)} Each interval is wrong with probability at most
{report.delta:g}; that of the advice, at all times together, however often it is looked at.</p>
{_segments(report)}
<h2>By day</h2>{_chart(report)}
{_groups("day (UTC)", report.days)}
<h2>By API key</h2>
<p class=lead>The keys with most stops first; a key's requests are often like each other.</p>
{_groups("key", report.keys[:_MOST_KEYS])}
{_categories(report)}{_stops(report)}"""


def _segments(report: PolicyReport) -> str:
    """The versions and keys, where there are several."""
    segments = report.tally.segments.values()
    if len(segments) < 2:
        return ""
    rows = (
        (one.policy_digest[:16], one.key_id, f"{one.records:,}", f"{one.since:%Y-%m-%d %H:%M:%S}",
         f"{one.until:%Y-%m-%d %H:%M:%S}")
        for one in segments
    )  # fmt: skip
    names = ("version of the policy", "noise key", "records", "first (UTC)", "last (UTC)")
    warning = format_warning(
        "The policy or the noise key changed meanwhile. Counts of several of these have no "
        "interval (0 to 100 %)."
    )
    return warning + format_table(names, rows, label="Versions and keys", words=[1])


def _window(report: PolicyReport) -> str:
    tally = report.tally
    if tally.since is None or tally.until is None:
        return "No records."
    return (
        f"Records from {tally.since:%Y-%m-%d %H:%M} to {tally.until:%Y-%m-%d %H:%M} UTC. "
        f"{tally.faults:,} further requests got no answer and are not counted."
    )


def _headline(report: PolicyReport) -> str:
    total, rate, of_all = report.total, report.total.rate, report.total.of_all
    group, counts, plain = total.group, total.group.counts, total.group.stopped_share()
    facts = [
        (percent_up(rate.upper), "of distinct requests stopped, at most",
         f"at least {percent_down(rate.lower)}"),
        (percent_up(plain.upper), "of the requests seen, repeats counted",
         f"known of {percent_down(plain.lower)}; no bound"),
        (f"{counts.stopped:,}", "would have been stopped",
         f"{counts.decided - counts.stopped:,} let through"),
        (f"{counts.requests:,}", "requests answered", f"{group.distinct:,} distinct"),
        (f"{counts.chosen:,}", "chosen to be decided",
         f"{counts.undecided:,} were not, {counts.skipped:,} of them as the line was full"),
    ]  # fmt: skip
    if of_all is not None:
        facts.append(
            (percent_up(of_all.upper), f"of all {group.distinct:,} distinct requests, at most",
             f"at least {percent_down(of_all.lower)}; by the share that was decided")
        )  # fmt: skip
    if total.is_split:
        facts.append((f"{group.always.requests:,}", "by routes that decide every request",
                      "a stratum of their own"))  # fmt: skip
    return "".join(format_fact(*one) for one in facts)


def _groups(name: str, groups: Sequence[GroupRate]) -> str:
    names = (name, "requests", "chosen", "decided", "stopped", "let through", "not decided",
             "stopped of distinct, at least", "at most")  # fmt: skip
    rows = (
        (one.name or "none", f"{counts.requests:,}", f"{counts.chosen:,}", f"{counts.decided:,}",
         f"{counts.stopped:,}", f"{counts.decided - counts.stopped:,}", f"{counts.undecided:,}",
         percent_down(one.rate.lower), percent_up(one.rate.upper))
        for one in groups
        for counts in (one.group.counts,)
    )  # fmt: skip
    return format_table(names, rows, label=f"By {name}")


def _categories(report: PolicyReport) -> str:
    counts = report.tally.categories.most_common()
    if not counts:
        return ""
    rows = ((category, f"{count:,}") for category, count in counts)
    return f"<h2>By category</h2>{format_table(('category', 'stopped'), rows, label='By category')}"


def _stops(report: PolicyReport) -> str:
    stops = list(reversed(report.tally.stops))
    if not stops:
        return ""
    rows = (
        (one.record_id, f"{one.created:%Y-%m-%d %H:%M}", one.category, one.api_key_id or "none")
        for one in stops
    )
    names = ("record", "made (UTC)", "category", "key")
    return (
        f"<h2>The newest stops</h2><p class=lead>{len(stops):,} of them, to look for false alarms: "
        "<code>guardrail records explain ID</code>.</p>"
        f"{format_table(names, rows, label='The newest stops', words=[2, 3])}"
    )


def _chart(report: PolicyReport) -> str:
    """A bar from the lower to the upper bound for each day, and a dot where it was seen."""
    days = report.days
    if not days:
        return ""
    seen = [one.seen.occurred / one.seen.drawn if one.seen.drawn else 0.0 for one in days]
    # A day of few requests reaches to 100 % and would flatten all others.
    highest = min(1.0, max(3.0 * report.limit, 1.5 * max(seen), 2.0 * report.total.rate.upper))
    y = Axis(0.0, highest, start=_HEIGHT - _BOTTOM, end=_TOP)
    x = Axis(-0.5, len(days) - 0.5, start=_LEFT, end=_WIDTH - _RIGHT)
    parts = []
    for tick in y.ticks():
        parts.append(
            draw_line(_LEFT, _WIDTH - _RIGHT, y.at(tick), y.at(tick), colour="var(--line)")
        )
        parts.append(draw_text(8, y.at(tick) + 4, f"{100 * tick:g} %", colour="var(--soft)"))
    step = -(-len(days) // _MOST_LABELS)
    for i, (day, rate) in enumerate(zip(days, seen, strict=True)):
        low, high = y.at(day.rate.lower), y.at(min(day.rate.upper, highest))
        parts.append(draw_line(x.at(i), x.at(i), low, high, colour="var(--series-1)", width=3))
        parts.append(draw_dot(x.at(i), y.at(rate), colour="var(--series-1)"))
        if i % step == 0:
            label = day.name[5:]
            parts.append(
                draw_text(x.at(i), _HEIGHT - 12, label, colour="var(--soft)", anchor="middle")
            )
    limit = y.at(report.limit)
    parts.append(
        draw_line(_LEFT, _WIDTH - _RIGHT, limit, limit, colour="var(--series-5)", dash="6 5")
    )
    parts.append(
        draw_text(_WIDTH - _RIGHT + 8, limit + 4, f"limit {percent_up(report.limit)}",
                  colour="var(--series-5)")
    )  # fmt: skip
    chart = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" font-size="15" '
        f'aria-label="share of distinct requests that would be stopped, by day">'
        f"{''.join(parts)}</svg>"
    )
    return format_chart(chart, "Stopped by day")
