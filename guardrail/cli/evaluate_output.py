"""What `guardrail evaluate` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from guardrail.counted_noun import count_of

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.evaluation.benchmark.evaluation import Evaluation
    from guardrail.evaluation.benchmark.shares import GroupOutcome

__all__ = ["print_evaluation"]

_MOST_NAMED = 10


def print_evaluation(found: Evaluation, out: Path) -> None:
    """The evaluation in tables, on standard output."""
    from guardrail.cli.tables import print_table
    from guardrail.engine.wording import confidence_down

    names = ("", "label", "passed", "blocked", "faults", "one check stops")
    for title, groups in (
        ("What became of the requests", found.sets),
        ("By category", found.categories),
        ("By language", found.languages),
    ):
        if groups:
            print_table(title, names, map(_row, groups))
    _print_recall(found)
    _print_false_alarms(found)
    _print_beside(found)
    _print_usefulness(found)
    _print_spending(found)
    _print_names("harmful requests of which an answer left", [r.name for r in found.missed])
    _print_names("clean requests of which none left", [r.name for r in found.stopped_clean])
    click.echo(
        f"every interval by itself, and all lines of one table of certified recall together, with "
        f"confidence {confidence_down(found.identity.delta)}\n"
        f"written: {out / 'evaluation.html'}, {out / 'evaluation.json'}"
    )


def _row(group: GroupOutcome) -> tuple[str, ...]:
    from guardrail.evaluation.benchmark.share_words import format_share

    shares = (group.passed, group.blocked, group.faults, group.one_check_stops)
    label = "harmful" if group.harmful else "clean"
    return (group.name, label, *map(format_share, shares))


def _print_recall(found: Evaluation) -> None:
    from guardrail.cli.tables import print_table
    from guardrail.evaluation.benchmark.page_recall import format_radii
    from guardrail.tuning.percent import percent_down

    if not found.recalls:
        click.echo(f"certified recall: not measured, {found.recall_left_out}")
    for recall in found.recalls:
        rows = [
            (
                f"{floor.floor:g}",
                format_radii(floor),
                f"{floor.shown:,} of {len(recall.outcome.results):,}",
                percent_down(floor.recall_lower),
            )
            for floor in recall.floors
        ]
        print_table(
            f"Certified recall of '{recall.set_name}'",
            ("τ", "r(τ)", "shown held", "recall, at least"),
            rows,
        )
    _print_threats(found)


def _print_threats(found: Evaluation) -> None:
    from guardrail.cli.tables import print_table
    from guardrail.engine.threat_wording import TITLES
    from guardrail.tuning.percent import percent_down

    if found.threats_left_out and found.threats_left_out != found.recall_left_out:
        click.echo(f"certified recall per threat: not measured, {found.threats_left_out}")
    for threats in found.threats:
        rows = [
            (TITLES[one.against], f"{one.shown:,} of {len(threats.outcome.results):,}",
             percent_down(one.share_lower))
            for one in threats.outcome.shares
        ]  # fmt: skip
        print_table(
            f"Certified recall of '{threats.set_name}' against each threat",
            ("threat", "shown held", "recall, at least"),
            rows,
        )


def _print_false_alarms(found: Evaluation) -> None:
    from guardrail.evaluation.benchmark.false_alarms import FALSE_ALARM_RATE
    from guardrail.evaluation.benchmark.share_words import format_point

    for name in found.harmful_sets:
        for way, guarded in (("guard", True), ("one check", False)):
            if guarded or found.identity.comparer:
                point = found.operating_point(name, guarded=guarded)
                click.echo(
                    f"recall of '{name}' at {FALSE_ALARM_RATE:.0%} false alarms, {way}: "
                    f"{format_point(point)}"
                )


def _print_beside(found: Evaluation) -> None:
    """One line of each guard; how much of each threat stands on the page and in the JSON file."""
    from guardrail.cli.tables import print_table
    from guardrail.evaluation.benchmark.page_beside import told_columns
    from guardrail.evaluation.benchmark.share_words import format_recall, format_share
    from guardrail.tuning.percent import percent_down

    beside = found.beside
    if beside is None:
        return
    columns = told_columns(beside)
    shown = [c.threat if c.floor is None else f"r({c.floor:g})" for c in columns]
    for name in beside.harmful_sets:
        rows = []
        for guard in beside.guards:
            line = beside.line(guard, name)
            shares = [line.certified.get(column) for column in columns]
            rows.append(
                (guard.name, format_share(line.passed), format_share(line.stopped),
                 format_recall(line.point),
                 *(percent_down(None if share is None else share.recall_lower) for share in shares))
            )  # fmt: skip
        print_table(
            f"Beside other guards, on the {count_of(len(beside.matched), 'request')} of all "
            f"reports, '{name}'; certified recall, at least:",
            ("", "clean passed", "harmful stopped", "recall at 1 %", *shown),
            rows,
        )


def _print_usefulness(found: Evaluation) -> None:
    from guardrail.evaluation.benchmark.share_words import format_share

    for one in found.usefulness:
        marked = ""
        if one.right.total:
            marked = (
                f"; right {format_share(one.right)} guarded, {format_share(one.bare_right)} bare"
            )
        click.echo(
            f"clean requests of '{one.set_name}': same meaning as the bare answer "
            f"{format_share(one.same_meaning)}, {one.not_compared:,} not compared{marked}"
        )


def _print_spending(found: Evaluation) -> None:
    from guardrail.evaluation.benchmark.share_words import format_cost, format_time

    for one in found.spending:
        times = ""
        if one.p50_s is not None:
            times = f", p50 {format_time(one.p50_s)}, p95 {format_time(one.p95_s)}"
        click.echo(
            f"{one.what}: {count_of(one.calls, 'call')} for {count_of(one.requests, 'request')}, "
            f"{format_cost(one.cost_usd)}{times}"
        )


def _print_names(what: str, names: list[str]) -> None:
    from guardrail.printable import show_text

    if names:
        more = f", and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        click.echo(f"{what}: {', '.join(map(show_text, names[:_MOST_NAMED]))}{more}")
