"""Requests drawn at random from those that were decided, each with the first answer to it.

Every request of the window whose first answer is kept has the same chance, whatever was decided:
requests are put into a random order, and the first ones that keep an answer are taken. Equal
requests are one; the first decision in the window that drew stands for it. Its first answer is
taken because it alone is drawn whatever the oracle says.
"""

from __future__ import annotations

import dataclasses
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.engine.verdict import Reason
from guardrail.errors import RequestError
from guardrail.labelling.answers import open_records
from guardrail.records.origin import TRIED_ROUTE
from guardrail.records.tables import CONTENTS, RECORDS
from guardrail.tuning.first_answer import find_first_sample, first_answer, name_equal
from guardrail.types import Outcome

if TYPE_CHECKING:
    from datetime import datetime

    from guardrail.database.database import Database
    from guardrail.engine.verdict import Action
    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record

__all__ = ["MOST_LISTED", "RequestDraw", "Window", "draw_requests"]

MOST_LISTED = 200_000
_AT_ONCE = 200
_MOST_OPENED = 20
"""Requests that are opened for each one that is wanted, before it is said that none is kept."""


@dataclass(frozen=True, slots=True)
class Window:
    """Decisions of one version of a policy, from `since` to `until`, both included."""

    policy: str
    policy_digest: str
    since: datetime
    until: datetime

    def holds(self) -> list[sa.ColumnElement[bool]]:
        """The conditions on a record; what was only tried, or overridden, is not in it."""
        columns = RECORDS.c
        return [
            columns.policy == self.policy,
            columns.policy_digest == self.policy_digest,
            columns.route != TRIED_ROUTE,
            columns.reason != Reason.OVERRIDE.value,
            columns.created >= self.since,
            columns.created <= self.until,
        ]


@dataclass(frozen=True, slots=True)
class RequestDraw:
    """What was drawn.

    Attributes:
        since, until: the window, ISO 8601.
        policy_digest: of the version of the policy that decided.
        requests: different requests in the window of which content is kept.
        drawn: records of the drawn ones.
        passed_over: requests that were drawn and keep no first answer; others took their places.
        found_harmful: records whose first answer counted as harmful when it was decided.
    """

    since: str
    until: str
    policy_digest: str
    requests: int
    drawn: tuple[str, ...]
    passed_over: int
    found_harmful: frozenset[str]

    def to_json(self) -> str:
        """A text that `from_json` reads back to an equal draw."""
        return json.dumps(
            {
                **dataclasses.asdict(self),
                "drawn": list(self.drawn),
                "found_harmful": sorted(self.found_harmful),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> RequestDraw:
        """Reads what `to_json` wrote."""
        fields = json.loads(text)
        return cls(
            **{
                **fields,
                "drawn": tuple(fields["drawn"]),
                "found_harmful": frozenset(fields["found_harmful"]),
            }
        )


def draw_requests(
    database: Database, window: Window, count: int, keys: ContentKeys | None
) -> tuple[RequestDraw, dict[str, Action]]:
    """Draws so many requests, or all where there are fewer; and what was decided of each.

    Raises:
        RequestError: none keeps an answer, or there are too many to draw from.
        StorageError: the database cannot be read.
    """
    listed = _list_requests(database, window)
    # The order cannot be chosen, nor foreseen, by who begins the round.
    order = random.SystemRandom().sample(listed, len(listed))
    drawn: list[Record] = []
    opened = 0
    while len(drawn) < count and opened < min(len(order), _MOST_OPENED * count):
        part = order[opened : opened + min(_AT_ONCE, count)]
        found = open_records(database, part, keys)
        for name in part:
            opened += 1
            if name in found and first_answer(found[name]) is not None:
                drawn.append(found[name])
            if len(drawn) == count:
                break
    if not drawn:
        raise RequestError(
            f"none of {opened} requests keeps what was asked and first answered, so there is "
            "nothing to label; serve with --keep-content and --content-key, and draw from what is "
            "decided then"
        )
    draw = RequestDraw(
        window.since.isoformat(),
        window.until.isoformat(),
        window.policy_digest,
        len(listed),
        tuple(record.record_id for record in drawn),
        opened - len(drawn),
        frozenset(record.record_id for record in drawn if _counts_as_harmful(record)),
    )
    return draw, {record.record_id: record.action for record in drawn}


def _list_requests(database: Database, window: Window) -> list[str]:
    """The first record of every request that was asked of the model and keeps content."""
    columns = RECORDS.c
    query = (
        sa.select(columns.record_id, columns.request_digest)
        .join(CONTENTS, CONTENTS.c.record_id == columns.record_id)
        # Without a score nothing was judged: a fault, or an answer that left undecided.
        .where(*window.holds(), sa.not_(columns.remembered), columns.score.is_not(None))
        .order_by(columns.created, columns.record_id)
        .limit(MOST_LISTED + 1)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    if len(rows) > MOST_LISTED:
        raise RequestError(
            f"there are more than {MOST_LISTED:,} decisions in this time; choose a shorter one"
        )
    first: dict[str, str] = {}
    for record_id, request_digest in rows:
        first.setdefault(name_equal(request_digest, record_id), record_id)
    return list(first.values())


def _counts_as_harmful(record: Record) -> bool:
    first = find_first_sample(record)
    return first is not None and first.outcome is not Outcome.HARMLESS
