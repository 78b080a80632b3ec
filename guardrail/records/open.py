"""Opens the place that a text names: a file of lines, or a database."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from guardrail.database.address import is_database
from guardrail.records.journal import FileJournal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.records.journal import Journal
    from guardrail.records.options import Retention
    from guardrail.records.signing import RecordSigner

__all__ = ["open_journal", "open_pruner"]


def open_journal(
    place: str | os.PathLike[str],
    *,
    signer: RecordSigner | None = None,
    lock_wait_s: float = 5.0,
) -> Journal:
    """A journal in a database, by its URL or a file that ends in .db, or in a file of JSON lines.

    Raises:
        ConfigError: it cannot be opened.
        StorageError: the database cannot be reached.
    """
    text = os.fspath(place)
    if not is_database(text):
        return FileJournal(text, signer=signer, fsync=True)
    from guardrail.database.migrate import open_database
    from guardrail.records.database_journal import DatabaseJournal

    database = open_database(text)
    try:
        return DatabaseJournal(database, signer=signer, lock_wait_s=lock_wait_s)
    except BaseException:
        database.close()
        raise


@contextmanager
def open_pruner(
    place: str | os.PathLike[str], retention: Retention, signer: RecordSigner | None = None
) -> Iterator[None]:
    """Removes old records from a database every hour, as long as the block lasts.

    Raises:
        ConfigError: it cannot be opened.
        StorageError: it cannot be reached.
    """
    if retention.records_days is None and retention.content_days is None:
        yield
        return
    from guardrail.database.migrate import open_database
    from guardrail.records.retention import Pruner

    with (
        closing(open_database(os.fspath(place))) as database,
        closing(Pruner(database, retention, signer)),
    ):
        yield
