"""What people decide about single requests in the guard's place: entries made of records.

An entry holds for exactly the request of its record: the same chat and pixels, which its keyed
request digest names. One that lets through holds besides only under the same policy, model and
oracle as the record's; one that stops holds under any, as it only tightens.

Every step of an entry stays, see `override_chain.py`.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Action
from guardrail.errors import RequestError
from guardrail.records.audit import check_record
from guardrail.records.override_chain import (
    Override,
    OverrideState,
    append_step,
    lock_chain,
    read_step,
)
from guardrail.records.review_tables import OVERRIDE_EVENTS

if TYPE_CHECKING:
    from guardrail.database.database import Database
    from guardrail.records.record import Record

__all__ = [
    "approve_override",
    "describe_obstacle",
    "end_override",
    "find_active",
    "list_overrides",
    "start_override",
]

_PASS_DAYS = 30.0
_MOST_DAYS = 366.0
_LONGEST_NOTE = 2000
_LONGEST_NAME = 200
_MOST_LISTED = 500
_MOST_STEPS = 1000
_ID_BYTES = 8


def start_override(
    database: Database,
    record: Record,
    *,
    action: str,
    by: str,
    note: str,
    days: float | None = None,
    is_asked: bool = False,
) -> Override:
    """A new entry about the request of a record.

    Args:
        database: keeps it.
        record: of a decision in enforce mode; for an entry that lets through, of a block.
        action: `pass` or `block`.
        by: who decides.
        note: why; not empty.
        days: for how long; None for 30 days where it lets through, and without an end where it
            stops.
        is_asked: whether it is only asked for, and holds when somebody approves it.

    Raises:
        RequestError: there can be no such entry.
        CertificationError: the record was changed.
        StorageError: it cannot be kept.
    """
    check_record(record)
    what = _read_action(record, action)
    now = datetime.now(UTC)
    first = Override(
        sequence=0,
        previous="",
        override_id=secrets.token_hex(_ID_BYTES),
        state=OverrideState.ASKED if is_asked else OverrideState.ACTIVE,
        created=now.isoformat(timespec="milliseconds"),
        by=_read_name(by),
        note=_read_note(note),
        action=what,
        expires=_find_end(what, days, now),
        **{name: getattr(record, name) for name in _OF_RECORD},
    )
    with database.write() as connection:
        return append_step(connection, database, first)


def approve_override(
    database: Database, override_id: str, *, by: str, note: str, days: float | None = None
) -> Override:
    """Makes an entry that was asked for active; for the arguments see `start_override`.

    Raises:
        RequestError: 404, there is no such entry; 409, it is not one that waits; or an argument
            is wrong.
        StorageError: it cannot be kept.
    """
    now = datetime.now(UTC)
    with database.write() as connection:
        entry = _lock_entry(connection, database, override_id)
        if entry.state is not OverrideState.ASKED:
            raise _state_error(entry, "only one that is asked for can be approved")
        expires = _find_end(entry.action, days, now)
        return _step(
            connection, database, entry, OverrideState.ACTIVE, by, note, now, expires=expires
        )


def end_override(database: Database, override_id: str, *, by: str, note: str) -> Override:
    """Removes an entry that is active, or declines one that was asked for.

    Raises:
        RequestError: 404, there is no such entry; 409, it has been ended; or an argument is wrong.
        StorageError: it cannot be kept.
    """
    now = datetime.now(UTC)
    with database.write() as connection:
        entry = _lock_entry(connection, database, override_id)
        match entry.state:
            case OverrideState.ACTIVE:
                state = OverrideState.REMOVED
            case OverrideState.ASKED:
                state = OverrideState.DECLINED
            case _:
                raise _state_error(entry, "it has been ended already")
        return _step(connection, database, entry, state, by, note, now)


def describe_obstacle(record: Record, action: Action) -> str:
    """Why no entry with this action can be made of a record; empty where one can."""
    judged = record.action is Action.BLOCK and record.reason.is_judgement
    if record.mode is not Mode.ENFORCE:
        return "it was made in observe mode, where overrides change nothing"
    if not record.request_digest:
        return "it ended before its request was named, and an equal one could not be told"
    if action is Action.PASS and not judged:
        return "only what the guard stopped by its judgement can be let through"
    return ""


def find_active(
    database: Database, request_digest: str, now: datetime, *, lock_wait_s: float = 5.0
) -> list[Override]:
    """The entries about a request that hold, the newest first.

    Raises:
        CertificationError: a step of one of them was changed.
        StorageError: the database cannot be read.
    """
    query = (
        sa.select(OVERRIDE_EVENTS.c.document, OVERRIDE_EVENTS.c.digest)
        .where(OVERRIDE_EVENTS.c.request_digest == request_digest)
        .order_by(OVERRIDE_EVENTS.c.sequence.desc())
        .limit(_MOST_STEPS)
    )
    with database.read(lock_wait_s=lock_wait_s) as connection:
        rows = connection.execute(query).all()
    latest: dict[str, Override] = {}
    for row in rows:
        entry = read_step(row.document, row.digest)
        latest.setdefault(entry.override_id, entry)
    return [entry for entry in latest.values() if entry.holds(now)]


def list_overrides(database: Database, record_id: str | None = None) -> list[list[Override]]:
    """Entries, the one with the newest step first, each by its steps, the first one first.

    Args:
        database: with the entries.
        record_id: only those made of this record; None for those with the newest steps.

    Raises:
        CertificationError: a step was changed.
        StorageError: the database cannot be read.
    """
    columns = OVERRIDE_EVENTS.c
    newest = sa.func.max(columns.sequence)
    ids = sa.select(columns.override_id).group_by(columns.override_id)
    if record_id is not None:
        ids = ids.where(columns.record_id == record_id)
    ids = ids.order_by(newest.desc()).limit(_MOST_LISTED)
    with database.read() as connection:
        names = connection.execute(ids).scalars().all()
        rows = connection.execute(
            sa.select(columns.document, columns.digest)
            .where(columns.override_id.in_(names))
            .order_by(columns.sequence)
        ).all()
    found: dict[str, list[Override]] = {name: [] for name in names}
    for row in rows:
        step = read_step(row.document, row.digest)
        found[step.override_id].append(step)
    return list(found.values())


_OF_RECORD = (
    "record_id", "request_digest", "key_id", "policy", "policy_digest", "upstream",
    "upstream_revision", "oracle_revision", "model",
)  # fmt: skip


def _read_action(record: Record, action: str) -> Action:
    """Raises RequestError where there can be no such entry about this record."""
    if action not in (Action.PASS, Action.BLOCK):
        raise RequestError("say pass (let through) or block (stop)", param="action")
    what = Action(action)
    if problem := describe_obstacle(record, what):
        raise RequestError(f"no override can be made of this decision: {problem}", param="action")
    return what


def _read_name(name: str) -> str:
    name = " ".join(name.replace("\0", "").split())
    if not 0 < len(name) <= _LONGEST_NAME:
        raise RequestError(f"say who, in 1 to {_LONGEST_NAME} characters", param="by")
    return name


def _read_note(note: str) -> str:
    note = note.replace("\0", "").strip()
    if not 0 < len(note) <= _LONGEST_NOTE:
        raise RequestError(f"say why, in 1 to {_LONGEST_NOTE} characters", param="note")
    return note


def _find_end(action: Action, days: float | None, now: datetime) -> str | None:
    """What lets through must end; what stops may have no end."""
    if days is None:
        if action is Action.BLOCK:
            return None
        days = _PASS_DAYS
    if not (math.isfinite(days) and 0 < days <= _MOST_DAYS):
        raise RequestError(f"say for how many days, above 0 and at most {_MOST_DAYS:g}",
                           param="days")  # fmt: skip
    return (now + timedelta(days=days)).isoformat(timespec="milliseconds")


def _state_error(entry: Override, why: str) -> RequestError:
    return RequestError(f"the entry is {entry.state.value}: {why}; load the list again", status=409)


def _lock_entry(connection: sa.Connection, database: Database, override_id: str) -> Override:
    """The entry after its last step, while nobody else adds a step."""
    lock_chain(connection, database)
    row = connection.execute(
        sa.select(OVERRIDE_EVENTS.c.document, OVERRIDE_EVENTS.c.digest)
        .where(OVERRIDE_EVENTS.c.override_id == override_id)
        .order_by(OVERRIDE_EVENTS.c.sequence.desc())
        .limit(1)
    ).first()
    if row is None:
        raise RequestError("there is no override with this id; the list has ids", status=404)
    return read_step(row.document, row.digest)


def _step(
    connection: sa.Connection,
    database: Database,
    entry: Override,
    state: OverrideState,
    by: str,
    note: str,
    now: datetime,
    **changed: str | None,
) -> Override:
    moved = dataclasses.replace(
        entry,
        state=state,
        by=_read_name(by),
        note=_read_note(note),
        created=now.isoformat(timespec="milliseconds"),
        **changed,  # type: ignore[arg-type]  # names of fields and their values
    )
    return append_step(connection, database, moved)
