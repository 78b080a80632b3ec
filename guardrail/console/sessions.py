"""Who is signed in: random tokens in cookies, their digests in the database.

A session ends when its reader signs out, after twelve hours, after two hours in which nothing was
asked, and as soon as its API key is revoked, expires or has had its secret replaced.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.console.tables import SESSIONS
from guardrail.records.query import as_utc

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.database.database import Database
    from guardrail.keys.api_key import ApiKey

__all__ = ["Session", "SessionStore", "new_token"]

_LIFETIME = timedelta(hours=12)
_IDLE = timedelta(hours=2)
_NOTED_EVERY = timedelta(minutes=5)
"""How often it is written down that a session is in use; each time costs a wait for the disk."""


@dataclass(frozen=True, slots=True)
class Session:
    """One reader's session.

    Attributes:
        key_id: of the API key that it was opened with.
        key_mark: of the secret that was given, a digest of its digest.
    """

    key_id: str
    key_mark: str

    def belongs_to(self, key: ApiKey, now: datetime) -> bool:
        """Whether the key may still be used, with the secret that this was opened with."""
        marks = [_mark(digest) for digest in key.digests(now)]
        return key.is_valid(now) and self.key_mark in marks


class SessionStore:
    """Sessions in a database. Blocks; for any thread.

    Args:
        database: with the schema of this version.
        clock: for tests.
    """

    def __init__(
        self, database: Database, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._clock = clock

    def open(self, key: ApiKey, secret_digest: str) -> str:
        """The token of a new session; sessions that have ended are removed. Raises StorageError."""
        token, now = new_token(), self._clock()
        row = {
            "token_digest": _digest(token),
            "key_id": key.id,
            "key_mark": _mark(secret_digest),
            "created": now,
            "seen": now,
            "expires": now + _LIFETIME,
        }
        with self._database.write() as connection:
            connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.expires <= now))
            connection.execute(sa.insert(SESSIONS), row)
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token; None where there is none any more. Raises StorageError."""
        is_it, now = SESSIONS.c.token_digest == _digest(token), self._clock()
        with self._database.read() as connection:
            row = connection.execute(sa.select(SESSIONS).where(is_it)).mappings().first()
        if row is None or now >= as_utc(row["expires"]) or now >= as_utc(row["seen"]) + _IDLE:
            return None
        if now >= as_utc(row["seen"]) + _NOTED_EVERY:
            with self._database.write() as connection:
                connection.execute(sa.update(SESSIONS).where(is_it).values(seen=now))
        return Session(row["key_id"], row["key_mark"])

    def end(self, token: str) -> None:
        """Ends the session of a token, if there is one. Raises StorageError."""
        with self._database.write() as connection:
            connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.token_digest == _digest(token)))


def new_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _mark(secret_digest: str) -> str:
    """Names a key's secret by the digest of its digest, which opens nothing."""
    return hashlib.sha256(f"console {secret_digest}".encode()).hexdigest()
