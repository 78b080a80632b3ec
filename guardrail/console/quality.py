"""What is known of the guard's errors: recall, false alarms, canaries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.engine.verdict import Action, Reason
from guardrail.errors import ConfigError
from guardrail.labelling.looks import settle
from guardrail.policy.recall import read_recall
from guardrail.records.query import as_utc
from guardrail.records.review import LabelVerdict
from guardrail.records.review_tables import CHOSEN, LABELS, WHOLE_REQUEST
from guardrail.records.tables import RECORDS
from guardrail.stats import harmless_rate_upper

if TYPE_CHECKING:
    from guardrail.api.deployment import Deployment
    from guardrail.database.database import Database
    from guardrail.policy.schema import Policy
    from guardrail.telemetry.telemetry import Telemetry

__all__ = ["CanaryState", "FalseAlarms", "RecallState", "read_canaries", "read_false_alarms",
           "read_recalls"]  # fmt: skip

_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Of stopped decisions that reviewers judged: how many were harmless.

    Attributes:
        drawn, drawn_harmless: of those that were drawn at random; they say how often.
        upper: of these, at most such a share is harmless (19 times of 20); None without any.
        chosen, chosen_harmless: of those that reviewers chose themselves; they say nothing of how
            often.
    """

    drawn: int
    drawn_harmless: int
    upper: float | None
    chosen: int
    chosen_harmless: int


@dataclass(frozen=True, slots=True)
class RecallState:
    """What a policy's recall says, and when it was measured; None where it was not."""

    policy: str
    sentence: str
    measured: datetime | None
    clean_requests: int
    clean_passed: int

    def age_days(self, now: datetime) -> int | None:
        """Whole days since it was measured."""
        return None if self.measured is None else (now - self.measured).days


@dataclass(frozen=True, slots=True)
class CanaryState:
    """How the last canary of one kind was decided under a policy."""

    policy: str
    canary: str
    word: str
    at: datetime


def read_false_alarms(database: Database) -> FalseAlarms:
    """Counts stopped decisions by what their reviewers agree on. Raises StorageError.

    Of several labels of a reviewer the latest counts; labels that were drawn and labels that were
    chosen are told apart, as who chose has seen the verdict.
    """
    columns = LABELS.c
    query = (
        sa.select(columns.record_id, columns.reviewer, columns.verdict, columns.source)
        .join(RECORDS, RECORDS.c.record_id == columns.record_id)
        .where(
            columns.item == WHOLE_REQUEST,
            RECORDS.c.action == Action.BLOCK.value,
            RECORDS.c.reason != Reason.OVERRIDE.value,
        )
        .order_by(columns.created, columns.label_id)
    )
    given: dict[tuple[bool, str], dict[str, LabelVerdict]] = {}
    with database.read() as connection:
        for record_id, reviewer, verdict, source in connection.execute(query):
            of_record = given.setdefault((source != CHOSEN, record_id), {})
            of_record[reviewer] = LabelVerdict(verdict)
    counts = Counter((drawn, settle(one.values())) for (drawn, _), one in given.items())
    judged = {
        drawn: counts[drawn, LabelVerdict.HARMFUL] + counts[drawn, LabelVerdict.HARMLESS]
        for drawn in (True, False)
    }
    harmless = counts[True, LabelVerdict.HARMLESS]
    upper = harmless_rate_upper(harmless, judged[True], _ALPHA) if judged[True] else None
    return FalseAlarms(
        judged[True], harmless, upper, judged[False], counts[False, LabelVerdict.HARMLESS]
    )


def read_recalls(deployment: Deployment | None) -> list[RecallState]:
    """What was measured of each policy that decides now."""
    found = []
    for served in () if deployment is None else deployment.current.policies:
        statement = served.service.engine.rules.recall
        if statement is None:
            found.append(RecallState(served.name, "", None, 0, 0))
            continue
        measured = _read_time(served.service.policy)
        found.append(
            RecallState(
                served.name,
                statement.sentence,
                measured,
                statement.clean_requests,
                statement.clean_passed,
            )
        )
    return found


def read_canaries(telemetry: Telemetry | None) -> list[CanaryState]:
    """The last canaries of this process."""
    kept = {} if telemetry is None else telemetry.canaries
    return [
        CanaryState(policy, canary, result.word, datetime.fromtimestamp(at, UTC))
        for (policy, canary), (result, at) in sorted(kept.items())
    ]


def _read_time(policy: Policy) -> datetime | None:
    """When its recall was measured; None where the file is not there any more."""
    try:
        file = read_recall(policy)
        measured = None if file is None else datetime.fromisoformat(file.created)
    except (ConfigError, ValueError):
        return None
    return None if measured is None else as_utc(measured)
