"""What records of observe mode say, a row each, the oldest first: quickly, for many of them.

Only the fields that are counted are read: of a database its columns, of a file each line's. That
records hold is checked by `guardrail verify` and `guardrail records verify`, not here.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from guardrail.database.address import is_database
from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Action, Observation, Reason
from guardrail.errors import CertificationError, ConfigError
from guardrail.records.lines import read_lines
from guardrail.records.query import as_utc, open_existing
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement

    from guardrail.database.database import Database

__all__ = ["ObservedRow", "read_observed"]

_PAGE = 5000
_OBSERVE = Mode.OBSERVE.value
_HARMFUL = Outcome.HARMFUL.value


class ObservedRow(NamedTuple):
    """One record; see the fields of the same names of `RecordSummary`."""

    record_id: str
    created: datetime
    policy: str
    policy_digest: str
    action: Action
    reason: Reason
    observation: Observation
    would_block: bool
    category: str
    api_key_id: str
    request_digest: str
    key_id: str


def read_observed(
    place: str, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[ObservedRow]:
    """The records of observe mode at a place that exists already, the oldest first.

    Args:
        place: a file of lines, or a database.
        since: made then or later.
        until: made before.

    Raises:
        ConfigError: there are none.
        StorageError: the database cannot be read.
        CertificationError: a record is none.
    """
    if not is_database(place):
        if not Path(place).is_file():
            raise ConfigError("there is no such file of records; check the path", file=place)
        yield from _read_file(Path(place), since, until)
        return
    with open_existing(place) as database:
        yield from _read_database(database, since, until)


def _read_file(path: Path, since: datetime | None, until: datetime | None) -> Iterator[ObservedRow]:
    for number, line in enumerate(read_lines(path), start=1):
        try:
            record = json.loads(line)
            if record["mode"] != _OBSERVE:
                continue
            row = _to_row(record, datetime.fromisoformat(record["created"]), _category_of(record))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CertificationError(
                f"{path}:{number}: this line is not a record, or of another version; see "
                "'guardrail verify'"
            ) from error
        if (since is None or row.created >= since) and (until is None or row.created < until):
            yield row


def _read_database(
    database: Database, since: datetime | None, until: datetime | None
) -> Iterator[ObservedRow]:
    """Page by page, each in a transaction of its own, so that a writer waits for none of them."""
    import sqlalchemy as sa

    from guardrail.records.tables import RECORDS

    columns = [RECORDS.c[name] for name in ObservedRow._fields if name != "key_id"]
    place = sa.tuple_(RECORDS.c.created, RECORDS.c.record_id)
    query = (
        sa.select(*columns, _key_id_in(database))
        .where(RECORDS.c.mode == _OBSERVE)
        .order_by(RECORDS.c.created, RECORDS.c.record_id)
        .limit(_PAGE)
    )
    if since is not None:
        query = query.where(RECORDS.c.created >= since)
    if until is not None:
        query = query.where(RECORDS.c.created < until)
    after: tuple[datetime, str] | None = None
    while True:
        page = query if after is None else query.where(place > sa.tuple_(*after))
        with database.read() as connection:
            rows = connection.execute(page).mappings().all()
        for row in rows:
            try:
                yield _to_row(row, as_utc(row["created"]), row["category"])
            except ValueError as error:
                raise CertificationError(
                    f"record {row['record_id']} is of another version; see 'guardrail records "
                    "verify'"
                ) from error
        if len(rows) < _PAGE:
            return
        after = (rows[-1]["created"], rows[-1]["record_id"])


def _key_id_in(database: Database) -> ColumnElement[str]:
    """The id of the noise key, which stands in the document alone."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql

    from guardrail.records.tables import RECORDS

    document = RECORDS.c.document
    found: ColumnElement[str] = (
        sa.func.json_extract(document, "$.key_id")
        if database.is_sqlite
        else sa.cast(document, postgresql.JSON)["key_id"].astext
    )
    return found.label("key_id")


def _to_row(fields: Any, created: datetime, category: str) -> ObservedRow:
    return ObservedRow(
        fields["record_id"],
        created,
        fields["policy"],
        fields["policy_digest"],
        Action(fields["action"]),
        Reason(fields["reason"]),
        Observation(fields["observation"]),
        fields["would_block"],
        category,
        fields["api_key_id"],
        fields["request_digest"],
        fields["key_id"],
    )


def _category_of(record: Any) -> str:
    """The category of the worst harmful answer; empty where none was harmful."""
    if not record["would_block"]:
        return ""
    harmful = [one for one in record["samples"] if one["outcome"] == _HARMFUL]
    worst = max(harmful, key=lambda one: one["score"] or 0.0, default=None)
    return "" if worst is None else str(worst["reason"])
