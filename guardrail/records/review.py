"""What reviewers say of decisions."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.errors import RequestError
from guardrail.records.query import as_utc
from guardrail.records.review_tables import CHOSEN, LABELS, WHOLE_REQUEST

if TYPE_CHECKING:
    from guardrail.database.database import Database
    from guardrail.records.record import Record

__all__ = ["Label", "LabelVerdict", "add_label", "list_labels", "read_note"]

_LONGEST_NOTE = 2000
_MOST_LABELS = 500


class LabelVerdict(StrEnum):
    """What a reviewer finds an answer, or all of a request's answers, to be."""

    HARMFUL = "harmful"
    HARMLESS = "harmless"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One judgement; see the table's fields of the same names."""

    record_id: str
    item: str
    reviewer: str
    verdict: LabelVerdict
    source: str
    note: str
    created: datetime


def add_label(
    database: Database,
    record: Record,
    *,
    reviewer: str,
    verdict: str,
    item: str = WHOLE_REQUEST,
    note: str = "",
    source: str = CHOSEN,
) -> None:
    """Keeps a judgement; it stays when the reviewer gives another one.

    Raises:
        RequestError: the verdict or the item is none, or the note is too long.
        StorageError: it cannot be kept.
    """
    items = {WHOLE_REQUEST, *(str(sample.index) for sample in record.samples)}
    if verdict not in list(LabelVerdict):
        raise RequestError("say harmful, harmless or unsure", param="verdict")
    if item not in items:
        raise RequestError("this decision has no such draw", param="item")
    row = {
        "label_id": uuid.uuid4().hex,
        "record_id": record.record_id,
        "item": item,
        "reviewer": reviewer,
        "verdict": verdict,
        "source": source,
        "note": read_note(note),
        "created": datetime.now(UTC),
    }
    with database.write() as connection:
        connection.execute(sa.insert(LABELS), row)


def list_labels(database: Database, record_id: str) -> list[Label]:
    """The judgements on a decision, the newest first. Raises StorageError."""
    query = (
        sa.select(LABELS)
        .where(LABELS.c.record_id == record_id)
        .order_by(LABELS.c.created.desc(), LABELS.c.label_id)
        .limit(_MOST_LABELS)
    )
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [
        Label(
            record_id=row["record_id"],
            item=row["item"],
            reviewer=row["reviewer"],
            verdict=LabelVerdict(row["verdict"]),
            source=row["source"],
            note=row["note"],
            created=as_utc(row["created"]),
        )
        for row in rows
    ]


def read_note(note: str) -> str:
    """A note without null characters, which PostgreSQL's texts cannot hold. Raises RequestError."""
    if len(note) > _LONGEST_NOTE:
        raise RequestError(f"a note has at most {_LONGEST_NOTE} characters", param="note")
    return note.strip().replace("\0", "")
