"""Filters that a reader keeps under a name."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.console.tables import SAVED_FILTERS
from guardrail.errors import RequestError

if TYPE_CHECKING:
    from guardrail.database.database import Database

__all__ = ["SavedFilter", "list_filters", "remove_filter", "save_filter"]

_MOST = 50
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class SavedFilter:
    """`query` is what stands in the address of the list."""

    filter_id: str
    name: str
    query: str


def list_filters(database: Database, owner: str) -> list[SavedFilter]:
    """A reader's filters, by name. Raises StorageError."""
    columns = (SAVED_FILTERS.c.filter_id, SAVED_FILTERS.c.name, SAVED_FILTERS.c.query)
    query = sa.select(*columns).where(SAVED_FILTERS.c.owner == owner)
    with database.read() as connection:
        rows = connection.execute(query.order_by(SAVED_FILTERS.c.name).limit(_MOST)).all()
    return [SavedFilter(*row) for row in rows]


def save_filter(database: Database, owner: str, name: str, query: str) -> None:
    """Keeps a filter; one of the same name is replaced.

    Raises:
        RequestError: the name is empty or too long, or there are too many.
        StorageError: it cannot be kept.
    """
    name = " ".join(name.split())
    if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
        raise RequestError(f"a filter's name has 1 to {_LONGEST_NAME} characters", param="name")
    mine = SAVED_FILTERS.c.owner == owner
    row = {
        "filter_id": uuid.uuid4().hex,
        "owner": owner,
        "name": name,
        "query": query,
        "created": datetime.now(UTC),
    }
    with database.write() as connection:
        connection.execute(sa.delete(SAVED_FILTERS).where(mine, SAVED_FILTERS.c.name == name))
        counting = sa.select(sa.func.count()).select_from(SAVED_FILTERS).where(mine)
        if connection.execute(counting).scalar_one() >= _MOST:
            raise RequestError(f"you have {_MOST} filters; remove one first", param="name")
        connection.execute(sa.insert(SAVED_FILTERS), row)


def remove_filter(database: Database, owner: str, filter_id: str) -> None:
    """Removes a reader's own filter, if there is one. Raises StorageError."""
    is_it = (SAVED_FILTERS.c.owner == owner) & (SAVED_FILTERS.c.filter_id == filter_id)
    with database.write() as connection:
        connection.execute(sa.delete(SAVED_FILTERS).where(is_it))
