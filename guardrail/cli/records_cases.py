"""`guardrail records export --as-case` and `records cases`: cases of `guardrail policy test`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from guardrail.counted_noun import count_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from guardrail.records.content import ContentKeys
    from guardrail.records.query import RecordSource

__all__ = ["case_options", "write_record_cases", "write_reviewers_cases"]


def case_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--as-case, --expect."""
    for option in (
        click.option(
            "--expect",
            type=click.Choice(["stopped", "let through"]),
            help="With --as-case: what must come of these requests.  [default: what was decided]",
        ),
        click.option(
            "--as-case",
            is_flag=True,
            help="Write the records named by RECORD_IDS as cases for `guardrail policy test`. With "
            "--content-key they hold what was asked and answered, and another oracle can judge it.",
        ),
    ):
        function = option(function)
    return function


def write_record_cases(
    source: RecordSource, record_ids: Sequence[str], expect: str | None, keys: ContentKeys | None
) -> str:
    """A file of cases, one of each record.

    Raises:
        ConfigError: a record is not there, or no case can be made of it.
    """
    from guardrail.cases.case import CaseDecision
    from guardrail.cases.from_record import case_from_record
    from guardrail.cases.writing import write_cases
    from guardrail.errors import ConfigError

    cases = []
    for record_id in dict.fromkeys(record_ids):
        record = source.find(record_id)
        if record is None:
            raise ConfigError(f"there is no record '{record_id}'; `guardrail records list` has ids")
        cases.append(
            case_from_record(record, None if expect is None else CaseDecision(expect), keys=keys)
        )
    return write_cases(cases)


def write_reviewers_cases(place: str, out: Path, keys: ContentKeys | None) -> None:
    """Writes the cases that reviewers kept in a database into a file, and says what is left out.

    Raises:
        ConfigError: there is no such database, no case in it, or none that these keys open.
        StorageError: it cannot be read.
    """
    from guardrail.cases.reviewers import load_reviewers_cases
    from guardrail.cases.writing import write_cases
    from guardrail.cli.output import require_writable
    from guardrail.errors import ConfigError
    from guardrail.records.query import open_existing

    require_writable(out)
    with open_existing(place) as database:
        cases, closed = load_reviewers_cases(database, keys)
    if closed and not cases:
        raise ConfigError(
            f"{count_of(closed, 'case is', 'cases are')} sealed; give the key with --content-key"
        )
    if not cases:
        raise ConfigError("reviewers kept no case; the console's page of a decision makes one")
    out.write_text(write_cases(cases), encoding="utf-8")
    sealed = count_of(closed, "is", "are")
    left_out = f"; {sealed} sealed with another key and left out" if closed else ""
    click.echo(f"{count_of(len(cases), 'case')} in {out}{left_out}")
