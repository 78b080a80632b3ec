"""`guardrail records labels`: what reviewers say, in the forms that other commands read."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import click

from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.database.database import Database
    from guardrail.labelling.rounds import Round
    from guardrail.records.content import ContentKeys

__all__ = ["LabelUse", "write_labels"]

NEWEST = "newest"


class LabelUse(StrEnum):
    """Which command the labels of a round are for; it follows from what was labelled."""

    DELIVERED = "delivered"
    CALIBRATE = "calibrate"
    RECALL = "recall"


def write_labels(
    place: str,
    out: Path,
    round_id: str | None,
    use: LabelUse | None = None,
    content_key: Path | None = None,
) -> None:
    """Writes the labels in a database; those of one round in the form that its command reads.

    Args:
        place: of the database.
        out: the file to write.
        round_id: of which round; `newest` for the newest one, of this use where one is given.
            None with a use is the newest too; without one, the labels of every record.
        use: what they are for; None for whatever the round is for.
        content_key: of what was asked and answered, which `calibrate` and `recall` need.

    Raises:
        ConfigError: there is no such database or round, nothing is labelled, a part of the round
            is not labelled yet, or the key is missing.
        StorageError: the database cannot be read.
    """
    from guardrail.cli.output import require_writable
    from guardrail.labelling.export import all_labels
    from guardrail.records.query import open_existing
    from guardrail.tuning.formats import write_rows

    require_writable(out)
    with open_existing(place) as database:
        if round_id is None and use is None:
            rows = all_labels(database)
            if not rows:
                raise ConfigError("no decision has a label yet; label some in the console")
            write_rows(out, rows)
            click.echo(
                f"written: {count_of(len(rows), 'label')}, for guardrail policy replay --labels "
                f"{out}"
            )
            return
        round_ = _find_round(database, round_id or NEWEST, use)
        fits = _use_of(round_)
        if fits is LabelUse.DELIVERED:
            _write_delivered(database, round_, out)
        elif fits is LabelUse.CALIBRATE:
            _write_answers(database, round_, out, _open_keys(content_key))
        else:
            _write_requests(database, round_, out, _open_keys(content_key))


def _find_round(database: Database, round_id: str, use: LabelUse | None) -> Round:
    from guardrail.labelling.rounds import list_rounds, read_round

    if round_id == NEWEST:
        kinds = {_kind_of(use)} if use is not None else {*map(_kind_of, LabelUse)}
        heads = [head for head in list_rounds(database) if head.kind in kinds]
        round_id = heads[0].round_id if heads else round_id
    round_ = read_round(database, round_id)
    if round_ is None:
        of = "" if use is None else f" for {use}"
        raise ConfigError(
            f"there is no such round of labels{of}; the console's Label page begins one"
        )
    if use is not None and _use_of(round_) is not use:
        raise ConfigError(
            f"this round labelled {round_.kind}, which is for {_use_of(round_)} and not for {use}; "
            "leave --for out, or name another round"
        )
    return round_


def _use_of(round_: Round) -> LabelUse:
    return next(use for use in LabelUse if _kind_of(use) == round_.kind)


def _kind_of(use: LabelUse) -> str:
    """The kind of round whose labels have this use."""
    from guardrail.labelling.rounds import RoundKind

    return {
        LabelUse.DELIVERED: RoundKind.DECISIONS,
        LabelUse.CALIBRATE: RoundKind.ANSWERS,
        LabelUse.RECALL: RoundKind.REQUESTS,
    }[use]


def _open_keys(content_key: Path | None) -> ContentKeys:
    from guardrail.records.content import load_or_create_content_keys

    if content_key is None:
        raise ConfigError(
            "these labels go with what was asked and answered, which is sealed; give --content-key"
        )
    return load_or_create_content_keys(content_key)


def _write_delivered(database: Database, round_: Round, out: Path) -> None:
    from guardrail.labelling.export import round_labels
    from guardrail.sealed import write_sealed
    from guardrail.tuning.formats import write_rows

    rows = round_labels(database, round_, datetime.now(UTC))
    if not rows:
        raise ConfigError("this round drew no answer that left and is kept")
    write_rows(out, rows)
    draw_file = out.with_name(f"{out.name}.draw.json")
    write_sealed(draw_file, round_.let_through)
    labelled = sum(row["harmful"] is not None for row in rows)
    click.echo(
        f"written: {count_of(labelled, 'label')} of {count_of(len(rows), 'drawn answer')}, and "
        f"{draw_file}\n"
        f"Then: guardrail delivered bound --labels {out}"
    )


def _write_answers(database: Database, round_: Round, out: Path, keys: ContentKeys) -> None:
    from guardrail.labelling.export import answer_rows
    from guardrail.tuning.formats import write_rows

    rows, unsettled, missing = answer_rows(database, round_, keys, datetime.now(UTC))
    if not rows:
        raise ConfigError("no answer of this round has a label that reviewers agree on")
    write_rows(out, rows)
    harmful = sum(row["harmful"] is True for row in rows)
    click.echo(
        f"written: {count_of(len(rows), 'answer')}, one a request, {harmful:,} of them harmful; "
        f"left out: {unsettled:,} on which reviewers do not agree or are unsure, {missing:,} that "
        "are not kept any more\n"
        f"Then: guardrail calibrate --policy POLICY --data {out}"
    )


def _write_requests(database: Database, round_: Round, out: Path, keys: ContentKeys) -> None:
    from guardrail.labelling.export import request_rows
    from guardrail.tuning.formats import write_rows

    found = request_rows(database, round_, keys, datetime.now(UTC))
    if not found.forbidden:
        raise ConfigError("no request of this round is labelled as to be stopped")
    write_rows(out, found.forbidden)
    clean = out.with_name(f"{out.stem}.clean{out.suffix}")
    more = ""
    if found.clean:
        write_rows(clean, found.clean)
        more = f" --clean {clean}"
    written = (
        f"written: {count_of(len(found.forbidden), 'request')} to be stopped, and "
        f"{count_of(len(found.clean), 'ordinary one')} in {clean}; left out: {found.unsettled:,} "
        f"on which reviewers do not agree or are unsure, {found.missing:,} that are not kept any "
        "more"
    )
    lines = [
        written,
        "No export has pictures: put their paths into the column 'image', by 'request_id' or 'id'",
    ]
    if found.conversations:
        lines.append(
            f"{found.conversations:,} asked more than one message; 'prompt' holds the last of a "
            "user alone"
        )
    click.echo("\n".join([*lines, f"Then: guardrail recall --forbidden {out}{more}"]))
