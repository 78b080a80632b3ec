"""Records as plain dictionaries, read quickly: for tables and replays over very many of them.

Nothing is checked here but that each is the JSON of an object: digests, chains and certificates are
what `guardrail verify` and `guardrail records verify` are for.
"""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.database.address import is_database
from guardrail.errors import CertificationError, ConfigError
from guardrail.records.lines import read_lines
from guardrail.records.query import open_existing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guardrail.database.database import Database

__all__ = [
    "Documents",
    "count_decisions",
    "count_documents",
    "open_documents",
    "recent_documents",
]

_PAGE = 1000
_READ_AT_ONCE = 500


class Documents:
    """The records of one place, made from `since` on and before `until`; may be read repeatedly.

    Args:
        read: gives their texts, with the sealed content of each where there is one.
        count: how many there are at most, for a progress bar.
    """

    def __init__(
        self,
        read: Callable[[], Iterator[tuple[str | bytes, bytes | None]]],
        count: Callable[[], int],
        since: datetime | None,
        until: datetime | None,
    ) -> None:
        self._read, self._count = read, count
        self._since, self._until = since, until

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One dictionary for each record, as `Record.to_dict` makes them.

        Raises:
            CertificationError: one of them is not the JSON of an object.
        """
        for text, sealed in self._read():
            document = _parse(text)
            if sealed is not None:
                document["content"] = base64.b64encode(sealed).decode()
            if self._is_meant(document):
                yield document

    def count(self) -> int:
        """How many records there are, those of other times included."""
        return self._count()

    def _is_meant(self, document: dict[str, Any]) -> bool:
        if self._since is None and self._until is None:
            return True
        created = _read_time(document)
        late = self._since is None or created >= self._since
        return late and (self._until is None or created < self._until)


@contextmanager
def open_documents(
    place: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    contents: bool = False,
) -> Iterator[Documents]:
    """The records at a place that exists already.

    Args:
        place: a file of lines, or a database.
        since: with a zone; None for all.
        until: likewise, not included.
        contents: whether the sealed contents of a database's records are read too.

    Raises:
        ConfigError: there are none.
        StorageError: the database cannot be reached.
    """
    if not is_database(place):
        file = Path(place)
        if not file.is_file():
            raise ConfigError("there is no such file of records; check the path", file=place)
        yield Documents(lambda: _read_file(file), lambda: count_documents(file), since, until)
        return
    with open_existing(place) as database:
        yield Documents(
            lambda: _read_database(database, since, until, contents=contents),
            lambda: _count_rows(database),
            since,
            until,
        )


def recent_documents(
    database: Database,
    most: int,
    *,
    policy: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    record_id: str | None = None,
) -> Documents:
    """The newest records of an open database, the oldest of them first; without contents.

    Args:
        database: the database.
        most: how many.
        policy: only those that the policy of this name decided.
        since: only those made at this time or later.
        until: only those made before this time.
        record_id: only this one.
    """
    return Documents(
        lambda: _read_newest(database, most, policy, (since, until), record_id),
        lambda: most,
        None,
        None,
    )


def _read_newest(
    database: Database,
    most: int,
    policy: str | None,
    times: tuple[datetime | None, datetime | None],
    record_id: str | None,
) -> Iterator[tuple[str, None]]:
    """Names first, then texts page by page: no writer waits, and few texts are held at a time."""
    import sqlalchemy as sa

    from guardrail.records.tables import RECORDS

    query = sa.select(RECORDS.c.record_id)
    for column, value in ((RECORDS.c.policy, policy), (RECORDS.c.record_id, record_id)):
        query = query if value is None else query.where(column == value)
    since, until = times
    query = query if since is None else query.where(RECORDS.c.created >= since)
    query = query if until is None else query.where(RECORDS.c.created < until)
    query = query.order_by(RECORDS.c.created.desc(), RECORDS.c.record_id.desc()).limit(most)
    with database.read() as connection:
        names = connection.execute(query).scalars().all()[::-1]
    for start in range(0, len(names), _READ_AT_ONCE):
        page = names[start : start + _READ_AT_ONCE]
        chosen = sa.select(RECORDS.c.record_id, RECORDS.c.document).where(
            RECORDS.c.record_id.in_(page)
        )
        with database.read() as connection:
            found = {row.record_id: row.document for row in connection.execute(chosen)}
        # One that was removed meanwhile is not there any more.
        yield from ((found[name], None) for name in page if name in found)


def count_decisions(
    database: Database, policy: str, since: datetime | None, until: datetime | None
) -> int:
    """How many decisions of a policy were recorded in a time. Raises StorageError."""
    import sqlalchemy as sa

    from guardrail.records.tables import RECORDS

    query = sa.select(sa.func.count()).select_from(RECORDS).where(RECORDS.c.policy == policy)
    query = query if since is None else query.where(RECORDS.c.created >= since)
    query = query if until is None else query.where(RECORDS.c.created < until)
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())


def count_documents(file: Path) -> int:
    """Lines of a file."""
    with file.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))


def _read_file(file: Path) -> Iterator[tuple[bytes, None]]:
    return ((line, None) for line in read_lines(file))


def _count_rows(database: Database) -> int:
    import sqlalchemy as sa

    from guardrail.records.tables import RECORDS

    with database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(RECORDS)).scalar_one())


def _read_database(
    database: Database, since: datetime | None, until: datetime | None, *, contents: bool
) -> Iterator[tuple[str, bytes | None]]:
    """Page by page, each in a transaction of its own, so that no writer waits for the reader."""
    import sqlalchemy as sa

    from guardrail.records.tables import CONTENTS, RECORDS, WRITERS

    columns = [RECORDS.c.sequence, RECORDS.c.document]
    source: Any = RECORDS
    if contents:
        columns.append(CONTENTS.c.sealed)
        source = RECORDS.outerjoin(CONTENTS, RECORDS.c.record_id == CONTENTS.c.record_id)
    times = [RECORDS.c.created >= since] if since else []
    times += [RECORDS.c.created < until] if until else []
    with database.read() as connection:
        query = sa.select(WRITERS.c.writer).order_by(WRITERS.c.started, WRITERS.c.writer)
        writers = connection.execute(query).scalars().all()
    for writer in writers:
        sequence = 0
        while True:
            page = (
                sa.select(*columns)
                .select_from(source)
                .where(RECORDS.c.writer == writer, RECORDS.c.sequence > sequence, *times)
                .order_by(RECORDS.c.sequence)
                .limit(_PAGE)
            )
            with database.read() as connection:
                rows = connection.execute(page).all()
            for row in rows:
                yield row.document, row.sealed if contents else None
            if len(rows) < _PAGE:
                break
            sequence = rows[-1].sequence


def _parse(text: str | bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CertificationError(
            "a record is not JSON, or its line was never finished; run guardrail verify"
        ) from error
    if not isinstance(document, dict):
        raise CertificationError("a record is not a JSON object; run guardrail verify")
    return document


def _read_time(document: dict[str, Any]) -> datetime:
    try:
        created = datetime.fromisoformat(document["created"])
    except (KeyError, TypeError, ValueError) as error:
        raise CertificationError("a record's time is not a time; run guardrail verify") from error
    return created if created.tzinfo is not None else created.replace(tzinfo=UTC)
