"""Which requests lie in which batch: so that a job that was killed finds what it has paid for.

A file of SQLite's that holds digests of requests and the provider's ids, and nothing of what was
asked or answered. What is noted is on the disk before a batch is made, and before it is waited for.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["BatchLedger", "Submitted"]

_KIND = 0x47524254  # SQLite's `application_id` of these files
_VERSION = 1
_TABLES = """
CREATE TABLE job (salt BLOB NOT NULL);
CREATE TABLE batches (number INTEGER PRIMARY KEY, file TEXT NOT NULL, batch TEXT NOT NULL);
CREATE TABLE requests (id BLOB PRIMARY KEY, batch INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A batch of an earlier run.

    Attributes:
        number: in the ledger.
        file: the provider's id of its input.
        batch: the provider's id of the batch; empty where the run ended before it was told one.
    """

    number: int
    file: str
    batch: str


class BatchLedger:
    """The batches of all runs of a job; for any thread, and for one process at a time.

    Args:
        path: made (mode 0600) where it is missing.

    Attributes:
        salt: 32 random bytes, made with the file. What is derived from them is the same in every
            run of the job and in no other job.

    Raises:
        ConfigError: the file cannot be opened, is in use, or holds something else.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._open_file()
        try:
            self.salt = self._begin()
            last = self._database.execute("SELECT max(number) FROM batches").fetchone()[0]
        except sqlite3.Error as error:
            self._database.close()
            raise self._unusable_error(error) from error
        except ConfigError:
            self._database.close()
            raise
        self._last_of_earlier_runs: int = last or 0

    @property
    def has_earlier(self) -> bool:
        """Whether there are batches of earlier runs."""
        return self._last_of_earlier_runs > 0

    def find(self, request_id: str) -> Submitted | None:
        """The last batch of an earlier run that holds this request. Raises StorageError."""
        with self._lock:
            try:
                found = self._database.execute(
                    "SELECT number, file, batches.batch FROM requests JOIN batches "
                    "ON number = requests.batch WHERE id = ? AND number <= ?",
                    (bytes.fromhex(request_id), self._last_of_earlier_runs),
                ).fetchone()
            except sqlite3.Error as error:
                raise self._storage_error(error) from error
        return None if found is None else Submitted(*found)

    def note_file(self, file: str, request_ids: Collection[str]) -> int:
        """Notes an input file and its requests; the batch's number. Raises StorageError."""
        with self._lock:
            try:
                with self._database:
                    self._database.execute("BEGIN")
                    number = self._database.execute(
                        "INSERT INTO batches (file, batch) VALUES (?, '')", (file,)
                    ).lastrowid
                    self._database.executemany(
                        "INSERT OR REPLACE INTO requests VALUES (?, ?)",
                        ((bytes.fromhex(one), number) for one in request_ids),
                    )
            except sqlite3.Error as error:
                raise self._storage_error(error) from error
        assert number is not None
        return number

    def note_batch(self, number: int, batch: str) -> None:
        """Notes what the provider calls a batch. Raises StorageError."""
        with self._lock:
            try:
                self._database.execute(
                    "UPDATE batches SET batch = ? WHERE number = ?", (batch, number)
                )
            except sqlite3.Error as error:
                raise self._storage_error(error) from error

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _open_file(self) -> None:
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(
                self.path, check_same_thread=False, isolation_level=None, timeout=0.0
            )
        except (OSError, sqlite3.Error) as error:
            raise self._unusable_error(error) from error

    def _begin(self) -> bytes:
        """Locks the file for good, makes what is missing, and returns the salt."""
        execute = self._database.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA synchronous = FULL")
        execute("BEGIN EXCLUSIVE")
        kind = execute("PRAGMA application_id").fetchone()[0]
        is_new = not kind and not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if is_new:
            for statement in _TABLES.strip().split("\n"):
                execute(statement)
            execute("INSERT INTO job VALUES (?)", (secrets.token_bytes(32),))
            execute(f"PRAGMA application_id = {_KIND}")
            execute(f"PRAGMA user_version = {_VERSION}")
        elif kind != _KIND or execute("PRAGMA user_version").fetchone()[0] != _VERSION:
            raise ConfigError(
                "this file is no ledger of batches of this version and is left as it is; name "
                "another one",
                file=str(self.path),
            )
        salt: bytes = execute("SELECT salt FROM job").fetchone()[0]
        execute("COMMIT")
        return salt

    def _unusable_error(self, error: Exception) -> ConfigError:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            problem = "another process uses this ledger of batches; wait for it"
        else:
            problem = (
                f"the ledger of batches cannot be used ({error}); check the path, or name another"
            )
        return ConfigError(problem, file=str(self.path))

    def _storage_error(self, error: sqlite3.Error) -> StorageError:
        return StorageError(
            f"{self.path}: the ledger of batches cannot be read or written ({error}); make room, "
            "and call the same command again"
        )
