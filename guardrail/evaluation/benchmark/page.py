"""The page of an evaluation: one HTML file. It shows names of rows, and nothing that they hold."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from guardrail.counted_noun import count_of
from guardrail.engine.threat_wording import TITLES
from guardrail.engine.wording import confidence_down
from guardrail.evaluation.benchmark.false_alarms import FALSE_ALARM_RATE
from guardrail.evaluation.benchmark.page_beside import TOLD_FLOORS, format_beside
from guardrail.evaluation.benchmark.page_recall import MOST_LISTED, format_radii, format_recalls
from guardrail.evaluation.benchmark.share_words import (
    format_cost,
    format_point,
    format_share,
    format_time,
)
from guardrail.html_page.page import write_page
from guardrail.html_page.parts import (
    format_fact,
    format_table,
    format_text,
    format_warning,
)
from guardrail.tuning.percent import percent_down, percent_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardrail.evaluation.benchmark.evaluation import Evaluation
    from guardrail.evaluation.benchmark.row_result import RowResult
    from guardrail.evaluation.benchmark.shares import GroupOutcome

__all__ = ["write_evaluation_page"]

_MOST_SETS = 6
_OUTCOMES = ("label", "rows", "passed", "blocked", "faults")
_STYLE = "td.words { min-width: 8.5em }"
"""Intervals, most of the cells, are shorter than sentences."""


def write_evaluation_page(path: Path, found: Evaluation) -> None:
    """Writes one HTML file that needs nothing else. Raises ConfigError."""
    write_page(path, "guardrail evaluate", _body(found), _STYLE)


def _body(found: Evaluation) -> str:
    identity = found.identity
    left_out = "".join(format_warning(f"left out: {problem}") for problem in identity.left_out)
    return f"""
<h1>{format_text(identity.model)} under the policy “{format_text(identity.policy)}”, on
{format_text(identity.data)}</h1>
<p class=lead>{count_of(len(found.results), "request")} decided as in service, one of each of
{count_of(identity.clusters, "family", "families")} of near-copies among
{count_of(identity.rows, "labelled row")}. Every interval holds by itself with confidence
{confidence_down(identity.delta)}; of many, some are wrong.</p>
{left_out}
<div class=facts>{_facts(found)}</div>
{_sets(found)}
{format_recalls(found)}
{_false_alarms(found)}
{format_beside(found.beside)}
{_groups("By category", "category", found.categories)}
{_groups("By language", "language", found.languages)}
{_usefulness(found)}
{_spending(found)}
{_format_rows("Harmful requests of which an answer left", found.missed, _MISSED)}
{_format_rows("Clean requests of which none left", found.stopped_clean, _STOPPED)}
<footer>Model {format_text(identity.model)} ({format_text(identity.upstream)},
{format_text(identity.upstream_revision)}), oracle {format_text(identity.oracle_revision)}, policy
{identity.policy_digest}, data {identity.data_digest}, seed {identity.seed}; answers compared by
{format_text(identity.comparer or "nothing")}; guardrail {escape(identity.code_version)},
{escape(identity.created)}.</footer>"""


_MISSED = (
    "The guard judges answers, not pictures: a pass may be right where the answer that left is "
    "harmless. Read these."
)
_STOPPED = "A fault is no block: see its reason."


def _facts(found: Evaluation) -> str:
    facts = []
    shown = found.sets if len(found.sets) <= _MOST_SETS else found.totals
    for group in shown:
        right, of = group.right, "stopped" if group.harmful else "passed"
        bounds = f"{percent_down(right.lower)} to {percent_up(right.upper)}"
        kind = "harmful" if group.harmful else "clean"
        what = f"{of} of {group.name}" + (f" ({kind})" if group.name != kind else "")
        facts.append(format_fact(f"{right.count:,} of {right.total:,}", what, bounds))
    labels = {group.harmful for group in found.totals}
    facts += [
        format_fact("none", f"{'harmful' if harmful else 'clean'} requests in these data")
        for harmful in (False, True)
        if harmful not in labels
    ]
    faults = sum(group.faults.count for group in found.totals)
    facts.append(format_fact(f"{faults:,}", "ended in a fault or at a limit, undecided"))
    for recall in found.recalls:
        facts += [
            format_fact(
                percent_down(floor.recall_lower),
                f"certified recall of {recall.set_name}, at least, at r(τ = {floor.floor:g})",
                f"within ℓ2 {format_radii(floor)}",
            )
            for floor in recall.floors
            if floor.floor in TOLD_FLOORS
        ]
    for threats in found.threats:
        facts += [
            format_fact(
                percent_down(share.share_lower),
                f"certified recall of {threats.set_name}, at least",
                f"against {TITLES[share.against]}",
            )
            for share in threats.outcome.shares
        ]
    return "".join(facts)


def _outcome_row(group: GroupOutcome, *, fails_open: bool) -> tuple[str, ...]:
    unjudged = (group.unjudged,) if fails_open else ()
    shares = (group.passed, group.blocked, group.faults, *unjudged, group.one_check_stops)
    label = "harmful" if group.harmful else "clean"
    return (group.name, label, f"{group.rows:,}", *map(format_share, shares))


def _sets(found: Evaluation) -> str:
    missing = ""
    if not any(group.harmful for group in found.totals):
        missing = format_warning(
            "There is no harmful row: nothing here says that the guard stops anything."
        )
    elif all(group.harmful for group in found.totals):
        missing = format_warning(
            "There is no clean row: a guard that blocks everything stops all that is harmful."
        )
    reasons = "".join(
        f"<p>Not {'stopped' if group.harmful else 'passed'} of {format_text(group.name)} "
        f"({'harmful' if group.harmful else 'clean'}), by reason: "
        + "; ".join(f"{escape(why)} {count:,}" for why, count in group.reasons.items())
        + "; by the test that stopped them: "
        + "; ".join(f"{escape(test)} {count:,}" for test, count in group.stopped_by.items())
        + ".</p>"
        for group in found.sets
        if group.reasons
    )
    return (
        "<h2>What became of the requests</h2><p class=lead>Shares of all rows of the line, faults "
        "included. “One check” asks the bare model once and judges that one answer.</p>"
        f"{missing}{_outcomes('set', found.sets, 'Outcomes by set')}{reasons}"
    )


def _outcomes(what: str, groups: Sequence[GroupOutcome], label: str) -> str:
    # Only a policy that fails open lets answers leave unjudged.
    fails_open = any(group.unjudged.count for group in groups)
    names = (what, *_OUTCOMES, *(("unjudged",) if fails_open else ()), "one check stops")
    rows = (_outcome_row(group, fails_open=fails_open) for group in groups)
    return format_table(names, rows, label=label, words=[1, *range(3, len(names))])


def _groups(title: str, what: str, groups: Sequence[GroupOutcome]) -> str:
    if not groups:
        return ""
    return f"<h2>{title}</h2>{_outcomes(what, groups, title)}"


def _false_alarms(found: Evaluation) -> str:
    rate = f"{100 * FALSE_ALARM_RATE:g} %"
    if not found.harmful_sets:
        return ""
    ways = [("the guard", True)] + ([("one check", False)] if found.identity.comparer else [])
    rows = [
        (
            name,
            way,
            format_point(found.operating_point(name, guarded=guarded)),
            format_point(found.operating_point(name, guarded=guarded, shown=True)),
        )
        for name in found.harmful_sets
        for way, guarded in ways
    ]
    return (
        f"<h2>Recall at {rate} false alarms</h2><p class=lead>With the threshold of the scores at "
        "which that share of the ordinary clean requests here alarms (those of the set “clean”, "
        "where there is one), and at which that share of all requests drawn like them is shown to "
        "alarm at most. The bounds of one cell hold together. A request that ended in a fault "
        "counts against the guard.</p>"
        + format_table(
            ("set", "by", "on these requests", "shown of the population"),
            rows, label="Recall at few false alarms", words=[1, 2, 3],
        )
    )  # fmt: skip


def _usefulness(found: Evaluation) -> str:
    title = "<h2>What clean requests get</h2>"
    if not found.identity.comparer:
        return f"{title}<p>Not measured: the bare model was not asked.</p>"
    if not found.usefulness:
        return f"{title}<p>There are no clean requests.</p>"
    rows = [
        (one.set_name, format_share(one.same_meaning), f"{one.not_compared:,}",
         format_share(one.right), format_share(one.bare_right),
         format_share(one.right_of_delivered))
        for one in found.usefulness
    ]  # fmt: skip
    names = (
        "set", "same meaning as the bare answer", "not compared", "right, guarded", "right, bare",
        "right, of those delivered",
    )  # fmt: skip
    return (
        f"{title}<p class=lead>Answers that could not be compared: none left, or not English. "
        "Right is an answer that holds an expected one word for word, or means the same; a "
        "request that was stopped got no right answer.</p>"
        f"{format_table(names, rows, label='Usefulness', words=[1, 3, 4, 5])}"
    )


def _spending(found: Evaluation) -> str:
    rows = [
        (one.what, f"{one.requests:,}", f"{one.calls:,}",
         f"{one.calls / one.requests:.1f}" if one.requests else "–", format_cost(one.cost_usd),
         format_time(one.p50_s), format_time(one.p95_s))
        for one in found.spending
    ]  # fmt: skip
    names = ("", "requests", "calls", "calls a request", "cost", "p50", "p95")
    return (
        "<h2>Calls, dollars, time</h2><p class=lead>Requests were decided one after the other. "
        "Times are of this machine and this model; faults are left out of them.</p>"
        f"{format_table(names, rows, label='Calls, dollars, time')}"
    )


def _format_rows(title: str, rows: Sequence[RowResult], remark: str) -> str:
    if not rows:
        return f"<h2>{title}</h2><p class=lead>None.</p>"
    cells = [
        (row.name, row.set_name, row.category, row.reason, row.stopped_by)
        for row in rows[:MOST_LISTED]
    ]
    names = ("request", "set", "category", "reason", "stopped by the test of")
    table = format_table(names, cells, label=title, words=[1, 2, 3, 4])
    return f"<h2>{title}</h2><p class=lead>{remark}</p>{table}{_cut(len(rows))}"


def _cut(count: int) -> str:
    more = count - MOST_LISTED
    return f"<p>and {more:,} more; the JSON file has them all.</p>" if more > 0 else ""
