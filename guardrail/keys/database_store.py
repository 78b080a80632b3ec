"""Keys in a database, where several servers share them."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from guardrail.database.migrate import open_database
from guardrail.errors import ConfigError
from guardrail.keys.api_key import ApiKey, KeyLimits, KeyScope
from guardrail.keys.store import MOST_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Table

__all__ = ["DatabaseKeyStore"]

_LIMITS = tuple(KeyLimits.__dataclass_fields__)
_TIMES = ("created", "expires", "revoked", "old_until")
_PLAIN = ("id", "digest", "name", "tenant", "policy", "old_digest")


class DatabaseKeyStore:
    """The table `api_keys` of one database.

    Raises:
        ConfigError: the address is none, or the database was made by a newer version.
        StorageError: it cannot be reached.
    """

    def __init__(self, address: str) -> None:
        self._database = open_database(address)
        self._table = _make_table()

    @property
    def name(self) -> str:
        return self._database.name

    def version(self) -> object:
        with self._database.read() as connection:
            return connection.exec_driver_sql("SELECT changes FROM api_keys_version").scalar_one()

    def read(self) -> tuple[ApiKey, ...]:
        from sqlalchemy import select

        wanted = select(self._table).order_by(self._table.c.created, self._table.c.id)
        with self._database.read() as connection:
            rows = connection.execute(wanted.limit(MOST_KEYS + 1)).mappings().all()
        return tuple(_parse(row) for row in rows)

    def add(self, key: ApiKey) -> None:
        from sqlalchemy import func, insert, select

        with self._database.write() as connection:
            kept = connection.execute(select(func.count()).select_from(self._table)).scalar_one()
            if kept >= MOST_KEYS:
                raise ConfigError(f"a database holds at most {MOST_KEYS} keys; delete old ones")
            connection.execute(insert(self._table), _row(key))
            _count_change(connection)

    def change(self, key_id: str, edit: Callable[[ApiKey], ApiKey]) -> ApiKey:
        from sqlalchemy import select, update

        is_it = self._table.c.id == key_id
        with self._database.write() as connection:
            wanted = select(self._table).where(is_it).with_for_update()
            row = connection.execute(wanted).mappings().one_or_none()
            if row is None:
                raise ConfigError(
                    f"there is no key {key_id[:64]!r} in {self.name}; 'guardrail keys list' shows "
                    "them"
                )
            key = edit(_parse(row))
            connection.execute(update(self._table).where(is_it), _row(key))
            _count_change(connection)
        return key

    def close(self) -> None:
        self._database.close()


def _count_change(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE api_keys_version SET changes = changes + 1")


def _make_table() -> Table:
    from sqlalchemy import BigInteger, Column, DateTime, Float, MetaData, Table, Text

    kinds: dict[str, Any] = {
        **dict.fromkeys((*_PLAIN, "scopes"), Text),
        **dict.fromkeys(_LIMITS, BigInteger),
        "usd_per_day": Float(53),
        **dict.fromkeys(_TIMES, DateTime(timezone=True)),
    }
    columns = [Column(name, kind, primary_key=name == "id") for name, kind in kinds.items()]
    return Table("api_keys", MetaData(), *columns)


def _row(key: ApiKey) -> dict[str, Any]:
    return {
        **{name: getattr(key, name) for name in (*_PLAIN, *_TIMES)},
        **{name: getattr(key.limits, name) for name in _LIMITS},
        "scopes": " ".join(sorted(key.scopes)),
    }


def _parse(row: Mapping[Any, Any]) -> ApiKey:
    """Raises ConfigError: somebody else has written the row."""
    try:
        scopes = frozenset(KeyScope(word) for word in row["scopes"].split())
    except ValueError:
        raise ConfigError(
            f"the API key {row['id']} has scopes that this version does not know; install the "
            "version that made it, or revoke it"
        ) from None
    return ApiKey(
        scopes=scopes,
        limits=KeyLimits(**{name: row[name] for name in _LIMITS}),
        **{name: row[name] for name in _PLAIN},
        **{name: _as_utc(row[name]) for name in _TIMES},
    )


def _as_utc(at: Any) -> Any:
    """SQLite keeps no time zone: what was written is UTC."""
    if at is None:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
