"""A database: opened by URL, brought up to date once, fails with words and without passwords."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import traceback
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from guardrail.database.address import is_database, read_address
from guardrail.database.database import connect
from guardrail.database.migrate import open_database
from guardrail.errors import ConfigError, StorageError


def table_names(database):
    with database.read() as connection:
        return set(sa.inspect(connection).get_table_names())


def test_a_new_database_has_the_whole_schema(database_url):
    database = open_database(database_url)
    assert {"records", "writers", "contents", "anchors"} <= table_names(database)
    database.close()
    open_database(database_url).close()  # again: nothing to do


def test_a_sqlite_file_is_private_durable_and_read_while_it_is_written(tmp_path):
    path = tmp_path / "records.db"
    database = open_database(str(path))
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        for file in tmp_path.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        assert "t" not in table_names(database)  # a reader waits for nobody
    assert "t" in table_names(database)
    database.close()


def test_an_error_undoes_what_was_written(database_url):
    database = open_database(database_url)
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        _ = connection.exec_driver_sql("CREATE TABLE t (x INTEGER)").close(), 1 / 0
    assert "t" not in table_names(database)
    database.close()


def test_a_reader_cannot_write_to_a_server(postgres_url):
    database = open_database(postgres_url)
    with pytest.raises(StorageError, match="cannot be read"), database.read() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
    database.close()


OPEN = """
import sys
from guardrail.database.migrate import open_database
open_database(sys.argv[1]).close()
"""


def test_processes_that_open_at_once_migrate_once(database_url, repository):
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    opening = [
        subprocess.Popen([sys.executable, "-c", OPEN, database_url], env=environment)
        for _ in range(2)
    ]
    assert [process.wait(60) for process in opening] == [0, 0]


def test_a_newer_database_is_refused(database_url):
    database = open_database(database_url)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(ConfigError, match=r"schema 9999 of a newer version.*install that version"):
        open_database(database_url)


@pytest.mark.parametrize("part", ["", "-wal"])
@pytest.mark.parametrize("damage", ["removed", "replaced", "removed meanwhile"])
def test_nothing_is_kept_in_a_file_that_was_taken_away(sqlite_url, part, damage):
    """SQLite itself writes on into the file that nobody can find any more."""
    file = Path(sqlite_url.removeprefix("sqlite:///") + part)
    away = file.with_name("away")
    database = open_database(sqlite_url)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")

    def take_away():
        file.rename(away)
        if damage == "replaced":
            file.write_bytes(away.read_bytes())

    def write():
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            take_away()

    if damage != "removed meanwhile":
        take_away()
    with pytest.raises(StorageError, match="removed or replaced"):
        write()
    away.rename(file)
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (2)")
    database.close()


@pytest.mark.nightly
def test_a_program_that_reads_and_ends_takes_nothing_from_one_that_writes(sqlite_url):
    """Also where this process has opened the file twice, as a server with a console does."""
    reader = (
        "import sys\n"
        "from guardrail.records.query import open_existing\n"
        "with open_existing(sys.argv[1]) as database, database.read() as connection:\n"
        "    connection.exec_driver_sql('SELECT count(*) FROM records').scalar()\n"
    )
    with closing(open_database(sqlite_url)) as writer:
        for kept in range(3):
            with writer.write() as connection:
                connection.execute(sa.text("CREATE TABLE IF NOT EXISTS kept (n INTEGER)"))
                connection.execute(sa.text("INSERT INTO kept VALUES (1)"))
            with closing(open_database(sqlite_url)):
                subprocess.run([sys.executable, "-c", reader, sqlite_url], check=True, timeout=120)
            with writer.read() as connection:
                assert connection.execute(sa.text("SELECT count(*) FROM kept")).scalar() == kept + 1


def test_a_lock_of_another_program_is_waited_for_no_longer_than_told(sqlite_url):
    database = open_database(sqlite_url)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    with pytest.raises(StorageError, match="database is locked"), database.write(lock_wait_s=0.2):
        pass
    assert 0.1 < time.monotonic() - start < 30
    other.close()
    database.close()


def test_a_lock_on_a_server_is_waited_for_no_longer_than_told(postgres_url):
    database, other = open_database(postgres_url), open_database(postgres_url)
    with other.write() as holding:
        holding.exec_driver_sql("LOCK TABLE records")
        words = r"LockNotAvailable|lock timeout"
        with pytest.raises(StorageError, match=words), database.write(lock_wait_s=0.2) as waiting:
            waiting.exec_driver_sql("LOCK TABLE records")
    database.close()
    other.close()


def test_threads_share_a_database(database_url):
    database = open_database(database_url)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")

    def write():
        for _ in range(10):
            with database.write() as connection:
                connection.exec_driver_sql("INSERT INTO t VALUES (1)")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 40
    database.close()


@pytest.mark.parametrize(
    "address",
    ["", "sqlite://", "sqlite:///:memory:", "mysql://u:hunter2@h/x", "postgresql://[u:hunter2",
     "sqlite:///x.db?vfs=hunter2", "postgresql://u@h/x?password=hunter2", "://hunter2"],
)  # fmt: skip
def test_other_addresses_are_refused_without_a_word_of_them(address):
    with pytest.raises(ConfigError) as caught:
        read_address(address)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_password_is_in_no_message(tmp_path):
    database = connect("postgresql://someone:hunter2@127.0.0.1:9/x?sslmode=disable")
    assert "hunter2" not in repr(database) + database.name
    with (
        pytest.raises(
            StorageError, match=r"someone@127\.0\.0\.1:9/x: .*Connection refused"
        ) as caught,
        database.read(),
    ):
        pass
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in repr(read_address("postgresql://someone:hunter2@h/x"))


def test_values_of_a_statement_are_in_no_message(database_url):
    database = open_database(database_url)
    insert = sa.text("INSERT INTO anchors (number, digest) VALUES (1, :digest)")
    with pytest.raises(StorageError) as caught, database.write() as connection:
        connection.execute(insert, {"digest": "hunter2"})
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    database.close()


def test_a_file_in_no_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be opened"):
        connect(str(tmp_path / "missing" / "records.db"))


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "records.db"
    path.write_text("no database " * 1000)
    with pytest.raises(StorageError, match=r"records\.db"):
        open_database(str(path))
    assert path.read_text() == "no database " * 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [("records.jsonl", False), ("x.DB", True), ("a.sqlite3", True), ("postgresql://h/x", True)],
)
def test_a_database_is_known_by_its_address(text, expected):
    assert is_database(text) is expected
