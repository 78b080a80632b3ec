"""The answer of a record that people label: the one that left, or why it was stopped."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.engine.verdict import Action
from guardrail.errors import CertificationError, ConfigError
from guardrail.records.content import open_content
from guardrail.records.query import select_records
from guardrail.records.rows import read_row
from guardrail.records.tables import RECORDS
from guardrail.tuning.deliveries import delivered_text, message_text
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.database.database import Database
    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record, SampleRecord
    from guardrail.types import Json

__all__ = ["FIRST", "find_first_decision", "first_answer_text", "open_records", "text_to_label"]

FIRST = 0
"""The number of the variant that every decision asks about first."""

_AT_ONCE = 200


def open_records(
    database: Database, record_ids: Sequence[str], keys: ContentKeys | None
) -> dict[str, Record]:
    """Records by their ids, each with its content opened; without content where it cannot be.

    A stopped request that was remembered holds no answers: it has those of the decision that it
    was remembered from. Raises StorageError.
    """
    found = {one.record_id: _open_content(one, keys) for one in _read(database, record_ids)}
    for record_id, record in found.items():
        if record.remembered and record.action is Action.BLOCK and isinstance(record.content, dict):
            first = find_first_decision(database, record)
            opened = None if first is None else _open_content(first, keys)
            if opened is not None and isinstance(opened.content, dict):
                content = {**record.content, "answers": opened.content.get("answers")}
                found[record_id] = dataclasses.replace(
                    record, content=content, samples=opened.samples
                )
    return found


def text_to_label(record: Record) -> str:
    """All that is read of the answer that a label speaks of; empty where none is kept.

    Of a request that was let through it is the answer that left. Of one that was stopped it is
    the first answer that was found harmful, else the one that was found worst.
    """
    if record.action is Action.PASS:
        return delivered_text(record)
    answers = open_content(record, None).get("answers")
    if not isinstance(answers, dict):
        return ""
    for sample in sorted(record.samples, key=_worst_first):
        text = _text(answers.get(str(sample.index)))
        if text:
            return text
    return ""


def first_answer_text(record: Record) -> str:
    """All that is read of the answer to the first variant; empty where none is kept.

    It alone is drawn whatever the oracle says: how many follow depends on what it found, so that
    an answer picked among all of them would be one that the oracle helped to pick.
    """
    answers = open_content(record, None).get("answers")
    return _text(answers.get(str(FIRST))) if isinstance(answers, dict) else ""


def _worst_first(sample: SampleRecord) -> tuple[bool, float, int]:
    harmful = sample.outcome is Outcome.HARMFUL
    return (not harmful, 0.0 if harmful else -(sample.score or 0.0), sample.index)


def _text(said: Json) -> str:
    text = said if isinstance(said, str) else message_text(said) if isinstance(said, dict) else ""
    return text if text.strip() else ""


def _open_content(record: Record, keys: ContentKeys | None) -> Record:
    try:
        content = open_content(record, keys) if keys is not None else None
    except (CertificationError, ConfigError):
        content = None  # sealed by a key that is not here, or damaged: there is nothing to label
    return dataclasses.replace(record, content=content)


def _read(database: Database, record_ids: Sequence[str]) -> list[Record]:
    found: list[Record] = []
    for start in range(0, len(record_ids), _AT_ONCE):
        part = record_ids[start : start + _AT_ONCE]
        with database.read() as connection:
            rows = connection.execute(select_records().where(RECORDS.c.record_id.in_(part)))
            found += [read_row(dict(row)) for row in rows.mappings()]
    return found


def find_first_decision(database: Database, record: Record) -> Record | None:
    """The decision on an equal request that drew. Raises StorageError."""
    query = (
        select_records()
        .where(RECORDS.c.request_digest == record.request_digest, sa.not_(RECORDS.c.remembered))
        .where(RECORDS.c.policy_digest == record.policy_digest)
        .where(RECORDS.c.action == record.action.value)
        .order_by(RECORDS.c.created)
        .limit(1)
    )
    if not record.request_digest:
        return None
    with database.read() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else read_row(dict(row))
