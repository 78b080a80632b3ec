"""Draws a round, at random and once.

A round of decisions is drawn from what was let through and from what was stopped; one of answers or
of requests from the different requests that were decided, whatever came of them.

What is not settled counts against the guard, so a bound that is read early is no smaller than the
one that the same labels and all that are left give in the end; for that one the draw is the only
thing left to chance. A label that a reviewer takes back can raise a bound.
"""

from __future__ import annotations

import json
import random
import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from guardrail.engine.verdict import Action
from guardrail.errors import RequestError
from guardrail.labelling.answers import open_records, text_to_label
from guardrail.labelling.request_draw import MOST_LISTED, RequestDraw, Window, draw_requests
from guardrail.labelling.rounds import Item, RoundKind
from guardrail.records.review_tables import LABEL_ITEMS, LABEL_ROUNDS
from guardrail.records.tables import RECORDS
from guardrail.tuning.deliveries import Deliveries, Delivery
from guardrail.tuning.delivery_draw import DeliveryDraw, DrawKey, draw_strata, make_draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from guardrail.database.database import Database
    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record

__all__ = ["MOST_DRAWN", "RoundPlan", "start_round"]

MOST_DRAWN = 1000
_MOST_ANSWERS = 8
"""Answers of one request that are shown as one item; more of them are another item."""
_SEED_BITS = 48  # a whole number that JSON carries


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPlan:
    """What is drawn.

    Attributes:
        kind: what is labelled.
        policy: its name; of several versions of it in the window, the newest one.
        since, until: the window, both included.
        count: how many requests; of decisions, so many that were let through and as many that
            were stopped.
        second_share: of the requests, which a second reviewer labels too.
    """

    policy: str
    since: datetime
    until: datetime
    count: int
    second_share: float = 0.0
    kind: RoundKind = RoundKind.DECISIONS


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
    window = Window(plan.policy, _newest_digest(database, plan), plan.since, plan.until)
    if plan.kind is RoundKind.DECISIONS:
        drawn = _draw_decisions(database, plan, window, keys)
    else:
        drawn = _draw_sample(database, plan, window, keys)
    round_id = uuid.uuid4().hex
    row = {
        "round_id": round_id,
        "created": now,
        "reviewer": reviewer,
        "policy": plan.policy,
        "let_through": drawn.let_through.model_dump_json(),
        "stopped": drawn.stopped.model_dump_json(),
        "kind": plan.kind.value,
        "sample": "" if drawn.sample is None else drawn.sample.to_json(),
    }
    with database.write() as connection:
        connection.execute(sa.insert(LABEL_ROUNDS), row)
        connection.execute(sa.insert(LABEL_ITEMS), [_item_row(round_id, x) for x in drawn.items])
    return round_id


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What a round is made of."""

    let_through: DeliveryDraw
    stopped: DeliveryDraw
    items: Sequence[Item]
    sample: RequestDraw | None = None


def _draw_sample(
    database: Database, plan: RoundPlan, window: Window, keys: ContentKeys | None
) -> _Drawn:
    sample, actions = draw_requests(database, window, plan.count, keys)
    empty = make_draw(_as_list([], window), 0, DrawKey(0), [], [])
    items = [_make_item([name], actions, plan) for name in sample.drawn]
    return _Drawn(empty, empty, items, sample)


def _draw_decisions(
    database: Database, plan: RoundPlan, window: Window, keys: ContentKeys | None
) -> _Drawn:
    key = DrawKey(secrets.randbits(_SEED_BITS))
    lists = {action: _find(database, window, action) for action in (Action.PASS, Action.BLOCK)}
    if not any(rows for rows in lists.values()):
        raise RequestError("nothing was let through or stopped by this policy in this time")
    drawn = {
        action: draw_strata(_as_list(rows, window), plan.count, key)
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
            _as_list(lists[action], window),
            plan.count,
            key,
            strata,
            [name for one in strata for name in one.drawn if not texts.get(name)],
        )
        for action, strata in drawn.items()
    }
    return _Drawn(draws[Action.PASS], draws[Action.BLOCK], items)


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


def _find(database: Database, window: Window, action: Action) -> list[tuple[str, str, str]]:
    """Id, digest and reason of every decision in the list."""
    columns = RECORDS.c
    query = (
        sa.select(columns.record_id, columns.digest, columns.reason)
        .where(*window.holds(), columns.action == action.value)
        .order_by(columns.created, columns.record_id)
        .limit(MOST_LISTED + 1)
    )
    with database.read() as connection:
        rows = [(name, made, reason) for name, made, reason in connection.execute(query)]
    if len(rows) > MOST_LISTED:
        raise RequestError(
            f"there are more than {MOST_LISTED:,} decisions in this time; choose a shorter one"
        )
    return rows


def _as_list(rows: Sequence[tuple[str, str, str]], window: Window) -> Deliveries:
    return Deliveries(
        tuple(Delivery(*row) for row in rows),
        window.policy,
        window.policy_digest,
        window.since.isoformat(),
        window.until.isoformat(),
    )


def _make_items(
    records: Mapping[str, Record], texts: Mapping[str, str], plan: RoundPlan
) -> list[Item]:
    """Decisions on one request together, as long as their answers are few enough to read."""
    clusters: dict[str, list[str]] = {}
    for name, record in records.items():
        if texts[name]:
            clusters.setdefault(record.request_digest or name, []).append(name)
    actions = {name: record.action for name, record in records.items()}
    return [
        _make_item(part, actions, plan)
        for cluster in clusters.values()
        for part in _split(sorted(cluster), texts)
    ]


def _make_item(names: Sequence[str], actions: Mapping[str, Action], plan: RoundPlan) -> Item:
    looks = 2 if random.SystemRandom().random() < plan.second_share else 1
    return Item(uuid.uuid4().hex, looks, tuple((name, actions[name]) for name in names))


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
