"""Labels in the forms in which other commands read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.engine.verdict import Action
from guardrail.labelling.looks import settle
from guardrail.labelling.queue import read_queue
from guardrail.records.review import LabelVerdict
from guardrail.records.review_tables import LABELS, WHOLE_REQUEST

if TYPE_CHECKING:
    from datetime import datetime

    from guardrail.database.database import Database
    from guardrail.labelling.rounds import Round
    from guardrail.types import Json

__all__ = ["all_labels", "round_labels"]


def all_labels(database: Database) -> list[dict[str, Json]]:
    """What reviewers say of each record, as `guardrail policy replay --labels` reads it.

    One row a record, drawn or not: the label of more than half of its reviewers, else `unsure`.
    Raises StorageError.
    """
    columns = LABELS.c
    query = (
        sa.select(columns.record_id, columns.reviewer, columns.verdict)
        .where(columns.item == WHOLE_REQUEST)
        .order_by(columns.created, columns.label_id)
    )
    latest: dict[str, dict[str, LabelVerdict]] = {}
    with database.read() as connection:
        for record_id, reviewer, verdict in connection.execute(query):
            latest.setdefault(record_id, {})[reviewer] = LabelVerdict(verdict)
    return [
        {
            "record_id": record_id,
            "label": (settle(given.values()) or LabelVerdict.UNSURE).value,
        }
        for record_id, given in sorted(latest.items())
    ]


def round_labels(database: Database, round_: Round, now: datetime) -> list[dict[str, Json]]:
    """The labels of what was let through, as `guardrail delivered bound` reads them.

    One row for each drawn answer that is kept; where nothing is settled, `harmful` is left open and
    counts so. Raises StorageError.
    """
    verdicts = read_queue(database, round_, now).verdicts()
    settled = {
        record_id: settle(verdicts.get(item.item_id, ()))
        for item in round_.items
        for record_id, action in item.records
        if action is Action.PASS
    }
    draw = round_.let_through
    drawn = [record_id for stratum in draw.strata for record_id in stratum.drawn]
    return [
        {
            "id": record_id,
            "harmful": None
            if settled.get(record_id) is None
            else settled[record_id] is LabelVerdict.HARMFUL,
            "draw": draw.mark,
        }
        for record_id in drawn
        if record_id not in draw.without_content
    ]
