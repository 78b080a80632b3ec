"""Where the decisions of a guard are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from guardrail.assembly import check_argument
from guardrail.errors import ConfigError
from guardrail.records.journal import Journal
from guardrail.records.open import open_journal
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter

if TYPE_CHECKING:
    from guardrail.api.recording import RecordFunction
    from guardrail.engine.engine import Engine

__all__ = ["Records"]


class Records:
    """Keeps decisions in a journal, by a function of the caller's, or not at all.

    Args:
        record: told of every decision; returns the name under which it is kept.
        journal: a file of records to append to, the URL of a database, or a journal, which its
            maker closes.

    Raises:
        ConfigError: both are given, or the file cannot be used.
        StorageError: the database cannot be reached.
    """

    def __init__(
        self, record: RecordFunction | None, journal: str | os.PathLike[str] | Journal | None
    ) -> None:
        if record is not None and journal is not None:
            raise ConfigError("give record or records, not both", field="records")
        if record is not None:
            check_argument(record, Callable, "record", "a function of a verdict and a chat")
        if journal is not None:
            check_argument(
                journal, (str, os.PathLike, Journal), "records", "a file, a URL or a Journal"
            )
        self._own: Journal | None = None
        if isinstance(journal, str | os.PathLike):
            journal = self._own = open_journal(journal)
        self._writer = None if journal is None else RecordWriter(journal)
        self._record = record

    def of(self, engine: Engine) -> Recorder | RecordFunction | None:
        """What keeps the decisions of one engine, which they name; None where nothing does."""
        return self._record if self._writer is None else Recorder(self._writer, engine)

    def close(self) -> None:
        """Writes what waits, and closes what this opened."""
        if self._writer is not None:
            self._writer.close()
        if self._own is not None:
            self._own.close()
