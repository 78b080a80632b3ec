"""The report of a calibration: one HTML page for the people responsible for the decision.

It shows answers, unlike the calibration file and `--json`; it is for those who may read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from guardrail.counted_noun import count_of
from guardrail.html_page.page import write_page
from guardrail.html_page.parts import format_chart, format_fact, format_table, format_warning
from guardrail.tuning.percent import percent_down, percent_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardrail.tuning.dataset import Dataset
    from guardrail.tuning.metrics import Group
    from guardrail.tuning.outcome import CalibrationOutcome
    from guardrail.tuning.scoring import ScoredAnswer
    from guardrail.tuning.tradeoff import GuardPrice, TradeOff

__all__ = ["SHIFT_WARNING", "Report", "write_report"]

SHIFT_WARNING = (
    "The bounds hold for answers like the labelled ones: drawn in the same way, from the same "
    "model, users and attackers. Under other prompts, noise, models or attacks the oracle may miss "
    "more; label answers from your own records, and again after every change."
)
_EXAMPLES = 8
_LONGEST_CHARS = 1500


@dataclass(frozen=True, slots=True)
class Report:
    """What the page is made of; `figures` is an SVG document of the curves."""

    outcome: CalibrationOutcome
    data: Dataset
    results: Sequence[ScoredAnswer]
    figures: str


def write_report(path: Path, report: Report) -> None:
    """Writes one HTML file that needs nothing else. Raises ConfigError."""
    write_page(path, "guardrail calibration", _body(report))


def _body(report: Report) -> str:
    outcome, measured = report.outcome, report.outcome.measured
    return f"""
<h1>How well the oracle “{escape(outcome.kind)}” finds harm</h1>
<p class=lead>{escape(report.data.name)}: {outcome.counts_in_words}. The bounds count one answer of
every request. An answer counts as harmful when it scores at least {measured.threshold:g}.</p>
<div class=facts>{_headline(outcome)}</div>
<p>{_threshold_words(outcome)} {escape(outcome.in_use_in_words)}</p>
{_remarks(outcome)}
{format_warning(SHIFT_WARNING)}
<h2>What a stricter oracle costs</h2>
<p class=lead>A stricter oracle misses less harm, so under the claim “harmlessness” the guard has to
show less by asking the model again and again; but it calls more harmless answers harmful, so clean
requests have fewer harmless answers to show. Calls are those of a usual, clean request under this
policy. {escape(outcome.other_targets_in_words)} All bounds of misses in this table hold together
with probability at least {1 - measured.delta:g}, and so do all bounds of false alarms.</p>
{_tradeoffs(outcome)}
<h2>Curves</h2>{format_chart(report.figures, "Curves")}
{_recalls(outcome)}
{_groups("By category", outcome.categories)}{_groups("By language", outcome.languages)}
{_examples(report)}
{_notes(report)}"""


def _headline(outcome: CalibrationOutcome) -> str:
    measured, area = outcome.measured, outcome.area
    ours = [
        (percent_up(measured.miss_rate_upper), "of harmful answers missed, at most",
         f"seen here: {measured.misses:,} of {measured.harmful:,}"),
        (percent_up(measured.false_alarm_rate_upper), "of harmless answers blocked, at most",
         f"seen here: {measured.false_alarms:,} of {measured.harmless:,}"),
        ("–" if area is None else f"{area.auc:.4f}", "area under the ROC curve",
         "" if area is None or area.lower is None or area.upper is None
         else f"95 % interval {area.lower:.4f} to {area.upper:.4f} (DeLong)"),
        (outcome.price.calls_in_words, "model calls per clean request",
         f"harmless share to show: {_require(outcome.price)}"),
        (f"{outcome.ms_per_answer:.2f} ms", "per answer judged", ""),
    ]  # fmt: skip
    return "".join(format_fact(*one) for one in ours)


def _remarks(outcome: CalibrationOutcome) -> str:
    return "".join(format_warning(remark) for remark in outcome.remarks)


def _threshold_words(outcome: CalibrationOutcome) -> str:
    measured = outcome.measured
    if measured.target is None:
        how = f"The threshold was {outcome.threshold_in_words}."
    else:
        how = (
            f"The threshold is the largest one for which these answers show a miss rate of at most "
            f"{measured.target:g}. Because it was chosen on them, the bound is that target; the "
            "share seen here would be too good."
        )
    return f"{how} Each bound holds with probability at least {1 - measured.delta:g}."


def _tradeoffs(outcome: CalibrationOutcome) -> str:
    names = ["missed, at most", "threshold", "false alarms here", "at most",
             "harmless share to show", "calls per clean request"]  # fmt: skip
    names += ["US$ per request"] * outcome.knows_prices
    rows = (_tradeoff(row)[: len(names)] for row in outcome.other_targets)
    return format_table(names, rows, label="What a stricter oracle costs")


def _tradeoff(row: TradeOff) -> tuple[str, ...]:
    if row.measured is None or row.price is None:
        return (percent_up(row.target), "too few labels", *["–"] * 5)
    measured, cost = row.measured, row.price
    return (
        percent_up(row.target),
        f"{measured.threshold:g}",
        percent_up(measured.false_alarm_rate),
        percent_up(measured.false_alarm_rate_upper),
        _require(cost),
        cost.calls_in_words,
        "–" if cost.usd is None else f"{cost.usd:.4f}",
    )


def _require(cost: GuardPrice) -> str:
    return "cannot be promised" if cost.q_required is None else f"{cost.q_required:.4f}"


def _recalls(outcome: CalibrationOutcome) -> str:
    if not outcome.recalls:
        return ""
    names = ("false alarms here", "threshold", "harm found", "at least", "at most")
    rows = (
        (percent_up(r.false_alarm_rate), f"{r.threshold:.6g}", percent_down(r.recall),
         percent_down(r.recall_lower), percent_up(r.recall_upper))
        for r in outcome.recalls
    )  # fmt: skip
    return (
        "<h2>Harm found at few false alarms</h2><p class=lead>One-sided 95 % bounds, each by "
        f"itself.</p>{format_table(names, rows, label='Harm found at few false alarms')}"
    )


def _groups(title: str, found: Sequence[Group]) -> str:
    if not found:
        return ""
    names = ("", "harmful", "missed", "at most", "harmless", "false alarms", "at most")
    rows = (
        (g.name, f"{g.n_harmful:,}", f"{g.misses:,}", percent_up(g.miss_rate_upper),
         f"{g.n_harmless:,}", f"{g.false_alarms:,}", percent_up(g.false_alarm_rate_upper))
        for g in found
    )  # fmt: skip
    return (
        f"<h2>{title}</h2><p class=lead>For seeing where the oracle is weak. One-sided 95 % bounds,"
        " each by itself and as if the threshold had been fixed beforehand: not for a policy.</p>"
        f"{format_table(names, rows, label=title)}"
    )


def _examples(report: Report) -> str:
    at, results = report.outcome.measured.threshold, report.results
    missed = [r for r in results if r.row.harmful and r.scored.score < at]
    alarms = [r for r in results if not r.row.harmful and r.scored.score >= at]
    failed = [r for r in results if r.scored.unscanned or r.scored.failed]
    parts = (
        ("Harmful answers that it missed by most", sorted(missed, key=_score)),
        ("Harmless answers that it blocked by most", sorted(alarms, key=_score, reverse=True)),
        ("Answers that it could not judge; they count as judged harmful", failed),
    )
    return "".join(
        f"<h2>{title}</h2>{''.join(map(_example, rows[:_EXAMPLES]))}"
        for title, rows in parts
        if rows
    )


def _score(result: ScoredAnswer) -> float:
    return result.scored.score


def _example(result: ScoredAnswer) -> str:
    row, scored = result.row, result.scored
    label = "harmful" if row.harmful else "harmless"
    more = "".join(f", {escape(text)}" for text in (row.category, row.language) if text)
    prompt = f"<p><b>Prompt</b></p><pre>{_cut(row.prompt)}</pre>" if row.prompt else ""
    name = f" ({_cut(row.name)})" if row.name else ""
    return (
        f"<details><summary>line {row.line}{name}: labelled {label}{more}, "
        f"score {scored.score:.4f}, {scored.ms:.1f} ms</summary>{prompt}<p><b>Answer</b></p>"
        f"<pre>{_cut(row.response)}</pre></details>"
    )


def _cut(text: str) -> str:
    rest = len(text) - _LONGEST_CHARS
    more = f" … ({count_of(rest, 'character')} more)" if rest > 0 else ""
    return escape(text[:_LONGEST_CHARS]) + more


def _notes(report: Report) -> str:
    outcome, data = report.outcome, report.data
    lines = [f"SHA-256 of the rows: {data.digest}."]
    lines.append(
        f"{count_of(outcome.n_unscanned, 'answer')} had a part that the oracle cannot look into "
        f"and counted as judged harmful, and {outcome.n_failed:,} could not be judged and counted "
        "so too."
    )
    if data.problems:
        listed = ", ".join(f"line {p.line} ({p.what})" for p in data.problems[:50])
        lines.append(f"{count_of(len(data.problems), 'row')} could not be used: {listed}.")
    if data.repeated:
        lines.append(
            f"{count_of(len(data.repeated), 'row repeats', 'rows repeat')} an earlier prompt and "
            f"answer, {len(data.contradictory):,} of them with the other label."
        )
    if outcome.design == "stratified":
        lines.append("Every answer counts by its weight; misses above are plain counts.")
    return f"<footer>{'<br>'.join(map(escape, lines))}</footer>"
