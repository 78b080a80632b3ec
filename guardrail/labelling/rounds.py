"""Rounds: what was drawn at random for people to label, as it is kept.

How a round is drawn: `round_draw.py`. The lists and the draw are fixed before the first label, and
stay. Items are labelled in the order of their ids, which are drawn at random: it depends on nothing
that was decided or answered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.engine.verdict import Action
from guardrail.labelling.request_draw import RequestDraw
from guardrail.records.query import as_utc
from guardrail.records.review_tables import ASKED, LABEL_ITEMS, LABEL_ROUNDS, WHOLE_REQUEST
from guardrail.tuning.delivery_draw import DeliveryDraw
from guardrail.tuning.first_answer import FIRST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import RowMapping

    from guardrail.database.database import Database

__all__ = ["Item", "Round", "RoundHead", "RoundKind", "list_rounds", "newest_rounds",
           "read_round", "source_of"]  # fmt: skip

_MOST_ROUNDS = 50


class RoundKind(StrEnum):
    """What is labelled, and what the labels then bound."""

    DECISIONS = "decisions"
    """Delivered answers and stopped requests: harm that left, and false alarms."""
    ANSWERS = "answers"
    """One answer of every drawn request: what the oracle misses, for `guardrail calibrate`."""
    REQUESTS = "requests"
    """What was asked: requests that shall be stopped, for `guardrail recall`."""


@dataclass(frozen=True, slots=True)
class Item:
    """One request to label.

    Attributes:
        item_id: names it, drawn at random, and says nothing of it.
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
        let_through, stopped: the draws of the two lists; empty unless decisions are labelled.
        items: what can be labelled of them, in the order of their ids: a random one.
        kind: what is labelled.
        sample: the draw of requests; None where decisions are labelled.
    """

    round_id: str
    created: datetime
    reviewer: str
    policy: str
    let_through: DeliveryDraw
    stopped: DeliveryDraw
    items: tuple[Item, ...]
    kind: RoundKind = RoundKind.DECISIONS
    sample: RequestDraw | None = None

    @property
    def label_item(self) -> str:
        """What of a record its labels speak of, as the table of labels names it."""
        names = {RoundKind.ANSWERS: str(FIRST), RoundKind.REQUESTS: ASKED}
        return names.get(self.kind, WHOLE_REQUEST)

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
    kind: RoundKind


def source_of(round_id: str) -> str:
    """The `source` of the labels of a round."""
    return f"draw:{round_id}"


def list_rounds(database: Database) -> list[RoundHead]:
    """The rounds, the newest first, at most 50. Raises StorageError."""
    columns = LABEL_ROUNDS.c
    query = (
        sa.select(columns.round_id, columns.created, columns.policy, columns.kind)
        .order_by(columns.created.desc(), columns.round_id)
        .limit(_MOST_ROUNDS)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    return [RoundHead(name, as_utc(at), policy, RoundKind(kind)) for name, at, policy, kind in rows]


def newest_rounds(database: Database) -> list[RoundHead]:
    """The newest round of decisions of every policy that has one. Raises StorageError."""
    columns = LABEL_ROUNDS.c
    newest = (
        sa.select(columns.policy, sa.func.max(columns.created).label("created"))
        .where(columns.kind == RoundKind.DECISIONS)
        .group_by(columns.policy)
        .subquery()
    )
    same = (columns.policy == newest.c.policy) & (columns.created == newest.c.created)
    query = (
        sa.select(columns.round_id, columns.created, columns.policy)
        .join(newest, same)
        .where(columns.kind == RoundKind.DECISIONS)
        .order_by(columns.policy, columns.round_id)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    kind = RoundKind.DECISIONS
    by_policy = {policy: RoundHead(name, as_utc(at), policy, kind) for name, at, policy in rows}
    return list(by_policy.values())


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
        kind=RoundKind(row["kind"]),
        sample=RequestDraw.from_json(row["sample"]) if row["sample"] else None,
    )


def _read_item(row: RowMapping) -> Item:
    records = tuple((name, Action(action)) for name, action in json.loads(row["records"]))
    return Item(row["item_id"], row["looks"], records)
