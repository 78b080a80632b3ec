"""A statement that is compiled once and run often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Delete, Dialect, Insert, Update

__all__ = ["PreparedStatement"]


class PreparedStatement:
    """Runs the statement, and sends the values, that SQLAlchemy would.

    SQLAlchemy's own path builds the statement, looks it up and converts every value at each call,
    which takes several times as long as SQLite needs to insert a row. Here only those values are
    converted that the driver takes otherwise (times, in SQLite).

    Args:
        statement: each of its values has a name: a column's, or that of a `bindparam`.
        dialect: of the database.
        columns: of an INSERT, those that rows give.
    """

    def __init__(
        self,
        statement: Insert | Update | Delete,
        dialect: Dialect,
        columns: Sequence[str] | None = None,
    ) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
        self._text = str(compiled)
        self._order: Sequence[str] | None = compiled.positiontup
        made = {
            name: value.type.dialect_impl(dialect).bind_processor(dialect)
            for name, value in compiled.binds.items()
        }
        self._converted = {name: convert for name, convert in made.items() if convert is not None}

    def run(self, cursor: Any, *rows: Mapping[str, Any]) -> None:
        """Runs it once for each row of values, by the driver's cursor."""
        given = [self._convert(row) for row in rows]
        if len(given) == 1:
            cursor.execute(self._text, given[0])
        elif given:
            cursor.executemany(self._text, given)

    def _convert(self, row: Mapping[str, Any]) -> tuple[Any, ...] | dict[str, Any]:
        """The row as the driver takes it: by name, or in the order of the statement."""
        values = {**row, **{name: make(row[name]) for name, make in self._converted.items()}}
        return values if self._order is None else tuple([values[name] for name in self._order])
