"""The steps of overrides: one chain of events, each with the whole entry as it stands since then.

An event stays: asked for, active, declined or removed, each with who, when and why. All events of a
database are one chain by their digests; its end stands in the table `writers` and so is named by
the anchors of records, see `anchors.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.canonical import canonical_text, digest_json, parse_strict
from guardrail.dataclass_reader import DataclassReader, FieldError
from guardrail.engine.verdict import Action
from guardrail.errors import CertificationError
from guardrail.records.review_tables import OVERRIDE_EVENTS
from guardrail.records.tables import WRITERS

if TYPE_CHECKING:
    from guardrail.database.database import Database

__all__ = [
    "OVERRIDES_WRITER",
    "Override",
    "OverrideState",
    "append_step",
    "audit_overrides",
    "lock_chain",
    "read_step",
]

OVERRIDES_WRITER = "overrides"
"""Names the chain of events among those of the writers of records."""


class OverrideState(StrEnum):
    """What became of an entry; only one that is active holds, until it expires."""

    ASKED = "asked"
    ACTIVE = "active"
    DECLINED = "declined"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """An entry as it stands after one of its steps.

    Attributes:
        sequence: the step's number among those of all entries, from 1.
        previous: digest of the step before it; empty for the first one.
        override_id: names the entry.
        state: what this step made of it.
        created, by, note: when the step was made (ISO 8601, UTC), by whom, and why.
        action: whether the request is let through or stopped.
        expires: until when the entry holds (ISO 8601, UTC); None where it has no end.
        record_id: of the decision that it was made of; the fields from `request_digest` on are
            those of its record.
        digest: SHA-256 of the canonical JSON of all other fields.
    """

    version: int = 1
    sequence: int
    previous: str
    override_id: str
    state: OverrideState
    created: str
    by: str
    note: str
    action: Action
    expires: str | None
    record_id: str
    request_digest: str
    key_id: str
    policy: str
    policy_digest: str
    upstream: str
    upstream_revision: str
    oracle_revision: str
    model: str
    digest: str = ""

    def compute_digest(self) -> str:
        """SHA-256 over all fields but the digest."""
        return digest_json({k: v for k, v in dataclasses.asdict(self).items() if k != "digest"})

    def is_over(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires is not None and datetime.fromisoformat(self.expires) <= now

    def holds(self, now: datetime) -> bool:
        """Whether it decides requests."""
        return self.state is OverrideState.ACTIVE and not self.is_over(now)


_READER = DataclassReader(Override)


def append_step(connection: sa.Connection, database: Database, step: Override) -> Override:
    """Adds a step to the chain."""
    sequence, last = lock_chain(connection, database)
    step = dataclasses.replace(step, sequence=sequence + 1, previous=last, digest="")
    step = dataclasses.replace(step, digest=step.compute_digest())
    connection.execute(
        sa.insert(OVERRIDE_EVENTS),
        {
            "sequence": step.sequence,
            "override_id": step.override_id,
            "state": step.state.value,
            "request_digest": step.request_digest,
            "record_id": step.record_id,
            "created": datetime.fromisoformat(step.created),
            "digest": step.digest,
            "document": canonical_text(dataclasses.asdict(step)),
        },
    )
    connection.execute(
        sa.update(WRITERS)
        .where(WRITERS.c.writer == OVERRIDES_WRITER)
        .values(sequence=step.sequence, digest=step.digest)
    )
    return step


def lock_chain(connection: sa.Connection, database: Database) -> tuple[int, str]:
    """The end of the chain, to which nobody else adds before this transaction ends."""
    if not database.is_sqlite:  # there one transaction at a time writes anyway
        connection.exec_driver_sql("LOCK TABLE override_events IN SHARE ROW EXCLUSIVE MODE")
    query = sa.select(WRITERS.c.sequence, WRITERS.c.digest).where(
        WRITERS.c.writer == OVERRIDES_WRITER
    )
    row = connection.execute(query).first()
    if row is not None:
        return row.sequence, row.digest
    connection.execute(
        sa.insert(WRITERS),
        {"writer": OVERRIDES_WRITER, "started": datetime.now(UTC), "sequence": 0, "digest": "",
         "anchored": 0, "closed": False},
    )  # fmt: skip
    return 0, ""


def read_step(document: str, digest: str) -> Override:
    """A step from its row. Raises CertificationError where it was changed."""
    try:
        step = _READER.read(parse_strict(document))
    except (FieldError, ValueError) as error:
        raise CertificationError(f"a step of an override is none: {error}") from error
    if not step.digest == digest == step.compute_digest():
        raise CertificationError(
            f"step {step.sequence} of override {step.override_id} was changed: its digest does "
            "not match"
        )
    return step


def audit_overrides(database: Database, named: dict[int, str]) -> int:
    """Checks the whole chain of steps; how many there are.

    Args:
        database: with the steps.
        named: digests of steps by their numbers, as anchors name them.

    Raises:
        CertificationError: says what does not hold.
        StorageError: the database cannot be read.
    """
    with database.read() as connection:
        rows = connection.execute(
            sa.select(OVERRIDE_EVENTS).order_by(OVERRIDE_EVENTS.c.sequence)
        ).all()
    last = ""
    for number, row in enumerate(rows, start=1):
        where = f"{database.name}: override step {row.sequence}"
        step = read_step(row.document, row.digest)
        for name in ("sequence", "override_id", "state", "request_digest", "record_id"):
            if getattr(step, name) != getattr(row, name):
                raise CertificationError(f"{where}: its column '{name}' is not what it says")
        if step.sequence != number or step.previous != last:
            raise CertificationError(f"{where}: the one before it was removed, added or moved")
        if named.get(number, step.digest) != step.digest:
            raise CertificationError(f"{where}: an anchor names another one in its place")
        last = step.digest
    if max(named, default=0) > len(rows):
        raise CertificationError(
            f"{database.name}: the steps of overrides end at {len(rows)}, and an anchor names step "
            f"{max(named)}; steps at the end were removed"
        )
    return len(rows)
