"""An open database: transactions that wait for locks no longer than they are told to."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.database.address import read_address
from guardrail.distribution import install_command
from guardrail.errors import ConfigError, StorageError
from guardrail.files import check_room

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Delete, Engine, Insert, Update

    from guardrail.database.address import Address
    from guardrail.database.prepared import PreparedStatement

__all__ = ["Database", "connect"]

_LOCK_WAIT_S = 5.0
_CONNECT_TIMEOUT_S = 5
_SILENCE_MS = 10_000
"""How long a server may leave sent bytes unacknowledged before the connection counts as lost."""

_POOL_SIZE = 4
_WAITS = "guardrail_busy_timeout_ms"

_OPENED = "guardrail_opened"


class Database:
    """Reads and writes in transactions; safe for threads, and blocking: never call it from a loop.

    Made by `connect` or, with the schema brought up to date, by `open_database`.
    """

    def __init__(self, engine: Engine, address: Address) -> None:
        self._engine = engine
        self._file = address.file
        self.name = address.name
        self.is_sqlite = address.file is not None

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    @contextmanager
    def read(self, *, lock_wait_s: float = _LOCK_WAIT_S) -> Iterator[Connection]:
        """A transaction that only reads.

        Raises:
            StorageError: the database cannot be reached or read, or a lock was held for longer
                than `lock_wait_s`.
        """
        with self._explaining_faults("read"), self._begin(lock_wait_s, writes=False) as connection:
            yield connection

    @contextmanager
    def write(self, *, lock_wait_s: float = _LOCK_WAIT_S) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block, and undone by any error in it.

        In SQLite it takes the one lock of writers at once: two that began by reading could not
        both go on. When the block has ended, what was written is on the disk.

        Raises:
            StorageError: as for `read`, or the disk is full.
        """
        with (
            self._explaining_faults("written"),
            self._begin(lock_wait_s, writes=True) as connection,
        ):
            yield connection

    def check_room(self) -> None:
        """Raises StorageError where the disk of a SQLite file is full; a server tells by itself."""
        if self._file is not None:
            check_room(self._file)

    @contextmanager
    def write_prepared(self, *, lock_wait_s: float = _LOCK_WAIT_S) -> Iterator[Any]:
        """The same as `write` for what is written all the time: the driver's cursor.

        What SQLAlchemy does for a transaction takes several times as long as SQLite's part in it.

        Raises:
            StorageError: as for `write`.
        """
        with self._explaining_faults("written"):
            connection = self._engine.raw_connection()
            try:
                cursor = connection.cursor()
                for statement in self._begin_statements(connection.info, lock_wait_s):
                    cursor.execute(statement)
                self._check_file(connection.info)
                yield cursor
                connection.commit()
                self._check_file(connection.info)  # it could have been removed in between
            except BaseException:
                _undo(connection, driver_error=self._driver.Error)
                raise
            finally:
                connection.close()

    @property
    def _driver(self) -> Any:
        """The driver's module, which has the names of PEP 249."""
        return self._engine.dialect.dbapi

    def _begin_statements(self, known: dict[Any, Any], lock_wait_s: float) -> list[str]:
        if self.is_sqlite:
            return [*_sqlite_waiting(known, lock_wait_s), "BEGIN IMMEDIATE"]
        return [_postgres_waiting(lock_wait_s)]  # the driver begins the transaction

    def prepare(
        self, statement: Insert | Update | Delete, columns: Sequence[str] | None = None
    ) -> PreparedStatement:
        """A statement that is run often, see `PreparedStatement`."""
        from guardrail.database.prepared import PreparedStatement

        return PreparedStatement(statement, self._engine.dialect, columns)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    @contextmanager
    def _begin(self, lock_wait_s: float, *, writes: bool) -> Iterator[Connection]:
        options = {"guardrail_writes": writes, "guardrail_lock_wait_s": lock_wait_s}
        with self._engine.connect().execution_options(**options) as connection:
            with connection.begin():
                self._check_file(connection.info)
                yield connection
            if writes:  # else it could have been removed in between
                self._check_file(connection.info)

    def _check_file(self, known: dict[Any, Any]) -> None:
        """Raises StorageError where what is written goes to a SQLite file that was removed.

        The system keeps such a file until it is closed, and SQLite writes on into it; so it is
        with the log beside it, which holds the last transactions and is made by the first of them.
        """
        if self._file is None:
            return
        opened = known[_OPENED]
        for part, before in opened.items():
            found = _identify(part)
            opened[part] = before or found
            if opened[part] != found:
                raise self._removed_error()

    def _removed_error(self) -> StorageError:
        return StorageError(
            f"{self.name}: the file or its log was removed or replaced while it is in use, and "
            "nothing is kept in it; put it back, or start this program again"
        )

    @contextmanager
    def _explaining_faults(self, what: str) -> Iterator[None]:
        from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

        driver = self._driver
        lasting = (DataError, IntegrityError, driver.DataError, driver.IntegrityError)
        try:
            yield
        except (SQLAlchemyError, driver.Error) as error:
            # No cause: a driver's message may quote values of the statement.
            raise StorageError(
                f"{self.name}: the database cannot be {what} ({self._describe(error)}); check that "
                "it runs, that it lets this user in, that no other program holds it, and the space "
                "on its disk",
                transient=not isinstance(error, lasting),
            ) from None

    def _describe(self, error: Exception) -> str:
        """What failed, in the driver's words where they cannot quote a value."""
        cause = getattr(error, "orig", None) or error
        code = getattr(cause, "sqlstate", None)
        # SQLite's own words are fixed ones; those of its driver may quote what was read.
        fixed = code is not None or hasattr(cause, "sqlite_errorname") or not _is_sqlite(cause)
        if isinstance(cause, self._driver.OperationalError) and fixed and str(cause):
            return str(cause).splitlines()[0]
        return f"{type(cause).__name__} {code}" if code else type(cause).__name__


def connect(address: str) -> Database:
    """The database at a URL or path; a SQLite file is made (mode 0600) where it is missing.

    Nothing is asked of a server yet.

    Raises:
        ConfigError: the address is none, the file cannot be made, or the driver is not installed.
    """
    where = read_address(address)
    return Database(_sqlite_engine(where) if where.file else _postgres_engine(where), where)


def _sqlite_engine(address: Address) -> Engine:
    from sqlalchemy import create_engine, event

    assert address.file is not None
    try:
        _make_file(address.file)
    except OSError as error:
        raise ConfigError(
            f"the database cannot be opened ({error.strerror}); check the path and its permissions",
            file=address.name,
        ) from error
    engine = create_engine(
        address.url,
        hide_parameters=True,
        pool_size=_POOL_SIZE,
        connect_args={"timeout": _LOCK_WAIT_S},
    )
    event.listen(engine, "connect", partial(_prepare_sqlite, address.file))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_file(file: Path) -> None:
    """Makes the file where it is missing, private; SQLite gives those beside it the same mode.

    One that is there is not opened: closing it would take from this process the locks that SQLite
    holds on it by another connection, and the next program that reads it would remove its log.

    Raises:
        OSError: it cannot be made, or not be read and written.
    """
    try:
        os.close(os.open(file.resolve(), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not os.access(file, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def _prepare_sqlite(file: Path, connection: Any, record: Any) -> None:
    """Settings of a new connection, and which file it has open.

    WAL lets readers go on while one writes. FULL, as NORMAL would lose the last commits at a power
    cut, and an answer leaves because its record was committed; the writer commits many records at
    once, so that one wait for the disk serves them all.
    """
    connection.isolation_level = None  # the driver begins no transactions of its own
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    record.info[_OPENED] = {file: _identify(file), Path(f"{file}-wal"): None}


def _identify(file: Path) -> tuple[int, int] | None:
    """Another value where it is another file; None where there is none."""
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    wait_s = options.get("guardrail_lock_wait_s", _LOCK_WAIT_S)
    for statement in _sqlite_waiting(connection.info, wait_s):
        connection.exec_driver_sql(statement).close()
    writes = options.get("guardrail_writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _undo(connection: Any, *, driver_error: type[Exception]) -> None:
    try:
        connection.rollback()
    except driver_error:
        connection.invalidate()  # it is lost; the next one is made anew


def _sqlite_waiting(known: dict[Any, Any], wait_s: float) -> list[str]:
    """How long a connection waits for locks; nothing where it was told so already."""
    wait_ms = round(1000 * wait_s)
    if known.get(_WAITS) == wait_ms:
        return []
    known[_WAITS] = wait_ms
    return [f"PRAGMA busy_timeout={wait_ms}"]


def _postgres_engine(address: Address) -> Engine:
    from sqlalchemy import create_engine, event

    try:
        import psycopg  # noqa: F401 (SQLAlchemy imports it by name)
    except ImportError as error:
        raise ConfigError(
            f"PostgreSQL needs the package psycopg; {install_command('postgres')}"
        ) from error
    engine = create_engine(
        address.url,
        hide_parameters=True,
        pool_size=_POOL_SIZE,
        pool_pre_ping=True,  # a connection that a restarted server closed is made again
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "tcp_user_timeout": _SILENCE_MS,
            "application_name": "guardrail",
        },
    )
    event.listen(engine, "begin", _begin_postgres)
    return engine


def _begin_postgres(connection: Connection) -> None:
    options = connection.get_execution_options()
    wait_s = options.get("guardrail_lock_wait_s", _LOCK_WAIT_S)
    connection.exec_driver_sql(_postgres_waiting(wait_s))
    if not options.get("guardrail_writes", True):
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def _postgres_waiting(wait_s: float) -> str:
    """How long this transaction waits for locks."""
    return f"SET LOCAL lock_timeout = {max(1, round(1000 * wait_s))}"


def _is_sqlite(cause: BaseException) -> bool:
    return type(cause).__module__ == "sqlite3"
