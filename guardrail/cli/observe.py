"""`guardrail observe`: what observe mode saw, and whether it is enough to enforce."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from guardrail.cli.options import place_option, read_time
from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.observed.graduation import PolicyReport

__all__ = ["command"]


class _Share(click.ParamType[float]):
    """A share above 0 and below 1: 1% or 0.01."""

    name = "share"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value).strip()
        try:
            number = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
        except ValueError:
            number = 0.0
        if not 0.0 < number < 1.0:
            self.fail(f"{text!r} is no share; write 1% or 0.01", param, ctx)
        return number


@click.group("observe")
def command() -> None:
    """Say what enforcing would have stopped, from the records of observe mode."""


@command.command("report")
@place_option
@click.option("--policy", "policy_name", help="Of this policy alone.  [default: each by itself]")
@click.option("--since", help="Made at this time or later: ISO 8601, UTC without a zone.")
@click.option("--until", help="Made before this time.")
@click.option("--limit", type=_Share(), default="1%", show_default=True,
              help="Largest share of requests that enforcing may stop.")  # fmt: skip
@click.option("--delta", type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
              default=0.05, show_default=True,
              help="Probability, at most, that an interval is wrong: by day or key at one look, "
              "of the advice at any.")  # fmt: skip
@click.option("--report", "report_file", type=click.Path(path_type=Path, dir_okay=False),
              help="Write an HTML page; it shows counts and ids, no content.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def _report(
    place: str,
    policy_name: str | None,
    since: str | None,
    until: str | None,
    limit: float,
    delta: float,
    report_file: Path | None,
    as_json: bool,
) -> None:
    """Count what would have been stopped, by day, key and category, and say whether to enforce.

    The exit code is 0 whatever the advice is.
    """
    from guardrail.cli.output import require_writable
    from guardrail.observed.graduation import report_policy
    from guardrail.observed.report import write_observe_report
    from guardrail.observed.tally import tally_rows
    from guardrail.records.observed_rows import read_observed

    if report_file is not None:
        require_writable(report_file)
    rows = read_observed(place, since=read_time("since", since), until=read_time("until", until))
    if policy_name is not None:
        rows = (row for row in rows if row.policy == policy_name)
    reports = [report_policy(tally, limit=limit, delta=delta) for tally in tally_rows(rows)]
    if not reports:
        raise ConfigError(
            "there are no records of observe mode here; set mode: observe in the policy and keep "
            "records, and check --policy, --since and --until",
            field="records",
        )
    if report_file is not None:
        write_observe_report(report_file, reports)
    if as_json:
        click.echo(json.dumps({"policies": [report.facts() for report in reports]}))
        return
    for report in reports:
        _tell(report)
    if report_file is not None:
        click.echo(f"written: {report_file}")


def _tell(report: PolicyReport) -> None:
    from guardrail.cli.tables import print_table
    from guardrail.tuning.percent import percent_down, percent_up

    total, tally = report.total, report.tally
    group, counts, of_all = total.group, total.group.counts, total.of_all
    click.echo(
        f"{tally.name}: {report.advice.value}\n  {report.advice_in_words}\n"
        f"  {count_of(counts.requests, 'request')} ({group.distinct:,} distinct), "
        f"{counts.chosen:,} chosen, {counts.decided:,} decided: {counts.stopped:,} would have been "
        f"stopped, {counts.decided - counts.stopped:,} let through; {counts.undecided:,} not "
        f"decided ({counts.skipped:,} as the line was full)\n"
        "  the bounds of the advice hold however often you look; those below for one look each"
    )
    if of_all is not None:
        click.echo(
            f"  of all {count_of(group.distinct, 'distinct request')} {percent_down(of_all.lower)} "
            f"to {percent_up(of_all.upper)} would have been stopped, by the share that was decided"
        )
    if total.is_split:
        click.echo(
            f"  {count_of(group.always.requests, 'request')} came by routes that decide every one: "
            "a stratum by itself beside the share"
        )
    names = ("", "requests", "decided", "stopped", "of distinct at least", "at most")
    for title, groups in (("by day", report.days), ("by key", report.keys)):
        rows = (
            (one.name or "none", f"{one.group.counts.requests:,}",
             f"{one.group.counts.decided:,}", f"{one.group.counts.stopped:,}",
             percent_down(one.rate.lower), percent_up(one.rate.upper))
            for one in groups
        )  # fmt: skip
        print_table(title, names, rows)
    if tally.categories:
        stops = ((name, f"{count:,}") for name, count in tally.categories.most_common())
        print_table("by category", ("", "stopped"), stops)
