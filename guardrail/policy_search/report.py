"""The report of a search: one HTML page that needs nothing else. It holds no prompt, no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.counted_noun import count_of
from guardrail.html_page.page import write_page
from guardrail.html_page.parts import format_fact, format_table, format_text, format_warning
from guardrail.policy_search.facts import INTERVAL_DELTA, front_intervals
from guardrail.policy_search.numbers import FIELDS
from guardrail.policy_search.search import goal_radius
from guardrail.policy_search.wording import (
    describe_change,
    describe_check,
    describe_counts,
    describe_error,
    describe_reason,
    describe_why,
    format_share,
    format_value,
    list_numbers,
)

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.policy_search.measured import Measured
    from guardrail.policy_search.tuned import Tuned

__all__ = ["front_columns", "front_rows", "write_report"]


def write_report(
    path: Path,
    tuned: Tuned,
    policy: str,
    data: str,
    proposal: str | None,
    left_out: str = "",
) -> None:
    """Writes the page; `left_out` says which tests it is not about. Raises ConfigError."""
    warning = format_warning(f"{left_out}.") if left_out else ""
    write_page(path, "guardrail tune", _body(tuned, policy, data, proposal, warning))


def front_columns(radius: float | None) -> list[str]:
    """Of the table of the front."""
    held = [] if radius is None else [f"held within {radius:g}"]
    return ["threshold", "radius", "floor", "other", "false alarms", "missed harm", *held, "calls"]


def front_rows(tuned: Tuned) -> list[list[str]]:
    """The front, fewest calls first, each share with its interval."""
    radius = goal_radius(tuned.design.goals)
    rows = []
    for one in tuned.front:
        measured, numbers = one.measured, one.candidate
        intervals = front_intervals(measured, radius)
        other = [
            f"{name} {format_value(new)}"
            for name, (_, new) in numbers.changes(tuned.base).items()
            if name not in ("threshold", "radius", "floor") and new is not None
        ]
        rows.append(
            [
                "–" if numbers.threshold is None else f"{numbers.threshold:g}",
                f"{numbers.radius:g}",
                f"{numbers.floor:g}",
                ", ".join(other),
                _share(measured.false_alarms, measured.ordinary, intervals["false_alarms"]),
                _share(measured.missed, measured.forbidden, intervals["missed_harm"]),
                *(
                    []
                    if radius is None
                    else [
                        _share(measured.shown(radius), measured.forbidden, intervals["shown_held"])
                    ]
                ),
                f"{measured.mean_calls:.1f}",
            ]
        )
    return rows


def _share(count: int, total: int, interval: tuple[float, float]) -> str:
    low, high = format_share(interval[0], up=False), format_share(interval[1], up=True)
    return f"{count:,} of {total:,} ({low} to {high})"


def _body(tuned: Tuned, policy: str, data: str, proposal: str | None, warning: str) -> str:
    measured = tuned.front[0].measured
    return f"""
<h1>Numbers for the goals of “{format_text(policy)}”</h1>
<p class=lead>{format_text(data)}. {count_of(tuned.candidates, "candidate was", "candidates were")}
searched on {measured.ordinary:,} ordinary and
{count_of(measured.forbidden, "forbidden request")}; the other half confirmed.</p>
{warning}{_verdict(tuned)}
<h2>Goals</h2>{_goals(tuned)}
{_changes(tuned)}
{_proposal(proposal)}
<h2>Candidates that no other one beats</h2>
<p class=lead>On the half that was searched, fewest calls first. Each interval holds by itself
({100 - 100 * INTERVAL_DELTA:g} %, Clopper–Pearson) and is not corrected for the choice: only
finalists are confirmed. Held: requests that are shown to be stopped within that change of their
pixels.</p>
{_front(tuned)}
<footer><abbr title="β = {tuned.design.error:g}, shared by {tuned.design.finalists} finalists
(Bonferroni), 6/(π² j²) of it in run j, Clopper–Pearson, one-sided">How sure this is</abbr>, for
requests drawn like these: {format_text(describe_error(tuned.design))}. What a run searches may not
be chosen by what earlier ones showed of the confirmation half.
Seed of the halves {tuned.design.seed}.</footer>"""


def _front(tuned: Tuned) -> str:
    names = front_columns(goal_radius(tuned.design.goals))
    return format_table(names, front_rows(tuned), label="Candidates", words=[3])


def _verdict(tuned: Tuned) -> str:
    radius = goal_radius(tuned.design.goals)
    if tuned.proposed is None:
        reasons = "".join(f"<li>{format_text(describe_reason(x))}.</li>" for x in tuned.reasons)
        return (
            format_warning("Nothing is proposed: no candidate is shown to meet every goal.")
            + f"<ul>{reasons}{_unseparated(tuned)}</ul>"
        )
    return f"<div class=facts>{_cards(tuned.proposed.measured, radius)}</div>"


def _unseparated(tuned: Tuned) -> str:
    if not tuned.finalists or any(one.separates for one in tuned.finalists):
        return ""
    return (
        "<li>Ordinary requests are not shown to pass more often than forbidden ones: the labels, "
        "or the oracle, may say nothing about harm.</li>"
    )


def _cards(measured: Measured, radius: float | None) -> str:
    cards = [
        (f"{measured.false_alarms:,} of {measured.ordinary:,}", "ordinary requests stopped"),
        (f"{measured.missed:,} of {measured.forbidden:,}", "forbidden requests let through"),
    ]
    if radius is not None:
        shown = f"{measured.shown(radius):,} of {measured.forbidden:,}"
        cards.append((shown, f"forbidden requests shown held within {radius:g}"))
    cards.append((f"{measured.mean_calls:.1f}", "calls of an ordinary request"))
    return "".join(format_fact(value, what) for value, what in cards)


def _goals(tuned: Tuned) -> str:
    one = tuned.proposed or tuned.nearest
    checks = () if one is None else one.checks
    which = "the proposed policy" if tuned.proposed else "the candidate that comes nearest"
    items = "".join(f"<li>{format_text(describe_check(check))}.</li>" for check in checks)
    now = ""
    if tuned.now is not None:
        counts = describe_counts(tuned.now, goal_radius(tuned.design.goals))
        now = f"<p>The policy as it is, on the confirmation half: {format_text(counts)}.</p>"
    return f"<p>Of {which}:</p><ul>{items}</ul>{now}"


def _changes(tuned: Tuned) -> str:
    if tuned.proposed is None:
        if tuned.nearest is None:
            return ""
        rows = [list(row) for row in list_numbers(tuned.nearest.candidate)]
        table = format_table(["field", "nearest candidate"], rows, label="What comes nearest")
        return f"<h2>What comes nearest</h2>{table}"
    radius = goal_radius(tuned.design.goals)
    rows = [
        [FIELDS[name], format_value(new),
         describe_change(name, old, new), describe_why(name, tuned, radius)]
        for name, (old, new) in tuned.proposed.candidate.changes(tuned.base).items()
    ]  # fmt: skip
    if not rows:
        return "<p>The policy's own numbers meet its goals.</p>"
    names = ["field", "value", "what it does", "why"]
    return f"<h2>What changes</h2>{format_table(names, rows, label='What changes', words=[2, 3])}"


def _proposal(proposal: str | None) -> str:
    if proposal is None:
        return ""
    lines = "\n".join(format_text(line) for line in proposal.splitlines())
    return f"<h2>The proposed policy</h2><pre>{lines}</pre>"
