"""`guardrail policy diff`: in what two policies differ, and what that means."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import read_time

if TYPE_CHECKING:
    from guardrail.policy.schema import Policy
    from guardrail.replay.difference import PolicyDifference

__all__ = ["command"]

_VERDICTS = {
    "stricter": "is stricter: nothing in it is looser",
    "looser": "is looser: nothing in it is stricter",
    "as strict": "is as strict: what differs costs other calls, or changes no decision",
    "neither": "is neither stricter nor looser: it differs both ways, or in ways that only traffic "
    "shows",
}


@click.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--records", "place", metavar="FILE_OR_URL",
              help="Recorded decisions: say also what B would have decided.")  # fmt: skip
@click.option("--since", help="Records made at this time or later: ISO 8601, UTC without a zone.")
@click.option("--until", help="Made before this time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    first: str,
    second: str,
    place: str | None,
    since: str | None,
    until: str | None,
    as_json: bool,
) -> None:
    """Say in what the policy B differs from A, and what that means.

    A and B are files, or the names of shipped policies.
    """
    from guardrail.assembly import read_policy
    from guardrail.replay.difference import compare_policies

    policies = read_policy(first), read_policy(second)
    found = compare_policies(*policies)
    times = read_time("since", since), read_time("until", until)
    if as_json:
        facts = {**dataclasses.asdict(found), "traffic": _traffic(policies, place, times)}
        click.echo(json.dumps(facts, allow_nan=False))
        return
    _print(found)
    if place is not None:
        _print_traffic(policies[1], place, times)


def _print(found: PolicyDifference) -> None:
    from guardrail.cli.tables import print_table
    from guardrail.printable import show_text
    from guardrail.replay.wording import describe_numbers, format_value

    old, new = (show_text(name) for name in found.names)
    new = new if new != old else f"{new} (B)"
    click.echo(f"'{new}' against '{old}': it {_VERDICTS[found.strictness]}")
    if not found.fields:
        click.echo("no field differs")
    for one in found.fields:
        click.echo(show_text(
            f"  {one.field}: {format_value(one.old)} → {format_value(one.new)}  "
            f"({one.strictness}; acts on {one.effect})"
        ))  # fmt: skip
        if one.meaning:
            click.echo(f"      {show_text(one.meaning)}")
    before, after = (describe_numbers(one) for one in found.numbers)
    names = list(dict.fromkeys((*before, *after)))
    rows = [(name, before.get(name, "–"), after.get(name, "–")) for name in names]
    click.echo()
    print_table("what it means", ("", old, new), rows)


def _print_traffic(policy: Policy, place: str, times: tuple[Any, Any]) -> None:
    from guardrail.cli.policy_replay import load_recorded, print_replay
    from guardrail.replay.replay import replay_policy
    from guardrail.replay.summary import summarize_replay

    print_replay(summarize_replay(replay_policy(load_recorded(place, *times), policy)))


def _traffic(
    policies: tuple[Policy, Policy], place: str | None, times: tuple[Any, Any]
) -> list[dict[str, Any]] | None:
    """What each of the two would have decided."""
    from guardrail.cli.policy_replay import load_recorded
    from guardrail.replay.replay import replay_policy
    from guardrail.replay.summary import summarize_replay

    if place is None:
        return None
    decisions = load_recorded(place, *times)
    return [summarize_replay(replay_policy(decisions, one)).to_dict() for one in policies]
