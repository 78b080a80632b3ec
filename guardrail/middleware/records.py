"""Where the decisions of a guard are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from guardrail.assembly import check_argument
from guardrail.errors import ConfigError
from guardrail.records.journal import FileJournal, Journal
from guardrail.records.recorder import Recorder

if TYPE_CHECKING:
    from guardrail.api.service import Record
    from guardrail.engine.engine import Engine

__all__ = ["Records"]


class Records:
    """Keeps decisions in a journal, by a function of the caller's, or not at all.

    Args:
        record: told of every decision; returns the name under which it is kept.
        journal: a file of records to append to, or a journal, which its maker closes.

    Raises:
        ConfigError: both are given, or the file cannot be used.
    """

    def __init__(
        self, record: Record | None, journal: str | os.PathLike[str] | Journal | None
    ) -> None:
        if record is not None and journal is not None:
            raise ConfigError("give record or records, not both", field="records")
        if record is not None:
            check_argument(record, Callable, "record", "a function of a verdict and a chat")
        if journal is not None:
            check_argument(journal, (str, os.PathLike, Journal), "records", "a file or a Journal")
        self._own: FileJournal | None = None
        if isinstance(journal, str | os.PathLike):
            journal = self._own = FileJournal(journal)
        self._journal = journal
        self._record = record

    def of(self, engine: Engine) -> Record | None:
        """What keeps the decisions of one engine, which they name; None where nothing does."""
        return self._record if self._journal is None else Recorder(self._journal, engine)

    def close(self) -> None:
        if self._own is not None:
            self._own.close()
