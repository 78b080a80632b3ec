"""`guardrail records labels`: what reviewers say, in the forms that other commands read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_labels"]

NEWEST = "newest"


def write_labels(place: str, out: Path, round_id: str | None) -> None:
    """Writes the labels in a database; of one round, with its draw beside them.

    Raises:
        ConfigError: there is no such database or round, or nothing is labelled.
        StorageError: the database cannot be read.
    """
    from guardrail.cli.output import require_writable
    from guardrail.labelling.export import all_labels, round_labels
    from guardrail.labelling.rounds import list_rounds, read_round
    from guardrail.records.query import open_existing
    from guardrail.sealed import write_sealed
    from guardrail.tuning.formats import write_rows

    require_writable(out)
    with open_existing(place) as database:
        if round_id is None:
            rows = all_labels(database)
            if not rows:
                raise ConfigError("no decision has a label yet; label some in the console")
            write_rows(out, rows)
            click.echo(f"written: {len(rows):,} labels, for guardrail policy replay --labels {out}")
            return
        heads = list_rounds(database) if round_id == NEWEST else []
        round_ = read_round(database, heads[0].round_id if heads else round_id)
        if round_ is None:
            raise ConfigError("there is no such round of labels; the console's Label page has them")
        rows = round_labels(database, round_, datetime.now(UTC))
        if not rows:
            raise ConfigError("this round drew no answer that left and is kept")
        write_rows(out, rows)
        draw_file = out.with_name(f"{out.name}.draw.json")
        write_sealed(draw_file, round_.let_through)
    labelled = sum(row["harmful"] is not None for row in rows)
    click.echo(
        f"written: {labelled:,} labels of {len(rows):,} drawn answers, and {draw_file}\n"
        f"Then: guardrail delivered bound --labels {out}"
    )
