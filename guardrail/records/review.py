"""What reviewers say of decisions: labels, and cases for the tests of a policy."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.engine.verdict import Action
from guardrail.errors import RequestError
from guardrail.records.content import open_content
from guardrail.records.query import as_utc
from guardrail.records.review_tables import CASES, CHOSEN, LABELS, WHOLE_REQUEST

if TYPE_CHECKING:
    from guardrail.database.database import Database
    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record

__all__ = ["Label", "LabelVerdict", "add_case", "add_label", "count_cases", "list_labels"]

_LONGEST_NOTE = 2000
_LONGEST_NAME = 120
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
        "note": _read_note(note),
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


def add_case(
    database: Database,
    record: Record,
    *,
    reviewer: str,
    name: str,
    expected: str,
    note: str = "",
    keys: ContentKeys | None = None,
) -> str:
    """Keeps a decision as a case that policies are tried on; the id of the case.

    What was asked is sealed anew, under the case's id, so that it outlives the record's content.

    Raises:
        RequestError: the name is empty or too long, or nothing is expected.
        ConfigError: the content was sealed with another key.
        StorageError: it cannot be kept.
    """
    name = " ".join(name.split())
    if not 0 < len(name) <= _LONGEST_NAME:
        raise RequestError(f"a case's name has 1 to {_LONGEST_NAME} characters", param="name")
    if expected not in (Action.PASS, Action.BLOCK):
        raise RequestError("say whether it must be let through or stopped", param="expected")
    case_id = uuid.uuid4().hex
    content = open_content(record, keys) if keys is not None else {}
    row = {
        "case_id": case_id,
        "record_id": record.record_id,
        "name": name,
        "expected": expected,
        "sealed": keys.seal(content, case_id) if keys is not None and content else None,
        "reviewer": reviewer,
        "note": _read_note(note),
        "created": datetime.now(UTC),
    }
    with database.write() as connection:
        connection.execute(sa.insert(CASES), row)
    return case_id


def count_cases(database: Database, record_id: str) -> int:
    """How many cases were made of a decision. Raises StorageError."""
    query = sa.select(sa.func.count()).select_from(CASES).where(CASES.c.record_id == record_id)
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())


def _read_note(note: str) -> str:
    """Without null characters, which PostgreSQL's texts cannot hold. Raises RequestError."""
    if len(note) > _LONGEST_NOTE:
        raise RequestError(f"a note has at most {_LONGEST_NOTE} characters", param="note")
    return note.strip().replace("\0", "")
