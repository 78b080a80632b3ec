"""Rounds: requests drawn at random from what was let through and from what was stopped.

The lists and the draw are fixed before the first label, and stay. That is why every bound holds
whoever labels, in whatever order, and whenever somebody looks: what is not labelled counts against
the guard, so that the bounds can only fall to what all labels together show.
"""

from __future__ import annotations

import json
import random
import secrets
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from guardrail.engine.verdict import Action, Reason
from guardrail.errors import RequestError
from guardrail.labelling.answers import open_records, text_to_label
from guardrail.records.origin import TRIED_ROUTE
from guardrail.records.query import as_utc
from guardrail.records.review_tables import LABEL_ITEMS, LABEL_ROUNDS
from guardrail.records.tables import RECORDS
from guardrail.tuning.deliveries import Deliveries, Delivery
from guardrail.tuning.delivery_draw import DeliveryDraw, DrawKey, draw_strata, make_draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import RowMapping

    from guardrail.database.database import Database
    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record

__all__ = ["Item", "Round", "RoundHead", "RoundPlan", "list_rounds", "read_round", "source_of",
           "start_round"]  # fmt: skip

MOST_DRAWN = 500
_MOST_LISTED = 200_000
_MOST_ROUNDS = 50
_MOST_ANSWERS = 8
"""Answers of one request that are shown as one item; more of them are another item."""
_SEED_BITS = 48  # a whole number that JSON carries


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPlan:
    """What is drawn.

    Attributes:
        policy: its name; of several versions of it in the window, the newest one.
        since, until: the window, both included.
        count: how many of what was let through, and as many of what was stopped.
        second_share: of the requests, which a second reviewer labels too.
    """

    policy: str
    since: datetime
    until: datetime
    count: int
    second_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Item:
    """One request to label.

    Attributes:
        item_id: names it, and says nothing of it.
        looks: how many reviewers shall label it.
        records: the drawn decisions on it, and what came of each.
    """

    item_id: str
    looks: int
    records: tuple[tuple[str, Action], ...]

    def count(self, action: Action) -> int:
        """How many of its decisions are so."""
        return sum(one is action for _, one in self.records)


@dataclass(frozen=True)  # no slots: the items are indexed once
class Round:
    """A draw, and its requests.

    Attributes:
        round_id: names it.
        created: when it was drawn; `reviewer` did it.
        let_through, stopped: the draws of the two lists.
        items: what can be labelled of them.
    """

    round_id: str
    created: datetime
    reviewer: str
    policy: str
    let_through: DeliveryDraw
    stopped: DeliveryDraw
    items: tuple[Item, ...]

    @cached_property
    def by_id(self) -> Mapping[str, Item]:
        """The items by their ids."""
        return {item.item_id: item for item in self.items}

    @property
    def without_content(self) -> int:
        """Drawn decisions of which nothing is kept that could be labelled."""
        return len(self.let_through.without_content) + len(self.stopped.without_content)


@dataclass(frozen=True, slots=True)
class RoundHead:
    """A round in a list."""

    round_id: str
    created: datetime
    policy: str


def source_of(round_id: str) -> str:
    """The `source` of the labels of a round."""
    return f"draw:{round_id}"


def start_round(
    database: Database,
    plan: RoundPlan,
    *,
    reviewer: str,
    keys: ContentKeys | None,
    now: datetime,
) -> str:
    """Draws, and keeps the draw; its id. The seed is made here, so that nobody can choose it.

    Raises:
        RequestError: there is nothing to draw from, too much, or nothing of it can be labelled.
        StorageError: the database cannot be read or written.
    """
    if not 1 <= plan.count <= MOST_DRAWN:
        raise RequestError(f"draw 1 to {MOST_DRAWN} of each list", param="count")
    digest = _newest_digest(database, plan)
    key = DrawKey(secrets.randbits(_SEED_BITS))
    lists = {
        action: _find(database, plan, digest, action) for action in (Action.PASS, Action.BLOCK)
    }
    if not any(rows for rows in lists.values()):
        raise RequestError("nothing was let through or stopped by this policy in this time")
    drawn = {
        action: draw_strata(_as_list(rows, plan, digest), plan.count, key)
        for action, rows in lists.items()
    }
    ids = [name for strata in drawn.values() for one in strata for name in one.drawn]
    records = open_records(database, ids, keys)
    texts = {name: text_to_label(record) for name, record in records.items()}
    items = _make_items(records, texts, plan)
    if not items:
        raise RequestError(
            f"none of the {len(ids)} drawn decisions keeps what was asked and answered, so there "
            "is nothing to label; serve with --keep-content and --content-key, and draw from what "
            "is decided then"
        )
    draws = {
        action: make_draw(
            _as_list(lists[action], plan, digest),
            plan.count,
            key,
            strata,
            [name for one in strata for name in one.drawn if not texts.get(name)],
        )
        for action, strata in drawn.items()
    }
    round_id = uuid.uuid4().hex
    row = {
        "round_id": round_id,
        "created": now,
        "reviewer": reviewer,
        "policy": plan.policy,
        "let_through": draws[Action.PASS].model_dump_json(),
        "stopped": draws[Action.BLOCK].model_dump_json(),
    }
    with database.write() as connection:
        connection.execute(sa.insert(LABEL_ROUNDS), row)
        connection.execute(sa.insert(LABEL_ITEMS), [_item_row(round_id, one) for one in items])
    return round_id


def list_rounds(database: Database) -> list[RoundHead]:
    """The rounds, the newest first, at most 50. Raises StorageError."""
    columns = LABEL_ROUNDS.c
    query = (
        sa.select(columns.round_id, columns.created, columns.policy)
        .order_by(columns.created.desc(), columns.round_id)
        .limit(_MOST_ROUNDS)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    return [RoundHead(name, as_utc(created), policy) for name, created, policy in rows]


def read_round(database: Database, round_id: str) -> Round | None:
    """A round of this id; None where there is none. Raises StorageError."""
    with database.read() as connection:
        row = (
            connection.execute(sa.select(LABEL_ROUNDS).where(LABEL_ROUNDS.c.round_id == round_id))
            .mappings()
            .first()
        )
        items = (
            connection.execute(
                sa.select(LABEL_ITEMS)
                .where(LABEL_ITEMS.c.round_id == round_id)
                .order_by(LABEL_ITEMS.c.item_id)
            )
            .mappings()
            .all()
        )
    if row is None:
        return None
    return Round(
        round_id=row["round_id"],
        created=as_utc(row["created"]),
        reviewer=row["reviewer"],
        policy=row["policy"],
        let_through=DeliveryDraw.model_validate_json(row["let_through"]),
        stopped=DeliveryDraw.model_validate_json(row["stopped"]),
        items=tuple(_read_item(one) for one in items),
    )


def _newest_digest(database: Database, plan: RoundPlan) -> str:
    query = (
        sa.select(RECORDS.c.policy_digest)
        .where(RECORDS.c.policy == plan.policy, RECORDS.c.created <= plan.until)
        .order_by(RECORDS.c.created.desc(), RECORDS.c.record_id.desc())
        .limit(1)
    )
    with database.read() as connection:
        digest = connection.execute(query).scalar()
    if digest is None:
        raise RequestError("no decision was made by this policy; choose another one")
    return str(digest)


def _find(
    database: Database, plan: RoundPlan, digest: str, action: Action
) -> list[tuple[str, str, str]]:
    """Id, digest and reason of every decision in the list."""
    columns = RECORDS.c
    query = (
        sa.select(columns.record_id, columns.digest, columns.reason)
        .where(columns.policy == plan.policy, columns.policy_digest == digest)
        .where(columns.action == action.value, columns.reason != Reason.OVERRIDE.value)
        .where(columns.route != TRIED_ROUTE)
        .where(columns.created >= plan.since, columns.created <= plan.until)
        .order_by(columns.created, columns.record_id)
        .limit(_MOST_LISTED + 1)
    )
    with database.read() as connection:
        rows = [(name, made, reason) for name, made, reason in connection.execute(query)]
    if len(rows) > _MOST_LISTED:
        raise RequestError(
            f"there are more than {_MOST_LISTED:,} decisions in this time; choose a shorter one"
        )
    return rows


def _as_list(rows: Sequence[tuple[str, str, str]], plan: RoundPlan, digest: str) -> Deliveries:
    return Deliveries(
        tuple(Delivery(*row) for row in rows),
        plan.policy,
        digest,
        plan.since.isoformat(),
        plan.until.isoformat(),
    )


def _make_items(
    records: Mapping[str, Record], texts: Mapping[str, str], plan: RoundPlan
) -> list[Item]:
    """Decisions on one request together, as long as their answers are few enough to read."""
    clusters: dict[str, list[str]] = {}
    for name, record in records.items():
        if texts[name]:
            clusters.setdefault(record.request_digest or name, []).append(name)
    chance = random.SystemRandom()
    return [
        Item(
            uuid.uuid4().hex,
            2 if chance.random() < plan.second_share else 1,
            tuple((name, records[name].action) for name in part),
        )
        for cluster in clusters.values()
        for part in _split(sorted(cluster), texts)
    ]


def _split(names: Sequence[str], texts: Mapping[str, str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for name in names:
        if len({texts[one] for one in (*parts[-1], name)}) > _MOST_ANSWERS:
            parts.append([])
        parts[-1].append(name)
    return parts


def _item_row(round_id: str, item: Item) -> dict[str, Any]:
    records = [[name, action.value] for name, action in item.records]
    return {
        "item_id": item.item_id,
        "round_id": round_id,
        "looks": item.looks,
        "records": json.dumps(records),
    }


def _read_item(row: RowMapping) -> Item:
    records = tuple((name, Action(action)) for name, action in json.loads(row["records"]))
    return Item(row["item_id"], row["looks"], records)
