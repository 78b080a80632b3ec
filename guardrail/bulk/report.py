"""The page of a bulk job: one HTML file for the people responsible for the pictures.

It shows names of rows, no picture and no answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from guardrail.counted_noun import count_of
from guardrail.engine.wording import digits_down, digits_up
from guardrail.html_page.page import write_page
from guardrail.html_page.parts import format_fact, format_table, format_warning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardrail.bulk.content_key import JobSettings
    from guardrail.bulk.outcome import RowOutcome
    from guardrail.bulk.summary import BulkSummary

__all__ = ["BulkReport", "write_bulk_report"]


@dataclass(frozen=True, slots=True)
class BulkReport:
    """What the page says.

    Attributes:
        source: name of the source.
        summary: of its rows.
        settings: of the job.
        promise: the policy's, as a sentence; empty where it has none for pictures.
        alpha: failure probability of one decision.
        tries: decisions that asked a model, in all runs of the job, failed ones included.
        calls: to the model, in all runs.
        cost_usd: of them; None where some have no known price.
        stopped: why the job ended before its source did; empty where it did not.
    """

    source: str
    summary: BulkSummary
    settings: JobSettings
    promise: str
    alpha: float
    tries: int
    calls: int
    cost_usd: float | None
    stopped: str = ""

    @property
    def expected_wrong_upper(self) -> float:
        """The number of wrong certificates to be expected, at most: alpha for each try."""
        return self.tries * self.alpha


def write_bulk_report(path: Path, report: BulkReport) -> None:
    """Raises ConfigError where the page cannot be written."""
    write_page(path, f"Moderation of {report.source}", _body(report))


def _body(report: BulkReport) -> str:
    summary, settings = report.summary, report.settings
    return f"""
<h1>What the policy “{escape(settings.policy)}” says of {count_of(summary.rows, "picture")}</h1>
<p class=lead>Of {escape(report.source)}: each picture was sent with its question to
{escape(settings.model or "the model")}, in noisy variants, and passes only where an exact test over
the judged answers allows it.</p>
{format_warning(f"The job is not over: {report.stopped}") if report.stopped else ""}
<div class=facts>{_facts(report)}</div>
<h2>Why</h2>
{_reasons(summary)}
{_promises(report)}
{_examples("Blocked", "What the policy stops.", summary.blocked, summary.blocked_examples)}
{
        _examples(
            "Not decided",
            "Nothing is said of these: they are no blocks, and the same command tries them again.",
            summary.not_decided,
            summary.undecided_examples,
        )
    }
<footer>Model {escape(settings.model)} ({escape(settings.upstream)}), oracle
{escape(settings.oracle_revision)}, policy {settings.policy_digest}, noise key
{escape(settings.key_id)}.</footer>"""


def _facts(report: BulkReport) -> str:
    summary = report.summary
    price = "price not known" if report.cost_usd is None else f"US$ {report.cost_usd:,.2f}"
    shared = f"{summary.same_as_others:,} by the decision of an equal row"
    facts = (
        (f"{summary.passed:,}", "passed", ""),
        (f"{summary.blocked:,}", "blocked", ""),
        (f"{summary.not_decided:,}", "not decided", "neither passed nor blocked"),
        (f"{summary.rows:,}", "rows", shared if summary.same_as_others else ""),
        (f"{report.calls:,}", "calls of the model, all runs together", price),
    )
    return "".join(format_fact(value, what, more) for value, what, more in facts)


def _reasons(summary: BulkSummary) -> str:
    rows = [
        (decision, reason, stopped_by, f"{count:,}")
        for (decision, reason, stopped_by), count in summary.reasons.most_common()
    ]
    names = ("decision", "reason", "stopped by the test of", "rows")
    return format_table(names, rows, label="Reasons", words=[1, 2])


def _promises(report: BulkReport) -> str:
    """What was promised before and what passes earned, which are two things."""
    quartiles = report.summary.radius_quartiles()
    said = f"<p class=promise>{escape(report.promise)}</p>" if report.promise else ""
    if quartiles is not None:
        low, middle, high = map(digits_down, quartiles)
        said += (
            "<p>What the passes earned: a radius each, and what it means stands in each "
            f"certificate. A quarter of the radii lie at or below {low}, half at or below "
            f"{middle}, three quarters at or below {high}.</p>"
        )
    expected = digits_up(report.expected_wrong_upper)
    return (
        f"<h2>What a pass means</h2>{said}<p>In {count_of(report.tries, 'decision')} at most "
        f"{expected} wrong certificates are expected ({digits_up(report.alpha)} each, however "
        "often a row was tried).</p>"
    )


def _examples(title: str, lead: str, count: int, outcomes: Sequence[RowOutcome]) -> str:
    if not count:
        return ""
    shown = "" if count == len(outcomes) else f" The first {len(outcomes):,} of {count:,}:"
    rows = [
        (
            one.name,
            one.reason,
            one.stopped_by,
            one.problem or one.known_picture or ", ".join(one.harmful) or one.same_as,
        )
        for one in outcomes
    ]
    names = ("row", "reason", "stopped by the test of", "more")
    table = format_table(names, rows, label=title, words=[1, 2, 3])
    return f"<h2>{title}</h2><p class=lead>{lead}{shown}</p>{table}"
