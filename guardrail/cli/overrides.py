"""`guardrail overrides`: what people decide about single requests in the guard's place."""

from __future__ import annotations

import dataclasses
import getpass
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from guardrail.cli.options import place_option
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.records.override_chain import Override

__all__ = ["command"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
_NOTE = click.option("--note", required=True, help="Why; it stays with the entry.")
_BY = click.option(
    "--by",
    default=lambda: _user_name(),
    show_default="your name on this machine",
    help="Who decides.",
)
_DAYS = click.option(
    "--days",
    type=float,
    help="For how long.  [default: 30, and without an end for --stop]",
)


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # no name for this user id
        return ""


@click.group("overrides")
def command() -> None:
    """Let single requests through, or stop them, whatever the guard decides.

    An entry holds for exactly the request of a record, under policies with `overrides: on`. What it
    decides is outside every certificate.
    """


@command.command("add")
@place_option
@click.argument("record_id")
@click.option("--stop", is_flag=True, help="Stop the request for as long as the entry holds, "
              "in place of letting it through.")  # fmt: skip
@_NOTE
@_DAYS
@_BY
def _add(place: str, record_id: str, stop: bool, note: str, days: float | None, by: str) -> None:
    """Override the decision of a record; of one that the guard stopped, unless with --stop."""
    from guardrail.records.overrides import start_override
    from guardrail.records.query import DatabaseSource, open_existing

    with open_existing(place) as database:
        record = DatabaseSource(database).find(record_id)
        if record is None:
            raise ConfigError(
                f"there is no record '{record_id}'; the id stands in the response's header "
                "x-guardrail-record-id"
            )
        entry = start_override(
            database, record, action="block" if stop else "pass", by=by, note=note, days=days
        )
    click.echo(f"override {entry.override_id}: {_describe(entry)}")


@command.command("approve")
@place_option
@click.argument("override_id")
@_NOTE
@_DAYS
@_BY
def _approve(place: str, override_id: str, note: str, days: float | None, by: str) -> None:
    """Put an entry in force that a reviewer asked for."""
    from guardrail.records.overrides import approve_override
    from guardrail.records.query import open_existing

    with open_existing(place) as database:
        entry = approve_override(database, override_id, by=by, note=note, days=days)
    click.echo(f"override {entry.override_id}: {_describe(entry)}")


@command.command("remove")
@place_option
@click.argument("override_id")
@_NOTE
@_BY
def _remove(place: str, override_id: str, note: str, by: str) -> None:
    """End an entry, or decline one that was asked for; its steps stay."""
    from guardrail.records.overrides import end_override
    from guardrail.records.query import open_existing

    with open_existing(place) as database:
        entry = end_override(database, override_id, by=by, note=note)
    click.echo(f"override {entry.override_id}: {entry.state.value}")


@command.command("list")
@place_option
@click.option("--record", "record_id", metavar="ID", help="Only those made of this record.")
@_JSON
def _list(place: str, record_id: str | None, as_json: bool) -> None:
    """List entries with all their steps, the one with the newest step first."""
    from guardrail.cli.tables import print_table
    from guardrail.records.overrides import list_overrides
    from guardrail.records.query import open_existing

    with open_existing(place) as database:
        found = list_overrides(database, record_id)
    if as_json:
        for steps in found:
            click.echo(json.dumps({"steps": [dataclasses.asdict(step) for step in steps]}))
        return
    columns = ("override", "state", "what", "until (UTC)", "record", "policy", "by", "note")
    print_table(f"{len(found)} overrides", columns, [_cells(steps[-1]) for steps in found])


def _cells(entry: Override) -> tuple[str, ...]:
    return (entry.override_id, _state(entry), _what(entry), _end(entry), entry.record_id,
            entry.policy, entry.by, entry.note)  # fmt: skip


def _describe(entry: Override) -> str:
    until = "without an end" if entry.expires is None else f"until {_end(entry)} UTC"
    return (
        f"the request of record {entry.record_id} is {_what(entry)} {until}, "
        "under policies with 'overrides: on'"
    )


def _state(entry: Override) -> str:
    from guardrail.records.override_chain import OverrideState

    over = entry.state is OverrideState.ACTIVE and entry.is_over(datetime.now(UTC))
    return "expired" if over else entry.state.value


def _what(entry: Override) -> str:
    return "stopped" if entry.action.value == "block" else "let through"


def _end(entry: Override) -> str:
    if entry.expires is None:
        return "no end"
    return f"{datetime.fromisoformat(entry.expires).astimezone(UTC):%Y-%m-%d %H:%M}"
