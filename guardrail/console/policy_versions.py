"""Versions of policies: texts that stay as they were written, and what became of each."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from guardrail.console.policy_draft import check_draft
from guardrail.console.policy_text import digest_text, write_policy_text
from guardrail.console.tables import POLICY_VERSIONS
from guardrail.errors import RequestError, StorageError
from guardrail.policy.compile import policy_digest
from guardrail.records.query import as_utc

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

    from guardrail.console.policy_draft import DraftCheck
    from guardrail.console.policy_text import PolicyText
    from guardrail.database.database import Database

__all__ = [
    "PolicyVersion",
    "VersionState",
    "add_draft",
    "check_version",
    "find_live",
    "find_version",
    "list_versions",
    "note_live",
    "put_back",
    "put_in_place",
    "start_shadow",
]

_MOST = 200
_LONGEST_NOTE = 300


class VersionState(StrEnum):
    """What becomes of a version."""

    DRAFT = "draft"
    SHADOW = "shadow"
    LIVE = "live"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """One version; see the table's fields of the same names."""

    version_id: str
    name: str
    digest: str
    policy_digest: str
    text: str
    author: str
    created: datetime
    state: VersionState
    changed: datetime
    approved_by: str
    note: str


def list_versions(database: Database, name: str) -> list[PolicyVersion]:
    """The versions of a policy, the newest first. Raises StorageError."""
    query = (
        sa.select(POLICY_VERSIONS)
        .where(POLICY_VERSIONS.c.name == name)
        .order_by(POLICY_VERSIONS.c.created.desc(), POLICY_VERSIONS.c.version_id)
        .limit(_MOST)
    )
    with database.read() as connection:
        return [_read(row) for row in connection.execute(query).mappings()]


def find_version(database: Database, name: str, version_id: str) -> PolicyVersion:
    """One version of a policy.

    Raises:
        RequestError: 404, there is none.
        StorageError: it cannot be read.
    """
    is_it = (POLICY_VERSIONS.c.version_id == version_id) & (POLICY_VERSIONS.c.name == name)
    with database.read() as connection:
        row = connection.execute(sa.select(POLICY_VERSIONS).where(is_it)).mappings().first()
    if row is None:
        raise RequestError("there is no such version of this policy", status=404)
    return _read(row)


def find_live(database: Database, name: str) -> PolicyVersion | None:
    """The version in force; None where none was noted. Raises StorageError."""
    query = sa.select(POLICY_VERSIONS).where(_is_live(name))
    with database.read() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else _read(row)


def add_draft(
    database: Database, name: str, text: str, *, author: str, policy_digest: str, note: str
) -> str:
    """Keeps a text; the id of the version.

    Raises:
        RequestError: the note is too long.
        StorageError: it cannot be kept.
    """
    note = " ".join(note.replace("\0", "").split())
    if len(note) > _LONGEST_NOTE:
        raise RequestError(f"a note has at most {_LONGEST_NOTE} characters", param="note")
    row = _row(name, text, policy_digest, VersionState.DRAFT, author=author, note=note)
    with database.write() as connection:
        connection.execute(sa.insert(POLICY_VERSIONS), row)
    return str(row["version_id"])


def note_live(database: Database, target: PolicyText) -> PolicyVersion | None:
    """Notes the text that decides as a version, where it is none; the version in force.

    A text that stands in the file without being in force is none. Raises StorageError.
    """
    live = find_live(database, target.name)
    if not target.is_served or (live is not None and live.digest == target.digest):
        return live
    try:
        with database.write() as connection:
            row = _note_found(VersionState.LIVE, target)
            _retire(connection, target.name, row["changed"])
            # Looked at again behind the lock: another process may have put another one in force.
            _check_file(target)
            connection.execute(sa.insert(POLICY_VERSIONS), row)
    except (RequestError, OSError):
        pass
    except StorageError:
        # PostgreSQL lets no second one be live: another process may have noted the same.
        live = find_live(database, target.name)
        if live is None or live.digest != target.digest:
            raise
    return find_live(database, target.name)


def _note_found(state: VersionState, target: PolicyText) -> dict[str, Any]:
    digest = policy_digest(target.served.listed.policy)
    return _row(target.name, target.text, digest, state, note="found in the file")


def check_version(version: PolicyVersion, target: PolicyText) -> DraftCheck:
    """Whether a version can be used in the place of the policy as it is now."""
    return check_draft(version.text, target, is_from_file=not version.author)


def start_shadow(database: Database, version: PolicyVersion) -> None:
    """Begins to compare a draft with what is decided from now on.

    Raises:
        RequestError: 409, it is no draft any more.
        StorageError: it cannot be kept.
    """
    is_it = POLICY_VERSIONS.c.version_id == version.version_id
    is_draft = POLICY_VERSIONS.c.state == VersionState.DRAFT
    values = {"state": VersionState.SHADOW, "changed": datetime.now(UTC)}
    with database.write() as connection:
        changed = connection.execute(
            sa.update(POLICY_VERSIONS).where(is_it, is_draft).values(values)
        )
        if changed.rowcount != 1:
            raise _meanwhile("this version is no draft any more")


def put_in_place(
    database: Database, target: PolicyText, version: PolicyVersion, *, seen: str, approver: str
) -> PolicyVersion:
    """Writes a version into the policy's file, and notes it as the one in force.

    Of two who do so at once one waits for the other's transaction, and then finds another text in
    the file than it has seen. A former version is written as a version of its own, so that what
    was in force when stays to be read.

    Args:
        database: with the versions.
        target: the policy.
        version: a draft, one in shadow, or a former one.
        seen: digest of the text that the reader saw in the file.
        approver: id of the key of who does it.

    Returns:
        The version that was in force.

    Raises:
        RequestError: 409, the text in the file or the version has changed since it was seen; 500,
            the file cannot be written. Nothing has changed then.
        StorageError: likewise.
    """
    assert target.file is not None  # else there is no place
    file, has_written = target.file, False
    try:
        with database.write() as connection:
            now = datetime.now(UTC)
            query = sa.select(POLICY_VERSIONS).where(_is_live(target.name)).with_for_update()
            found = connection.execute(query).mappings().first()
            before = None if found is None else _read(found)
            _retire(connection, target.name, now)
            _check_seen(target, seen)
            if before is None or before.digest != target.digest:
                row = _note_found(VersionState.RETIRED, target)
                connection.execute(sa.insert(POLICY_VERSIONS), row)
                before = _read(row)
            _make_live(connection, version, approver, now)
            write_policy_text(file, version.text)
            has_written = True
    except OSError as error:
        raise RequestError(
            f"nothing has changed: the file cannot be written ({error.strerror})", status=500
        ) from error
    except StorageError as error:
        if has_written:  # the database did not keep it
            write_policy_text(file, target.text)
        if error.transient:
            raise
        # Where none was noted before, two processes meet at the rule that one is live.
        raise _meanwhile("another version was put in force just now") from error
    return before


def put_back(
    database: Database, target: PolicyText, version: PolicyVersion, before: PolicyVersion
) -> None:
    """Undoes `put_in_place`: the text that was there, and the version that was in force.

    The file comes first, as it is what decides after the next start, and is put back even where the
    database is gone. A text that somebody else has written there meanwhile stays. What was in force
    for that moment is noted as retired. Raises OSError or StorageError.

    Args:
        database: with the versions.
        target: the policy as it was.
        version: what `put_in_place` wrote.
        before: what it returned.
    """
    assert target.file is not None
    if target.file.read_bytes() == version.text.encode():
        write_policy_text(target.file, target.text)
    now = datetime.now(UTC)
    with database.write() as connection:
        _retire(connection, target.name, now)
        is_it = POLICY_VERSIONS.c.version_id == before.version_id
        values = {"state": VersionState.LIVE, "changed": before.changed}
        connection.execute(sa.update(POLICY_VERSIONS).where(is_it).values(values))


def _retire(connection: Connection, name: str, now: datetime) -> None:
    values = {"state": VersionState.RETIRED, "changed": now}
    connection.execute(sa.update(POLICY_VERSIONS).where(_is_live(name)).values(values))


def _check_seen(target: PolicyText, seen: str) -> None:
    """Raises RequestError (409), or OSError where the file cannot be read."""
    _check_file(target)
    if target.digest != seen:
        raise _meanwhile("the policy has been changed since you saw it")


def _check_file(target: PolicyText) -> None:
    """Raises RequestError (409), or OSError where the file cannot be read."""
    if target.file is not None and target.file.read_bytes() != target.text.encode():
        raise _meanwhile("the policy has been changed since you saw it")


def _make_live(
    connection: Connection, version: PolicyVersion, approver: str, now: datetime
) -> None:
    values = {"state": VersionState.LIVE, "changed": now, "approved_by": approver}
    if version.state is VersionState.RETIRED:
        row = _row(
            version.name, version.text, version.policy_digest, VersionState.LIVE,
            author=version.author, note=f"back to {version.digest[:12]}",
        )  # fmt: skip
        connection.execute(sa.insert(POLICY_VERSIONS), {**row, **values})
        return
    is_it = POLICY_VERSIONS.c.version_id == version.version_id
    is_new = POLICY_VERSIONS.c.state.in_([VersionState.DRAFT, VersionState.SHADOW])
    changed = connection.execute(sa.update(POLICY_VERSIONS).where(is_it, is_new).values(values))
    if changed.rowcount != 1:
        raise _meanwhile("this version is no draft any more")


def _meanwhile(words: str) -> RequestError:
    return RequestError(
        f"{words}, and so nothing was done; load the page again and look at it",
        status=409,
        code="changed_meanwhile",
    )


def _is_live(name: str) -> sa.ColumnElement[bool]:
    return (POLICY_VERSIONS.c.name == name) & (POLICY_VERSIONS.c.state == VersionState.LIVE)


def _row(
    name: str, text: str, policy_digest: str, state: VersionState, *, author: str = "", note: str
) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "version_id": uuid.uuid4().hex,
        "name": name,
        "digest": digest_text(text),
        "policy_digest": policy_digest,
        "text": text,
        "author": author,
        "created": now,
        "state": state,
        "changed": now,
        "approved_by": "",
        "note": note,
    }


def _read(row: RowMapping | dict[str, Any]) -> PolicyVersion:
    times = {name: as_utc(row[name]) for name in ("created", "changed")}
    return PolicyVersion(**{**row, **times, "state": VersionState(row["state"])})
