"""Brings a database to the schema of this version, once, whoever opens it first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.database.database import connect
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from guardrail.database.database import Database

__all__ = ["open_database"]

_FOLDER = Path(__file__).with_name("migrations")
_LOCK = 0x6775617264  # any number that every guardrail knows: PostgreSQL's locks are numbers
_LOCK_WAIT_S = 60.0
"""How long to wait for another process that is changing the schema."""


def open_database(address: str) -> Database:
    """The database at a URL or path, with the schema of this version.

    Raises:
        ConfigError: it was made by a newer version, or see `connect`.
        StorageError: it cannot be reached, read or changed.
    """
    database = connect(address)
    try:
        _bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return database


def _bring_up_to_date(database: Database) -> None:
    config = _config()
    with database.read() as connection:
        if _is_current(connection, config, database.name):
            return  # the usual case needs no lock
    with database.write(lock_wait_s=_LOCK_WAIT_S) as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        if not _is_current(connection, config, database.name):
            _upgrade(connection, config)


def _is_current(connection: Connection, config: Config, name: str) -> bool:
    """Whether the schema is this version's; False where it is older, or missing.

    Raises:
        ConfigError: this version does not know the schema.
    """
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(config)
    heads = MigrationContext.configure(connection).get_current_heads()
    known = {script.revision for script in scripts.walk_revisions()}
    if unknown := sorted(set(heads) - known):
        raise ConfigError(
            f"{name}: the database has the schema {', '.join(unknown)} of a newer version, which "
            "this one does not know; install that version, or name another database"
        )
    return set(heads) == set(scripts.get_heads())


def _upgrade(connection: Connection, config: Config) -> None:
    from alembic import command

    config.attributes["connection"] = connection
    command.upgrade(config, "heads")


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
