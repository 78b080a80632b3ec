"""Cases that reviewers keep of decisions, in the database of the records.

Each is kept as the text of a file of cases, sealed where there is a key, so that it outlives its
record and is decided by the same code as any other case.
"""

from __future__ import annotations

import dataclasses
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.cases.case import CaseDecision
from guardrail.cases.from_record import case_from_record
from guardrail.cases.reading import parse_cases
from guardrail.cases.writing import write_cases
from guardrail.errors import CertificationError, ConfigError, RequestError
from guardrail.records.query import as_utc
from guardrail.records.review import read_note
from guardrail.records.review_tables import CASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.cases.case import Case
    from guardrail.database.database import Database
    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record

__all__ = [
    "MOST_CASES",
    "ReviewersCase",
    "find_obstacle",
    "keep_case",
    "list_cases",
    "load_reviewers_cases",
    "remove_case",
]

MOST_CASES = 500
"""How many are listed and decided: the newest."""

_LONGEST_NAME = 120
_EXPECTED = (CaseDecision.STOPPED, CaseDecision.LET_THROUGH)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewersCase:
    """One of them, without what was asked; see the table's fields of the same names."""

    case_id: str
    record_id: str
    name: str
    expected: CaseDecision
    is_sealed: bool
    reviewer: str
    note: str
    created: datetime

    @property
    def unique_name(self) -> str:
        """Its name in a file of cases, where no two are alike."""
        return f"{self.name} ({self.case_id[:8]})"


def find_obstacle(record: Record) -> str:
    """Why no case can be made of a record; empty where one can."""
    try:
        case_from_record(dataclasses.replace(record, content=None), CaseDecision.STOPPED)
    except (ConfigError, CertificationError) as error:
        return str(error)
    return ""


def keep_case(
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

    With keys it holds what was asked and answered, sealed anew under the case's id; without, how
    each answer was judged.

    Raises:
        RequestError: the name is empty or too long, nothing is expected, or no case can be made.
        StorageError: it cannot be kept.
    """
    name = " ".join(name.split()).replace("\0", "")
    if not 0 < len(name) <= _LONGEST_NAME:
        raise RequestError(f"a case's name has 1 to {_LONGEST_NAME} characters", param="name")
    if expected not in _EXPECTED:
        raise RequestError("say whether it must be let through or stopped", param="expected")
    case_id = uuid.uuid4().hex
    open_record = record if keys is not None else dataclasses.replace(record, content=None)
    try:
        case = case_from_record(open_record, CaseDecision(expected), keys=keys)
    except (ConfigError, CertificationError) as error:
        raise RequestError(str(error), status=422, code="no_case") from error
    text = write_cases([case])
    row = {
        "case_id": case_id,
        "record_id": record.record_id,
        "name": name,
        "expected": expected,
        "document": text.encode() if keys is None else keys.seal(text, case_id),
        "is_sealed": keys is not None,
        "reviewer": reviewer,
        "note": read_note(note),
        "created": datetime.now(UTC),
    }
    with database.write() as connection:
        connection.execute(sa.insert(CASES), row)
    return case_id


def list_cases(database: Database, record_id: str | None = None) -> list[ReviewersCase]:
    """The newest, first: all, or those made of one decision. Raises StorageError."""
    columns = [CASES.c[field.name] for field in dataclasses.fields(ReviewersCase)]
    query = sa.select(*columns).order_by(CASES.c.created.desc(), CASES.c.case_id).limit(MOST_CASES)
    if record_id is not None:
        query = query.where(CASES.c.record_id == record_id)
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [
        ReviewersCase(
            **{
                **row,
                "expected": CaseDecision(row["expected"]),
                "created": as_utc(row["created"]),
            }
        )
        for row in rows
    ]


def load_reviewers_cases(
    database: Database, keys: ContentKeys | None, case_ids: Sequence[str] | None = None
) -> tuple[list[Case], int]:
    """The newest cases as they are decided, and how many cannot be read with these keys.

    Args:
        database: where they are kept.
        keys: open what was sealed.
        case_ids: of those that are wanted; None for all.

    Raises:
        StorageError: they cannot be read.
    """
    cases, closed = [], 0
    for kept in list_cases(database):
        if case_ids is not None and kept.case_id not in case_ids:
            continue
        try:
            case = _read_case(database, kept, keys)
        except (ConfigError, CertificationError):
            case = None
        if case is None:
            closed += 1
        else:
            cases.append(case)
    return cases, closed


def _read_case(database: Database, kept: ReviewersCase, keys: ContentKeys | None) -> Case | None:
    """None where it was removed meanwhile, or is sealed and there is no key.

    Raises:
        ConfigError: it was sealed with another key.
        CertificationError: it was changed.
    """
    query = sa.select(CASES.c.document).where(CASES.c.case_id == kept.case_id)
    with database.read() as connection:
        document = connection.execute(query).scalar_one_or_none()
    if document is None or (kept.is_sealed and keys is None):
        return None
    data = bytes(document)
    if kept.is_sealed and keys is not None:
        data = str(keys.open(data, kept.case_id)).encode()
    (case,) = parse_cases(data, file=f"case {kept.case_id}")
    return dataclasses.replace(case, name=kept.unique_name, file=None, line=None)


def remove_case(database: Database, case_id: str) -> None:
    """Removes one, so that no later policy is tried on it.

    Raises:
        RequestError: 404, there is none.
        StorageError: it cannot be removed.
    """
    with database.write() as connection:
        removed = connection.execute(sa.delete(CASES).where(CASES.c.case_id == case_id))
    if not removed.rowcount:
        raise RequestError("there is no such case", status=404)
