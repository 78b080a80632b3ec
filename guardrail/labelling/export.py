"""Labels in the forms in which other commands read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError
from guardrail.labelling.answers import FIRST, first_answer_text, open_records
from guardrail.labelling.looks import settle
from guardrail.labelling.queue import read_queue
from guardrail.records.content import open_content
from guardrail.records.review import LabelVerdict
from guardrail.records.review_tables import LABELS, WHOLE_REQUEST
from guardrail.tuning.draw import make_answer_row, prompt_of

if TYPE_CHECKING:
    from datetime import datetime

    from guardrail.database.database import Database
    from guardrail.labelling.rounds import Round
    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record
    from guardrail.types import Json

__all__ = ["LabelledRequests", "all_labels", "answer_rows", "request_rows", "round_labels"]


@dataclass(frozen=True, slots=True)
class LabelledRequests:
    """Requests of a round as `guardrail recall` reads them, each without its pictures.

    Attributes:
        forbidden: labelled as to be stopped; `clean`: as ordinary.
        unsettled: how many reviewers do not agree on, or are unsure of; `missing`: how many are
            not kept any more.
        conversations: how many of the rows ask more than one message; a row holds the last.
    """

    forbidden: list[dict[str, Json]]
    clean: list[dict[str, Json]]
    unsettled: int
    missing: int
    conversations: int


def all_labels(database: Database) -> list[dict[str, Json]]:
    """What reviewers say of each record, as `guardrail policy replay --labels` reads it.

    One row a record, drawn or not: the label of more than half of its reviewers, else `unsure`.
    Raises StorageError.
    """
    columns = LABELS.c
    query = (
        sa.select(columns.record_id, columns.reviewer, columns.verdict)
        .where(columns.item == WHOLE_REQUEST)
        .order_by(columns.created, columns.label_id)
    )
    latest: dict[str, dict[str, LabelVerdict]] = {}
    with database.read() as connection:
        for record_id, reviewer, verdict in connection.execute(query):
            latest.setdefault(record_id, {})[reviewer] = LabelVerdict(verdict)
    return [
        {
            "record_id": record_id,
            "label": (settle(given.values()) or LabelVerdict.UNSURE).value,
        }
        for record_id, given in sorted(latest.items())
    ]


def round_labels(database: Database, round_: Round, now: datetime) -> list[dict[str, Json]]:
    """The labels of what was let through, as `guardrail delivered bound` reads them.

    One row for each drawn answer that is kept; where nothing is settled, `harmful` is left open and
    counts so. Raises StorageError.
    """
    verdicts = read_queue(database, round_, now).verdicts()
    settled = {
        record_id: settle(verdicts.get(item.item_id, ()), item.looks)
        for item in round_.items
        for record_id, action in item.records
        if action is Action.PASS
    }
    draw = round_.let_through
    drawn = [record_id for stratum in draw.strata for record_id in stratum.drawn]
    return [
        {
            "id": record_id,
            "harmful": None
            if settled.get(record_id) is None
            else settled[record_id] is LabelVerdict.HARMFUL,
            "draw": draw.mark,
        }
        for record_id in drawn
        if record_id not in draw.without_content
    ]


def answer_rows(
    database: Database, round_: Round, keys: ContentKeys, now: datetime
) -> tuple[list[dict[str, Json]], int, int]:
    """The labelled answers of a round of answers, as `guardrail calibrate --data` reads them.

    Also how many are left out because reviewers do not agree or are unsure, and how many because
    they are not kept any more.

    Raises:
        ConfigError: some drawn answers are not labelled yet.
        StorageError: the database cannot be read.
    """
    settled = _settle_all(database, round_, now)
    records = open_records(database, list(settled), keys)
    rows = []
    unsettled = missing = 0
    for record_id, label in settled.items():
        record = records.get(record_id)
        if record is None or not first_answer_text(record):
            missing += 1
        elif label is None:
            unsettled += 1
        else:
            harmful = label is LabelVerdict.HARMFUL
            rows.append({**make_answer_row(record, FIRST), "harmful": harmful})
    if not any(row["message"] for row in rows):
        rows = [{name: row[name] for name in row if name != "message"} for row in rows]
    return rows, unsettled, missing


def request_rows(
    database: Database, round_: Round, keys: ContentKeys, now: datetime
) -> LabelledRequests:
    """The labelled requests of a round of requests, as `guardrail recall` reads them.

    Raises:
        ConfigError: some drawn requests are not labelled yet.
        StorageError: the database cannot be read.
    """
    settled = _settle_all(database, round_, now)
    records = open_records(database, list(settled), keys)
    found: dict[LabelVerdict, list[dict[str, Json]]] = {one: [] for one in LabelVerdict}
    missing = conversations = 0
    for record_id, label in settled.items():
        record = records.get(record_id)
        if record is None or not isinstance(record.content, dict):
            missing += 1
            continue
        found[label or LabelVerdict.UNSURE].append(_request_row(record))
        messages = record.content.get("messages")
        conversations += label is not None and isinstance(messages, list) and len(messages) > 1
    return LabelledRequests(
        found[LabelVerdict.HARMFUL],
        found[LabelVerdict.HARMLESS],
        len(found[LabelVerdict.UNSURE]),
        missing,
        conversations,
    )


def _settle_all(database: Database, round_: Round, now: datetime) -> dict[str, LabelVerdict | None]:
    """What is settled of every record of a round that has been read to its end.

    The number of labels must be fixed before they are seen: who could stop where the labels please
    would have a bound that fails more often than it says.
    """
    verdicts = read_queue(database, round_, now).verdicts()
    left = sum(len(verdicts.get(item.item_id, ())) < item.looks for item in round_.items)
    if left:
        raise ConfigError(
            f"{left:,} of the {len(round_.items):,} drawn items of this round wait for a label; "
            "label all of them, as the number that counts is fixed with the draw"
        )
    return {
        record_id: settle(verdicts[item.item_id], item.looks)
        for item in round_.items
        for record_id, _ in item.records
    }


def _request_row(record: Record) -> dict[str, Json]:
    content = open_content(record, None)
    parameters = content.get("parameters")
    return {
        "id": record.record_id,
        "group": record.request_digest or record.record_id,
        "prompt": prompt_of(record),
        "image": None,
        "pictures": record.pictures,
        "request_id": record.request_id,
        "parameters": parameters if isinstance(parameters, dict) else {},
    }
