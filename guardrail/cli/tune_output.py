"""What `guardrail tune` found: the proposed policy, the report, and words on standard output."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.counted_noun import count_of

if TYPE_CHECKING:
    from guardrail.policy.schema import Policy
    from guardrail.policy_search.tuned import Tuned

__all__ = ["write_results"]

_MOST_SHOWN = 15


def write_results(
    tuned: Tuned,
    policy: Policy,
    data: str,
    left_out: str,
    options: dict[str, Any],
    out: Path | None,
    report_file: Path | None,
) -> None:
    """Writes the proposed policy and the report, and prints what was found.

    `left_out` says which tests of the policy it is not about; empty where it is about all.
    """
    from guardrail.policy_search.facts import tuned_facts
    from guardrail.policy_search.proposal import write_proposal
    from guardrail.policy_search.report import write_report

    proposal = None
    if tuned.proposed is not None:
        folder = Path() if out is None else out.parent
        proposal = write_proposal(tuned, options["policy_name"], policy.name, folder, data)
        if out is not None:
            out.write_text(proposal, encoding="utf-8")
    if report_file is not None:
        write_report(report_file, tuned, policy.name, data, proposal, left_out)
    if options["as_json"]:
        found = {"data": data, **tuned_facts(tuned), "left_out": left_out, "proposal": proposal}
        click.echo(json.dumps(found, allow_nan=False))
        return
    draws = None if options["place"] is not None else options["draws"]
    if left_out:
        click.echo("\n".join(textwrap.wrap(f"{left_out}.", 96)) + "\n")
    _print(tuned, proposal, out, draws)


def _print(tuned: Tuned, proposal: str | None, out: Path | None, draws: int | None) -> None:
    from guardrail.cli.tables import print_table
    from guardrail.policy_search.report import front_columns, front_rows
    from guardrail.policy_search.search import goal_radius
    from guardrail.policy_search.wording import (
        describe_check,
        describe_counts,
        describe_error,
        describe_reason,
    )

    radius = goal_radius(tuned.design.goals)
    rows = front_rows(tuned)
    print_table(
        f"{count_of(tuned.candidates, 'candidate')}; those that no other one beats, on the half "
        "searched",
        front_columns(radius),
        rows[:_MOST_SHOWN],
    )
    if len(rows) > _MOST_SHOWN:
        click.echo(f"and {len(rows) - _MOST_SHOWN:,} more; see --report or --json")
    if tuned.now is not None:
        counts = describe_counts(tuned.now, radius)
        click.echo(f"the policy as it is, on the other half: {counts}")
        if draws is not None and tuned.now.longest_test > draws:
            click.echo(
                f"  its test takes up to {count_of(tuned.now.longest_test, 'draw')} of a request, "
                f"and {draws:,} were made: what is not known counts against it (--draws)"
            )
    click.echo(describe_error(tuned.design))
    if tuned.proposed is None:
        click.echo("\nnothing is proposed: no candidate is shown to meet every goal")
        for reason in tuned.reasons:
            click.echo(f"  {describe_reason(reason)}")
        if tuned.finalists and not any(one.separates for one in tuned.finalists):
            click.echo(
                "  ordinary requests are not shown to pass more often than forbidden ones: the "
                "labels, or the oracle, may say nothing about harm"
            )
        return
    click.echo("\nproposed, and confirmed on the half that was not searched:")
    for check in tuned.proposed.checks:
        click.echo(f"  {describe_check(check)}")
    if out is None:
        click.echo(f"\n{proposal}", nl=False)
    else:
        click.echo(f"\nwritten: {out}")
