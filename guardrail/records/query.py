"""Finds records, in a database or in a file of lines, by what people look for."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from guardrail.database.address import is_database, read_address
from guardrail.errors import ConfigError
from guardrail.records.audit import read_records
from guardrail.records.rows import RecordSummary, read_row, summarize

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from guardrail.database.database import Database
    from guardrail.records.record import Record

__all__ = [
    "DatabaseSource",
    "FileSource",
    "Place",
    "RecordFilter",
    "RecordPage",
    "RecordSource",
    "as_utc",
    "open_existing",
    "open_source",
    "select_records",
    "summaries_query",
]

_PAGE = 500
_RANGE_ENDS = ("score_from", "score_to", "radius_from", "radius_to")


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records are meant; a field that is None means all.

    Attributes:
        since, until: when they were made; `until` is not included.
        score_from, score_to, radius_from, radius_to: ends of a range, both included; a record
            without the number is in none.

    The others must be equal to the summary's field of the same name.
    """

    since: datetime | None = None
    until: datetime | None = None
    action: str | None = None
    reason: str | None = None
    stopped_by: str | None = None
    category: str | None = None
    field: str | None = None
    would_block: bool | None = None
    policy: str | None = None
    model: str | None = None
    upstream: str | None = None
    principal: str | None = None
    api_key_id: str | None = None
    route: str | None = None
    request_id: str | None = None
    request_digest: str | None = None
    score_from: float | None = None
    score_to: float | None = None
    radius_from: float | None = None
    radius_to: float | None = None

    def equal_fields(self) -> dict[str, Any]:
        """The fields that must be equal, and to what."""
        fields = dataclasses.asdict(self)
        return {
            name: value
            for name, value in fields.items()
            if value is not None and name not in ("since", "until", *_RANGE_ENDS)
        }

    def ranges(self) -> list[tuple[str, bool, float]]:
        """Ends of ranges: of which field, whether it is the lower end, and the value."""
        ends = [(name, getattr(self, name)) for name in _RANGE_ENDS]
        return [
            (name.partition("_")[0], name.endswith("_from"), value)
            for name, value in ends
            if value is not None
        ]

    def holds(self, summary: RecordSummary) -> bool:
        """Whether a record is meant."""
        late = self.since is None or summary.created >= self.since
        early = self.until is None or summary.created < self.until
        equal = self.equal_fields().items()
        return (
            late
            and early
            and all(getattr(summary, name) == value for name, value in equal)
            and all(
                _is_within(getattr(summary, name), lower, end) for name, lower, end in self.ranges()
            )
        )


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A part of a list of records, the newest first.

    Attributes:
        rows: the records.
        has_newer, has_older: whether more are meant on either side.
    """

    rows: list[RecordSummary]
    has_newer: bool
    has_older: bool


Place: TypeAlias = tuple[datetime, str]
"""Where a record stands in a list: its time and its id."""


class RecordSource(Protocol):
    """Where records are read from."""

    def newest(self, which: RecordFilter, limit: int) -> list[RecordSummary]:
        """Summaries of the newest records that are meant, the newest first."""
        ...

    def find(self, record_id: str) -> Record | None:
        """The record of this id, with its content as it is kept; None where there is none."""
        ...

    def scan(self, which: RecordFilter) -> Iterator[Record]:
        """All records that are meant, chain by chain, each in its order, contents included."""
        ...


@contextmanager
def open_source(place: str) -> Iterator[RecordSource]:
    """The records at a place that exists already.

    Raises:
        ConfigError: there are none.
        StorageError: the database cannot be reached.
    """
    if not is_database(place):
        if not Path(place).is_file():
            raise ConfigError("there is no such file of records; check the path", file=place)
        yield FileSource(Path(place))
        return
    with open_existing(place) as database:
        yield DatabaseSource(database)


@contextmanager
def open_existing(place: str) -> Iterator[Database]:
    """A database that is there already.

    Raises:
        ConfigError: it is not, or it is none.
        StorageError: it cannot be reached.
    """
    from guardrail.database.migrate import open_database

    if not is_database(place):
        raise ConfigError("this works on databases only, not on files of lines", file=place)
    file = read_address(place).file
    if file is not None and not file.is_file():
        raise ConfigError("there is no such database; check the path", file=str(file))
    database = open_database(place)
    try:
        yield database
    finally:
        database.close()


class FileSource:
    """Reads a file of lines from its beginning each time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def newest(self, which: RecordFilter, limit: int) -> list[RecordSummary]:
        found = [one for one in map(summarize, self._records()) if which.holds(one)]
        return found[::-1][:limit]

    def find(self, record_id: str) -> Record | None:
        return next((one for one in self._records() if one.record_id == record_id), None)

    def scan(self, which: RecordFilter) -> Iterator[Record]:
        return (record for record in self._records() if which.holds(summarize(record)))

    def _records(self) -> Iterator[Record]:
        return (record for _, record in read_records(self._path))


class DatabaseSource:
    """Reads a database page by page, each in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, which: RecordFilter, limit: int) -> list[RecordSummary]:
        found: list[RecordSummary] = []
        last: Place | None = None
        while len(found) < limit:
            page = self.page(which, min(_PAGE, limit - len(found)), older_than=last)
            found += page.rows
            if not page.has_older:
                break
            last = (page.rows[-1].created, page.rows[-1].record_id)
        return found

    def page(
        self,
        which: RecordFilter,
        size: int,
        *,
        older_than: Place | None = None,
        newer_than: Place | None = None,
    ) -> RecordPage:
        """The records next to a place, or the newest; as quick at any place of the list."""
        goes_back = newer_than is None
        query = summaries_query(which, size + 1, older_than=older_than, newer_than=newer_than)
        with self._database.read() as connection:
            found = connection.execute(query).mappings().all()
        rows = [RecordSummary(**{**one, "created": as_utc(one["created"])}) for one in found[:size]]
        has_more = len(found) > size
        if goes_back:
            return RecordPage(rows, older_than is not None, has_more)
        return RecordPage(rows[::-1], has_more, True)

    def values(self, field: str, most: int = 100) -> list[str]:
        """The different values of a field that people filter by, in order; not more than `most`.

        Each costs one step in the field's index, however many records have it.
        """
        import sqlalchemy as sa

        from guardrail.records.tables import RECORDS

        column, found = RECORDS.c[field], list[str]()
        with self._database.read() as connection:
            query = sa.select(sa.func.min(column))
            while len(found) < most:
                value = connection.execute(query).scalar()
                if value is None:
                    break
                found.append(value)
                query = sa.select(sa.func.min(column)).where(column > value)
        return [value for value in found if value]

    def find(self, record_id: str) -> Record | None:
        from guardrail.records.tables import RECORDS

        with self._database.read() as connection:
            row = (
                connection.execute(select_records().where(RECORDS.c.record_id == record_id))
                .mappings()
                .first()
            )
        return None if row is None else read_row(dict(row))

    def scan(self, which: RecordFilter) -> Iterator[Record]:
        import sqlalchemy as sa

        from guardrail.records.tables import WRITERS

        with self._database.read() as connection:
            writers = (
                connection.execute(
                    sa.select(WRITERS.c.writer).order_by(WRITERS.c.started, WRITERS.c.writer)
                )
                .scalars()
                .all()
            )
        for writer in writers:
            yield from self._scan_chain(writer, which)

    def _scan_chain(self, writer: str, which: RecordFilter) -> Iterator[Record]:
        from guardrail.records.tables import RECORDS

        sequence = 0
        while True:
            query = (
                select_records()
                .where(RECORDS.c.writer == writer, RECORDS.c.sequence > sequence)
                .where(*_conditions(which))
                .order_by(RECORDS.c.sequence)
                .limit(_PAGE)
            )
            with self._database.read() as connection:
                rows = connection.execute(query).mappings().all()
            for row in rows:
                yield read_row(dict(row))
            if len(rows) < _PAGE:
                return
            sequence = rows[-1]["sequence"]


def summaries_query(
    which: RecordFilter,
    limit: int,
    *,
    older_than: Place | None = None,
    newer_than: Place | None = None,
) -> sa.Select[Any]:
    """The rows of a list from a place on: downwards from it, or upwards from `newer_than`."""
    import sqlalchemy as sa

    from guardrail.records.tables import RECORDS

    columns = [RECORDS.c[field.name] for field in dataclasses.fields(RecordSummary)]
    place = sa.tuple_(RECORDS.c.created, RECORDS.c.record_id)
    order: list[sa.ColumnElement[Any]] = [RECORDS.c.created, RECORDS.c.record_id]
    ids = sa.select(RECORDS.c.record_id).where(*_conditions(which)).limit(limit)
    if newer_than is not None:
        ids = ids.where(place > _place(newer_than))
    else:
        order = [column.desc() for column in order]
        if older_than is not None:
            ids = ids.where(place < _place(older_than))
    # Ids first: an index answers that alone, and no row is read that is not shown. Read at once,
    # a range that few records are in took twenty times as long.
    chosen = ids.order_by(*order).subquery()
    query = sa.select(*columns).join(chosen, chosen.c.record_id == RECORDS.c.record_id)
    return query.order_by(*order)


def _place(place: Place) -> sa.ColumnElement[Any]:
    """A place with the columns' own types, by which a time is written as the column has it."""
    import sqlalchemy as sa

    from guardrail.records.tables import RECORDS

    created, record_id = place
    return sa.tuple_(sa.literal(created, RECORDS.c.created.type), sa.literal(record_id, sa.Text))


def select_records() -> sa.Select[Any]:
    """Every column of records, and their contents as `sealed`."""
    import sqlalchemy as sa

    from guardrail.records.tables import CONTENTS, RECORDS

    joined = RECORDS.outerjoin(CONTENTS, RECORDS.c.record_id == CONTENTS.c.record_id)
    return sa.select(RECORDS, CONTENTS.c.sealed).select_from(joined)


def _conditions(which: RecordFilter) -> list[sa.ColumnElement[bool]]:
    from guardrail.records.tables import RECORDS

    conditions = [_equals(RECORDS.c[name], value) for name, value in which.equal_fields().items()]
    if which.since is not None:
        conditions.append(RECORDS.c.created >= which.since)
    if which.until is not None:
        conditions.append(RECORDS.c.created < which.until)
    for name, is_lower, value in which.ranges():
        column = RECORDS.c[name]
        conditions.append(column >= value if is_lower else column <= value)
    return conditions


def _is_within(number: float | None, is_lower: bool, end: float) -> bool:
    return number is not None and (number >= end if is_lower else number <= end)


def _equals(column: sa.ColumnElement[Any], value: object) -> sa.ColumnElement[bool]:
    """Truth values stand in the statement itself, by which an index of marked rows is chosen."""
    if value is True:
        return column
    return ~column if value is False else column == value


def as_utc(time: datetime) -> datetime:
    """SQLite gives times without their zone, PostgreSQL in the session's; all are kept as UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
