"""What is known of the guard's errors: recall, false alarms, canaries."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from guardrail.engine.verdict import Action, Reason
from guardrail.errors import ConfigError
from guardrail.labelling.looks import settle
from guardrail.labelling.queue import read_queue
from guardrail.labelling.rounds import newest_rounds, read_round
from guardrail.labelling.standing import find_standing
from guardrail.policy.recall import read_recall
from guardrail.records.query import as_utc
from guardrail.records.review import LabelVerdict
from guardrail.records.review_tables import CHOSEN, LABELS, WHOLE_REQUEST
from guardrail.records.tables import RECORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.deployment import Deployment
    from guardrail.database.database import Database
    from guardrail.labelling.standing import ListStanding
    from guardrail.policy.schema import Policy
    from guardrail.telemetry.telemetry import Telemetry

__all__ = [
    "CanaryState",
    "FalseAlarms",
    "LabelledAlarms",
    "RecallState",
    "count_chosen_alarms",
    "count_version_labels",
    "read_canaries",
    "read_false_alarms",
    "read_recalls",
]


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """False alarms of one policy, by the newest round of labels on its decisions.

    Rounds are never added up: each was drawn from a list of its own, in a size of its own.

    Attributes:
        policy: its name.
        since, until: when the decisions of the list were made.
        standing: what the labels of the round show of what was stopped; its `share` is the bound.
    """

    policy: str
    since: datetime
    until: datetime
    standing: ListStanding


@dataclass(frozen=True, slots=True)
class LabelledAlarms:
    """Stopped decisions that have a label, and how many of them were found harmless."""

    labelled: int
    harmless: int


@dataclass(frozen=True, slots=True)
class RecallState:
    """What a policy's recall says of each threat, and when it was measured; None if it was not."""

    policy: str
    sentences: Mapping[str, str]
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


def read_false_alarms(database: Database, now: datetime) -> list[FalseAlarms]:
    """Of every policy that has a round of labels and stopped something, in order of their names.

    Raises StorageError.
    """
    found = []
    for head in newest_rounds(database):
        round_ = read_round(database, head.round_id)
        if round_ is None:
            continue
        standing = find_standing(round_, read_queue(database, round_, now).verdicts()).stopped
        if standing is not None:
            since = datetime.fromisoformat(round_.stopped.since)
            until = datetime.fromisoformat(round_.stopped.until)
            found.append(FalseAlarms(head.policy, since, until, standing))
    return found


def count_chosen_alarms(database: Database) -> LabelledAlarms:
    """Stopped decisions that reviewers chose themselves, by what they agree on.

    Of several labels of a reviewer the latest counts. Raises StorageError.
    """
    columns = LABELS.c
    query = (
        sa.select(columns.record_id, columns.reviewer, columns.verdict)
        .join(RECORDS, RECORDS.c.record_id == columns.record_id)
        .where(columns.item == WHOLE_REQUEST, columns.source == CHOSEN)
        .where(RECORDS.c.action == Action.BLOCK.value)
        .where(RECORDS.c.reason != Reason.OVERRIDE.value)
        .order_by(columns.created, columns.label_id)
    )
    given: dict[str, dict[str, LabelVerdict]] = {}
    with database.read() as connection:
        for record_id, reviewer, verdict in connection.execute(query):
            given.setdefault(record_id, {})[reviewer] = LabelVerdict(verdict)
    counts = Counter(settle(one.values()) for one in given.values())
    harmless = counts[LabelVerdict.HARMLESS]
    return LabelledAlarms(harmless + counts[LabelVerdict.HARMFUL], harmless)


def count_version_labels(
    database: Database, since: datetime, until: datetime
) -> dict[tuple[str, str], LabelledAlarms]:
    """Stopped decisions of a time that were drawn at random and labelled, by policy and digest.

    A count for each version, and no rate: a round is drawn from the decisions of one list, and not
    from those of this time. Raises StorageError.
    """
    columns = LABELS.c
    query = (
        sa.select(
            columns.record_id, columns.reviewer, columns.verdict,
            RECORDS.c.policy, RECORDS.c.policy_digest,
        )
        .join(RECORDS, RECORDS.c.record_id == columns.record_id)
        .where(columns.item == WHOLE_REQUEST, columns.source != CHOSEN)
        .where(RECORDS.c.created >= since, RECORDS.c.created < until)
        .where(RECORDS.c.action == Action.BLOCK.value)
        .where(RECORDS.c.reason != Reason.OVERRIDE.value)
        .order_by(columns.created, columns.label_id)
    )  # fmt: skip
    given: dict[tuple[tuple[str, str], str], dict[str, LabelVerdict]] = {}
    with database.read() as connection:
        for record_id, reviewer, verdict, *version in connection.execute(query):
            found = given.setdefault(((version[0], version[1]), record_id), {})
            found[reviewer] = LabelVerdict(verdict)
    counts: defaultdict[tuple[str, str], Counter[LabelVerdict | None]] = defaultdict(Counter)
    for (which, _), one in given.items():
        counts[which][settle(one.values())] += 1
    return {
        which: LabelledAlarms(
            one[LabelVerdict.HARMLESS] + one[LabelVerdict.HARMFUL], one[LabelVerdict.HARMLESS]
        )
        for which, one in counts.items()
    }


def read_recalls(deployment: Deployment | None) -> list[RecallState]:
    """What was measured of each policy that decides now."""
    found = []
    for served in () if deployment is None else deployment.current.policies:
        rules = served.service.engine.rules
        statement = rules.recall
        if statement is None:
            found.append(RecallState(served.name, {}, None, 0, 0))
            continue
        measured = _read_time(served.service.policy)
        found.append(
            RecallState(
                served.name,
                statement.sentences({} if rules.threats is None else rules.threats.settings),
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
