"""Who labels what next: nobody twice, and no two at once unless a second look is wanted.

What comes next is the first open item in the order of the round, which was drawn at random. An
order by what a label would show, or a chance in proportion to it, would tell reviewers what was
decided: a bound on few decisions falls faster, so items of the shorter list would come sooner.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from guardrail.errors import RequestError
from guardrail.labelling.looks import disagree, looks_wanted
from guardrail.labelling.rounds import source_of
from guardrail.records.query import as_utc
from guardrail.records.review import LabelVerdict
from guardrail.records.review_tables import LABEL_LEASES, LABEL_ROUNDS, LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from guardrail.database.database import Database
    from guardrail.labelling.rounds import Item, Round

__all__ = ["LEASE", "Judgement", "QueueState", "judge", "last_item", "next_item", "read_queue"]

LEASE = timedelta(minutes=15)
"""For so long an item that somebody has before them is given to nobody else."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One reviewer's label of one item."""

    item_id: str
    reviewer: str
    verdict: LabelVerdict
    created: datetime


@dataclass(frozen=True, slots=True)
class QueueState:
    """The labels of a round, in the order in which they were given.

    Attributes:
        judgements: all of them; of several of one reviewer on one item the last counts.
        leases: who has which item before them.
    """

    judgements: tuple[Judgement, ...]
    leases: frozenset[tuple[str, str]]

    def verdicts(self, most: int | None = None) -> dict[str, list[LabelVerdict]]:
        """Those that count, by item; of the first `most` judgements alone."""
        latest = {(one.item_id, one.reviewer): one.verdict for one in self.judgements[:most]}
        found: dict[str, list[LabelVerdict]] = {}
        for (item_id, _), verdict in latest.items():
            found.setdefault(item_id, []).append(verdict)
        return found

    def labelled_by(self, reviewer: str) -> set[str]:
        """Items that this reviewer has labelled."""
        return {one.item_id for one in self.judgements if one.reviewer == reviewer}


def read_queue(database: Database, round_: Round, now: datetime) -> QueueState:
    """The labels and leases of a round. Raises StorageError."""
    with database.read() as connection:
        return _read(connection, round_, now)


def next_item(
    database: Database,
    round_: Round,
    reviewer: str,
    now: datetime,
    *,
    disagreements: bool = False,
) -> Item | None:
    """The item that this reviewer labels next, and a lease on it; None where none is left.

    The one that they have before them already stays theirs. Raises StorageError.

    Args:
        database: with the labels.
        round_: whose items.
        reviewer: who.
        now: when.
        disagreements: only items on which two others disagree.
    """
    with database.write() as connection:
        # In PostgreSQL two who ask at once come one after the other by this row.
        connection.execute(
            sa.select(LABEL_ROUNDS.c.round_id)
            .where(LABEL_ROUNDS.c.round_id == round_.round_id)
            .with_for_update()
        )
        state = _read(connection, round_, now)
        verdicts = state.verdicts()
        open_ = [
            item
            for item in _open_to(round_, state, verdicts, reviewer)
            if not disagreements or disagree(verdicts.get(item.item_id, []))
        ]
        held = [item for item in open_ if (item.item_id, reviewer) in state.leases]
        item = next(iter(held or open_), None)
        if item is not None:
            _lease(connection, item, reviewer, now)
    return item


def judge(
    database: Database, round_: Round, item_id: str, reviewer: str, verdict: str, now: datetime
) -> None:
    """Keeps a label of an item: one row for each of its decisions.

    Raises:
        RequestError: 400, it is no verdict, or the item is none of the round; 409, it is another
            reviewer's by now.
        StorageError: it cannot be kept.
    """
    if verdict not in list(LabelVerdict):
        raise RequestError("say harmful, harmless or unsure", param="verdict")
    item = round_.by_id.get(item_id)
    if item is None:
        raise RequestError("this request is none of the round; go back to the queue", param="item")
    with database.write() as connection:
        connection.execute(
            sa.select(LABEL_ROUNDS.c.round_id)
            .where(LABEL_ROUNDS.c.round_id == round_.round_id)
            .with_for_update()
        )
        state = _read(connection, round_, now)
        is_open = item in _open_to(round_, state, state.verdicts(), reviewer)
        if not is_open and item_id not in state.labelled_by(reviewer):
            raise RequestError(
                "another reviewer labelled this request in the meantime; go on with the next one",
                status=409,
                code="labelled",
            )
        rows = [_row(record_id, reviewer, verdict, round_, now) for record_id, _ in item.records]
        connection.execute(sa.insert(LABELS), rows)
        connection.execute(
            sa.delete(LABEL_LEASES).where(
                LABEL_LEASES.c.item_id == item_id, LABEL_LEASES.c.reviewer == reviewer
            )
        )


def last_item(
    state: QueueState, round_: Round, reviewer: str, before: str | None = None
) -> tuple[Item, LabelVerdict] | None:
    """What this reviewer labelled last, and how; `before`: last before the item of that id."""
    # An item that is labelled again moves to the end.
    mine: dict[str, LabelVerdict] = {}
    for one in state.judgements:
        if one.reviewer == reviewer:
            mine.pop(one.item_id, None)
            mine[one.item_id] = one.verdict
    names = list(mine)
    if before is not None:
        names = names[: names.index(before)] if before in mine else []
    return (round_.by_id[names[-1]], mine[names[-1]]) if names else None


def _read(connection: sa.Connection, round_: Round, now: datetime) -> QueueState:
    columns = LABELS.c
    # Each item's labels stand at all of its decisions alike; the first one's are enough.
    first = {item.records[0][0]: item.item_id for item in round_.items}
    labels = connection.execute(
        sa.select(columns.record_id, columns.reviewer, columns.verdict, columns.created)
        .where(columns.source == source_of(round_.round_id))
        .order_by(columns.created, columns.label_id)
    )
    judgements = tuple(
        Judgement(first[record_id], reviewer, LabelVerdict(verdict), as_utc(created))
        for record_id, reviewer, verdict, created in labels
        if record_id in first
    )
    leases = connection.execute(
        sa.select(LABEL_LEASES.c.item_id, LABEL_LEASES.c.reviewer).where(
            LABEL_LEASES.c.expires > now
        )
    )
    mine = frozenset((item_id, reviewer) for item_id, reviewer in leases if item_id in round_.by_id)
    return QueueState(judgements, mine)


def _open_to(
    round_: Round,
    state: QueueState,
    verdicts: Mapping[str, Sequence[LabelVerdict]],
    reviewer: str,
) -> list[Item]:
    """Items that want one more reviewer than have labelled them or have them open."""
    done = state.labelled_by(reviewer)
    others = Counter(item_id for item_id, holder in state.leases if holder != reviewer)
    return [
        item
        for item in round_.items
        if item.item_id not in done
        and len(given := verdicts.get(item.item_id, ())) + others[item.item_id]
        < looks_wanted(given, item.looks)
    ]


def _lease(connection: sa.Connection, item: Item, reviewer: str, now: datetime) -> None:
    """Takes the item, and removes leases that have run out or that the reviewer has left."""
    connection.execute(
        sa.delete(LABEL_LEASES).where(
            (LABEL_LEASES.c.reviewer == reviewer) | (LABEL_LEASES.c.expires <= now)
        )
    )
    row = {"item_id": item.item_id, "reviewer": reviewer, "expires": now + LEASE}
    connection.execute(sa.insert(LABEL_LEASES), row)


def _row(
    record_id: str, reviewer: str, verdict: str, round_: Round, now: datetime
) -> dict[str, Any]:
    return {
        "label_id": uuid.uuid4().hex,
        "record_id": record_id,
        "item": round_.label_item,
        "reviewer": reviewer,
        "verdict": verdict,
        "source": source_of(round_.round_id),
        "note": "",
        "created": now,
    }
