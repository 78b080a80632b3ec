"""What a job's log holds, found by row and by content; in a file of its own that ends with it."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from dataclasses import dataclass

__all__ = ["DecisionIndex", "KnownDecision"]

_TABLES = """
CREATE TABLE rows (
    id BLOB PRIMARY KEY, content BLOB, line INT, decided INT, seen INT
) WITHOUT ROWID;
CREATE TABLE decisions (
    content BLOB PRIMARY KEY, name TEXT, decision TEXT, reason TEXT, stopped TEXT,
    harmful TEXT, outside INT, lists TEXT, known TEXT
) WITHOUT ROWID;
CREATE TABLE failed (content BLOB PRIMARY KEY, lines INT) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class KnownDecision:
    """The last decision about a content; the fields are those of `RowOutcome`.

    `name` is the row that it was made for.
    """

    name: str
    decision: str
    reason: str
    stopped_by: str
    harmful: str
    outside_claim: bool
    known_lists: str
    known_picture: str


class DecisionIndex:
    """An index of rows and decisions that lies on the disk, not in memory; for any thread.

    It is made anew from the log at each start (a private, temporary database of SQLite's, which
    the system removes with the process), so that it can never say anything else than the log.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.executescript(_TABLES)
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("BEGIN")

    def add(self, identity: str, content: str, line: int, known: KnownDecision | None) -> None:
        """Notes a line of the log.

        Args:
            identity: of the row.
            content: its content key; empty where its picture was not read.
            line: number of the line, from 1; it takes the place of the row's earlier lines.
            known: the decision; None where nothing was decided.
        """
        row, decided = _short(identity), known is not None
        with self._lock:
            self._database.execute(
                "INSERT INTO rows VALUES (?, ?, ?, ?, 0) ON CONFLICT (id) DO UPDATE SET "
                "content = excluded.content, line = excluded.line, decided = excluded.decided",
                (row, bytes.fromhex(content), line, decided),
            )
            if known is not None:
                self._database.execute(
                    "INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (bytes.fromhex(content), known.name, known.decision, known.reason,
                     known.stopped_by, known.harmful, known.outside_claim, known.known_lists,
                     known.known_picture),
                )  # fmt: skip
            elif content:
                self._database.execute(
                    "INSERT INTO failed VALUES (?, 1) "
                    "ON CONFLICT (content) DO UPDATE SET lines = lines + 1",
                    (bytes.fromhex(content),),
                )

    def mark_seen(self, identity: str) -> None:
        """Notes that the source has this row in this run."""
        with self._lock:
            self._database.execute("UPDATE rows SET seen = 1 WHERE id = ?", (_short(identity),))

    def is_decided(self, identity: str, content: str) -> bool:
        """Whether this row was decided with this content."""
        found = self._one(
            "SELECT decided FROM rows WHERE id = ? AND content = ?",
            _short(identity),
            bytes.fromhex(content),
        )
        return found is not None and bool(found[0])

    def find(self, content: str) -> KnownDecision | None:
        """The decision about this content; None where there is none."""
        found = self._one(
            "SELECT name, decision, reason, stopped, harmful, outside, lists, known FROM decisions "
            "WHERE content = ?",
            bytes.fromhex(content),
        )
        if found is None:
            return None
        name, decision, reason, stopped, harmful, outside, lists, known = map(str, found)
        return KnownDecision(name, decision, reason, stopped, harmful, outside == "1", lists, known)

    def count_failed(self, content: str) -> int:
        """How many lines say that this content could not be decided."""
        found = self._one("SELECT lines FROM failed WHERE content = ?", bytes.fromhex(content))
        return 0 if found is None else int(str(found[0]))

    def is_current(self, identity: str, line: int) -> bool:
        """Whether this is the last line about a row that the source has."""
        found = self._one("SELECT line FROM rows WHERE id = ? AND seen = 1", _short(identity))
        return found is not None and found[0] == line

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _one(self, query: str, *values: bytes) -> tuple[object, ...] | None:
        with self._lock:
            found: tuple[object, ...] | None = self._database.execute(query, values).fetchone()
        return found


def _short(identity: str) -> bytes:
    """16 bytes: a million names, however long, take no more than 16 MB."""
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()[:16]
