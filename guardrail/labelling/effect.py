"""What the last labels of a round did: to the bounds, and to calls and dollars for false alarms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from guardrail.engine.verdict import Action, Reason
from guardrail.labelling.oracle_errors import STEP
from guardrail.labelling.standing import bound_wrong, find_standing
from guardrail.records.origin import TRIED_ROUTE
from guardrail.records.tables import RECORDS

if TYPE_CHECKING:
    from guardrail.database.database import Database
    from guardrail.labelling.queue import QueueState
    from guardrail.labelling.rounds import Round
    from guardrail.labelling.standing import ListStanding
    from guardrail.tuning.delivery_draw import DeliveryDraw

__all__ = ["Effect", "ListEffect", "Spent", "read_effect"]


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls and dollars; None for dollars where a price is not known."""

    calls: int
    usd: float | None


@dataclass(frozen=True, slots=True)
class ListEffect:
    """One list before the last labels and after them.

    Attributes:
        before, after: what labels showed then, and show now.
        at_best: the share that can be shown, where all labels that are left find it right.
    """

    before: ListStanding
    after: ListStanding
    at_best: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What the labels from one number to another did.

    Attributes:
        first, last: numbers of these labels, from 1.
        let_through, stopped: the lists; None for one that is empty.
        alarm_cost: calls and dollars that went to stopping what was harmless, at most, before and
            after.
        all_cost: of all decisions in both lists.
    """

    first: int
    last: int
    let_through: ListEffect | None
    stopped: ListEffect | None
    alarm_cost: tuple[Spent, Spent] | None
    all_cost: Spent


def read_effect(
    database: Database, round_: Round, state: QueueState, *, is_done: bool
) -> Effect | None:
    """The effect of the last full step of labels, or, where no item is left, of the last ones.

    None before the first step is full. Raises StorageError.
    """
    total = len(state.judgements)
    last = total if is_done else total - total % STEP
    if not last:
        return None
    first = max(0, last - STEP)
    before = find_standing(round_, state.verdicts(first))
    after = find_standing(round_, state.verdicts(last))
    stopped = _compare(before.stopped, after.stopped, round_.stopped)
    return Effect(
        first=first + 1,
        last=last,
        let_through=_compare(before.let_through, after.let_through, round_.let_through),
        stopped=stopped,
        alarm_cost=None
        if stopped is None
        else (
            _spent(database, round_.stopped, Action.BLOCK, stopped.before.most),
            _spent(database, round_.stopped, Action.BLOCK, stopped.after.most),
        ),
        all_cost=_add(
            _spent(database, round_.let_through, Action.PASS),
            _spent(database, round_.stopped, Action.BLOCK),
        ),
    )


def _compare(
    before: ListStanding | None, after: ListStanding | None, draw: DeliveryDraw
) -> ListEffect | None:
    if before is None or after is None:
        return None
    worst = after.wrong + len(draw.without_content)
    return ListEffect(before, after, bound_wrong(after.listed, after.drawn, worst)[1])


def _spent(
    database: Database, draw: DeliveryDraw, action: Action, most: int | None = None
) -> Spent:
    """What a list took; of the `most` costliest decisions in it alone, each kind by itself."""
    calls = _sum(database, draw, action, RECORDS.c.calls, most)
    usd = _sum(database, draw, action, RECORDS.c.cost_usd, most)
    unknown = _count_unpriced(database, draw, action)
    return Spent(int(calls), None if unknown else float(usd))


def _add(one: Spent, other: Spent) -> Spent:
    usd = None if one.usd is None or other.usd is None else one.usd + other.usd
    return Spent(one.calls + other.calls, usd)


def _sum(
    database: Database, draw: DeliveryDraw, action: Action, column: Any, most: int | None
) -> float:
    query = sa.select(column.label("spent")).where(*_in_list(draw, action))
    if most is not None:
        query = query.order_by(sa.func.coalesce(column, 0).desc()).limit(most)
    with database.read() as connection:
        part = query.subquery()
        return connection.execute(sa.select(sa.func.sum(part.c.spent))).scalar() or 0


def _count_unpriced(database: Database, draw: DeliveryDraw, action: Action) -> int:
    query = (
        sa.select(sa.func.count())
        .select_from(RECORDS)
        .where(*_in_list(draw, action), RECORDS.c.cost_usd.is_(None))
    )
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())


def _in_list(draw: DeliveryDraw, action: Action) -> list[sa.ColumnElement[bool]]:
    columns = RECORDS.c
    return [
        columns.policy == draw.policy,
        columns.policy_digest == draw.policy_digest,
        columns.action == action.value,
        columns.reason != Reason.OVERRIDE.value,
        columns.route != TRIED_ROUTE,
        columns.created >= datetime.fromisoformat(draw.since),
        columns.created <= datetime.fromisoformat(draw.until),
    ]
