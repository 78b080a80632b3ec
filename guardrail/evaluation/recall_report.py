"""The page of a measurement of recall: one HTML file for the people responsible for the guard.

It shows prompts and names of the forbidden requests; it is for those who may read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from guardrail.counted_noun import count_of
from guardrail.engine.threat_wording import TITLES
from guardrail.engine.wording import confidence_down, digits_down
from guardrail.evaluation.recall_facts import Blindness
from guardrail.html_page.figure import Curve, Panel, figure
from guardrail.html_page.page import write_page
from guardrail.html_page.parts import format_chart, format_fact, format_table, format_warning
from guardrail.tuning.percent import percent_down, percent_up

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from guardrail.evaluation.clean import CleanTraffic
    from guardrail.evaluation.recall_outcome import RecallOutcome
    from guardrail.policy.recall import Recall

__all__ = ["REASONS", "RecallReport", "draw_recall", "write_recall_report"]

REASONS: Mapping[Blindness, str] = {
    Blindness.HARMLESS: "the oracle calls its answers harmless",
    Blindness.REFUSED: "the provider refuses, which this policy counts as harmless",
    Blindness.MISSING: "answers are missing, which count as harmless here",
    Blindness.UNDECIDED: "harmful often enough, but not shown in so many draws",
}
"""Why a request is not shown held."""

_LIMIT = (
    "This speaks of requests drawn like the measured ones. An attacker who chooses the request "
    "chooses one of the blind spots below. The requests must not have served to choose the noise, "
    "the canvas, the model, the oracle or its threshold."
)
_LONGEST_CHARS = 300


@dataclass(frozen=True, slots=True)
class RecallReport:
    """What the page is made of; `left_out` says which views were not measured."""

    outcome: RecallOutcome
    recall: Recall
    left_out: str = ""


def write_recall_report(path: Path, report: RecallReport) -> None:
    """Writes one HTML file that needs nothing else. Raises ConfigError."""
    write_page(path, "guardrail recall", _body(report))


def draw_recall(outcome: RecallOutcome) -> str:
    """The share that is held by radius, as SVG."""
    curve, radii = outcome.curve, sorted(outcome.radii)
    # Beyond the farthest request that was shown held there is nothing to see.
    steps = [step for step in curve.radii if step <= radii[-1]] or [0.0]
    bound = [
        point
        for low, high in pairwise([0.0, *steps])
        for point in ((low, curve.at(high)), (high, curve.at(high)))
    ]
    count = len(radii)
    seen = [
        point
        for i, radius in enumerate(radii)
        if radius >= 0.0
        for point in ((radius, (count - i) / count), (radius, (count - i - 1) / count))
    ]
    start = [(0.0, sum(radius >= 0.0 for radius in radii) / count)]
    marks = tuple((r.radius, f"{r.recall:g}") for r in outcome.reaches if r.radius is not None)
    return figure(
        (
            Panel(
                "Share of forbidden requests that is held",
                "radius (l2, pixels in [0, 1])",
                "recall",
                (
                    Curve("at least", (*bound, (steps[-1], 0.0))),
                    Curve("measured", (*start, *seen), dashed=True),
                ),
                marks,
            ),
        ),
        in_page=True,
    )


def _body(report: RecallReport) -> str:
    recall, outcome = report.recall, report.outcome
    return f"""
<h1>What the policy “{escape(recall.policy)}” stops, and how far out</h1>
<p class=lead>{escape(recall.data)}: {count_of(recall.data_requests, "forbidden request")} in
{count_of(recall.data_clusters, "cluster")} of near-copies. One of each was drawn at random
beforehand, {recall.requests:,} in all; the model answered
{count_of(recall.draws, "noisy variant")} of each.</p>
<div class=facts>{_facts(report)}</div>
<p class=promise>{escape(recall.statement().sentence)}</p>
{format_warning(_LIMIT)}
<h2>Recall against radius</h2>
<p class=lead>The steps are lower bounds that hold at all radii together with confidence
{confidence_down(recall.delta)}. The dashed line counts the measured requests that are shown held;
it is not a bound.</p>
{format_chart(draw_recall(outcome), "Recall against radius")}
{_threats(report)}
{_blind(outcome)}
{_clean(outcome.clean)}
<footer>Model {escape(recall.model)} ({escape(recall.upstream)},
{escape(recall.upstream_revision)}), oracle {escape(recall.oracle_revision)},
policy {recall.policy_digest}, requests {recall.data_digest}, this measurement {recall.digest};
guardrail {escape(recall.code_version)}, {escape(recall.created)}.</footer>"""


def _facts(report: RecallReport) -> str:
    recall, clean = report.recall, report.outcome.clean
    facts = [
        (
            "not shown" if reach.radius is None else digits_down(reach.radius),
            f"radius at recall {digits_down(reach.recall)}",
        )
        for reach in recall.reaches
    ]
    if clean is None:
        facts.append(("not measured", "of clean requests passed"))
    else:
        share = f"{clean.passed:,} of {len(clean.decisions):,}"
        facts.append((share, "clean requests passed under the same policy"))
    facts.append((f"{len(recall.held):,} of {recall.requests:,}", "shown held as they are"))
    price = "" if recall.cost_usd is None else f", US$ {recall.cost_usd:.2f}"
    facts.append((f"{recall.calls:,}", f"calls of the model{price}"))
    return "".join(format_fact(value, what) for value, what in facts)


def _threats(report: RecallReport) -> str:
    threats = report.outcome.threats
    if threats is None:
        return format_warning(f"{report.left_out}.") if report.left_out else ""
    rows = (
        (TITLES[one.against], f"{one.shown:,} of {len(threats.results):,}",
         digits_down(one.share_lower), sentence)
        for one, sentence in threats.state_shares(report.recall.alpha)
    )  # fmt: skip
    names = ("threat", "shown held", "share, at least", "in words")
    answers = count_of(threats.design.draws, "answer")
    return (
        f"<h2>Held against each threat</h2><p class=lead>{answers} to each view, without noise; "
        f"the bounds hold together with confidence {confidence_down(threats.design.delta)}.</p>"
        f"{format_table(names, rows, label='Held against each threat', words=[0, 3])}"
    )


def _blind(outcome: RecallOutcome) -> str:
    title = "<h2>Blind spots: requests that are not shown held, even unchanged</h2>"
    if not outcome.blind:
        return f"{title}<p class=lead>None among those that were measured.</p>"
    prompts = {digest: request.prompt for digest, request in outcome.requests.drawn}
    rows = (
        (result.name, REASONS[why], f"{result.counts.harmless:,}", f"{result.counts.refused:,}",
         f"{result.counts.missing:,}", f"{result.counts.samples:,}", _cut(prompts[result.digest]))
        for result, why in outcome.blind
    )  # fmt: skip
    names = ("request", "why", "called harmless", "refused", "missing", "drawn", "prompt")
    return (
        f"{title}<p class=lead>{len(outcome.blind):,} of {len(outcome.results):,}. These are what "
        "the guard lets through or might let through: look at each. A request is given up, and "
        "drawn no further, once it can no longer be shown held.</p>"
        f"{format_table(names, rows, label='Blind spots', words=[1, 6])}"
    )


def _clean(clean: CleanTraffic | None) -> str:
    title = "<h2>Clean requests under the same policy</h2>"
    if clean is None:
        return title + format_warning(
            "Not measured. A guard that blocks everything has recall 1: measure clean requests "
            "as well (--clean)."
        )
    lower, upper = percent_down(clean.rate_lower), percent_up(clean.rate_upper)
    reasons = "; ".join(f"{escape(why)}: {count:,}" for why, count in clean.reasons().items())
    tests = "; ".join(f"{escape(test)}: {count:,}" for test, count in clean.stopped_by().items())
    others = f"The others: {reasons}. Stopped by the test of: {tests}." if reasons else ""
    return (
        f"{title}<p>{clean.passed:,} of {len(clean.decisions):,} passed: between "
        f"{lower} and {upper} of requests drawn like them, with confidence "
        f"{confidence_down(clean.delta)}. {others}</p>"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_CHARS else f"{text[:_LONGEST_CHARS]} …"
