"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from guardrail.policy.shipped import shipped_names
from guardrail.upstreams.registry import KNOWN_SPECS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.tuning.columns import Columns

__all__ = [
    "content_key_option",
    "encoding_option",
    "find_columns",
    "guard_options",
    "model_options",
    "place_option",
    "read_stretch",
    "read_time",
    "record_options",
    "table_options",
    "upstream_options",
]

_F = TypeVar("_F", bound=Callable[..., Any])
_SPECS = f"{', '.join(KNOWN_SPECS[:-1])} or {KNOWN_SPECS[-1]}."


place_option = click.option(
    "--records",
    "place",
    metavar="FILE_OR_URL",
    envvar="GUARDRAIL_RECORDS",
    show_envvar=True,
    required=True,
    help="Where they are: a file of lines, FILE.db, or the URL of a database.",
)
"""--records, of commands that read them."""


def guard_options(function: _F) -> _F:
    """--upstream, --policy, --key-file."""
    option = click.option("--upstream", default="builtin", show_default=True, help=_SPECS)
    return option(_policy_options(function))


def upstream_options(function: _F) -> _F:
    """The same for commands that decide: --upstream may be given several times, or by a file."""
    return _policy_options(model_options(function))


def model_options(function: _F) -> _F:
    """--upstream, several times, or --upstreams; for commands that name policies otherwise."""
    for option in (
        click.option(
            "--upstreams",
            "upstreams_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="YAML file with the upstreams, their keys' variables and their limits; in place "
            "of --upstream.",
        ),
        click.option(
            "--upstream",
            "upstreams",
            multiple=True,
            help=f"{_SPECS} Given several times, a decision that one lets down is made again by "
            "the next.  [default: builtin]",
        ),
    ):
        function = option(function)
    return function


def _policy_options(function: _F) -> _F:
    """--policy, --key-file."""
    for option in (
        click.option(
            "--key-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Secret that the noise is derived from; made if it is not there. Without this "
            "option a fresh secret is drawn at every start, and verdicts cannot be replayed later.",
        ),
        click.option(
            "--policy",
            "policy_name",
            default="default",
            show_default=True,
            help=f"Policy file, or the name of a shipped one: {', '.join(shipped_names())}.",
        ),
    ):
        function = option(function)
    return function


def record_options(function: _F) -> _F:
    """--records, --sign-key, --keep-content, --keep-pictures, --content-key."""
    for option in (
        content_key_option(
            "Key that seals what --keep-content keeps; made if it is not there.", exists=False
        ),
        click.option(
            "--keep-pictures",
            is_flag=True,
            help="With --keep-content: keep the pictures of requests as well, sealed by the same "
            "key, in a database; up to 4 MiB each and 8 MiB a request.",
        ),
        click.option(
            "--keep-content",
            is_flag=True,
            help="Keep what was asked and answered in the records too, sealed by --content-key; "
            "hashes and lengths only without this option.",
        ),
        click.option(
            "--sign-key",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Ed25519 key that signs the records; made if it is not there, with its public "
            "half beside it.",
        ),
        click.option(
            "--records",
            "records_place",
            metavar="FILE_OR_URL",
            envvar="GUARDRAIL_RECORDS",
            show_envvar=True,
            help="Keep a record of every decision before its answer leaves: lines of JSON in FILE, "
            "or a database: FILE.db, sqlite:///FILE or postgresql://USER@HOST/NAME.",
        ),
    ):
        function = option(function)
    return function


def content_key_option(help_text: str, *, exists: bool = True) -> Callable[[_F], _F]:
    """--content-key; `exists` where it only opens what is there."""
    return click.option(
        "--content-key",
        type=click.Path(path_type=Path, dir_okay=False, exists=exists),
        help=help_text,
    )


def encoding_option(function: _F) -> _F:
    """--encoding, of a table of text."""
    return click.option(
        "--encoding",
        help="Of text files that are not UTF-8 or UTF-16, such as cp1252.",
    )(function)


def table_options(example: str) -> Callable[[_F], _F]:
    """--columns, --encoding: how a table is written."""

    def add(function: _F) -> _F:
        return click.option(
            "--columns",
            "columns_text",
            metavar="FIELD=COLUMN,…",
            help=f"Columns of other names: '{example}'.",
        )(encoding_option(function))

    return add


def find_columns(
    text: str | None, fields: Sequence[str], *, compared: Sequence[str] = ()
) -> Columns:
    """What --columns says. Raises click.UsageError."""
    from guardrail.errors import ConfigError
    from guardrail.tuning.columns import Columns, parse_columns

    if text is None:
        return Columns.named_as(fields)
    try:
        return parse_columns(text, fields, compared=compared)
    except ConfigError as error:
        raise click.UsageError(f"--columns: {error}") from error


def read_stretch(
    since: str | None, until: str | None, day: str | None, last_days: float | None
) -> tuple[datetime | None, datetime | None]:
    """The time of --since and --until, of --day or of --last-days. Raises click.UsageError."""
    ways = [since is not None or until is not None, day is not None, last_days is not None]
    if sum(ways) > 1:
        raise click.UsageError("--since with --until, --day and --last-days exclude each other")
    if day is not None:
        return _read_day(day)
    if last_days is not None:
        return datetime.now(UTC) - timedelta(days=last_days), None
    return read_time("since", since), read_time("until", until)


def _read_day(text: str) -> tuple[datetime, datetime]:
    """When a day begins and ends in the time zone of this machine."""
    if text == "yesterday":
        day = datetime.now(UTC).astimezone().date() - timedelta(days=1)
    else:
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise click.UsageError(
                "--day is no day; write `yesterday`, or a date like 2026-01-31"
            ) from error
    begins, ends = (datetime.combine(one, time.min) for one in (day, day + timedelta(days=1)))
    return begins.astimezone(), ends.astimezone()


def read_time(name: str, value: str | None) -> datetime | None:
    """A time of an option, UTC where it names no zone. Raises click.UsageError."""
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.UsageError(
            f"--{name} is not a time; write it like 2026-01-31 or 2026-01-31T12:00:00+01:00"
        ) from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
