"""What the last labels of a round of answers or requests did: to bounds, calls and dollars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from pydantic import ValidationError

from guardrail.labelling.looks import settle
from guardrail.labelling.oracle_errors import STEP, count_read, find_oracle_errors, last_look
from guardrail.labelling.request_draw import Window
from guardrail.policy.content import find_content, read_policy
from guardrail.records.query import DatabaseSource
from guardrail.records.review import LabelVerdict
from guardrail.records.tables import RECORDS
from guardrail.stats import fewest_requests
from guardrail.tuning.thresholds import Measured
from guardrail.tuning.tradeoff import price

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.database.database import Database
    from guardrail.labelling.oracle_errors import OracleErrors
    from guardrail.labelling.rounds import Round
    from guardrail.policy.schema import Policy
    from guardrail.tuning.tradeoff import GuardPrice

__all__ = ["AnswerEffect", "Collected", "RecallDesign", "RequestEffect", "find_price",
           "price_per_call", "read_answer_effect", "read_policy_of",
           "read_request_effect"]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEffect:
    """What the answers from one number to another of a round did.

    Attributes:
        first, last: numbers of these answers, from 1.
        before, after: the oracle's errors as far as they were known before and after.
        price_before, price_after: what the guard must do of a usual request under the claim
            'harmlessness' with that miss rate; None where the policy is not known any more.
    """

    first: int
    last: int
    before: OracleErrors
    after: OracleErrors
    price_before: GuardPrice | None
    price_after: GuardPrice | None


@dataclass(frozen=True, slots=True)
class RecallDesign:
    """How `guardrail recall` measures: answers a request, recalls that are asked for, error rates.

    Attributes:
        delta: of each recall.
        beta: of one request, see `guardrail.stats.recall`.
    """

    draws: int
    recalls: tuple[float, ...]
    delta: float
    beta: float


@dataclass(frozen=True, slots=True)
class Collected:
    """Requests that are collected for `guardrail recall`.

    Attributes:
        forbidden: labelled as to be stopped; `clean`: as ordinary; `unsettled`: neither.
        recall: the largest that they can show, if every one of them is shown held; None where
            they are too few for any.
        calls: what measuring them takes at most; `usd`: None where the price is not known.
    """

    forbidden: int
    clean: int
    unsettled: int
    recall: float | None
    calls: int
    usd: float | None


@dataclass(frozen=True, slots=True)
class RequestEffect:
    """What the requests from one number to another of a round added."""

    first: int
    last: int
    before: Collected
    after: Collected


def read_answer_effect(
    database: Database, round_: Round, verdicts: Mapping[str, Sequence[LabelVerdict]]
) -> AnswerEffect | None:
    """The effect of the last step of a round of answers; None before the first one is full.

    Raises StorageError.
    """
    last = last_look(round_, count_read(round_, verdicts))
    if not last:
        return None
    first = (last - 1) // STEP * STEP
    policy = read_policy_of(database, round_)
    usd = price_per_call(database, round_)
    before, after = (find_oracle_errors(round_, verdicts, read) for read in (first, last))
    return AnswerEffect(
        first=first + 1,
        last=last,
        before=before,
        after=after,
        price_before=None if policy is None else find_price(policy, before, usd),
        price_after=None if policy is None else find_price(policy, after, usd),
    )


def read_request_effect(
    database: Database,
    round_: Round,
    verdicts: Mapping[str, Sequence[LabelVerdict]],
    design: RecallDesign,
) -> RequestEffect | None:
    """The effect of the last step of a round of requests; None before the first one is full.

    Raises StorageError.
    """
    last = last_look(round_, count_read(round_, verdicts))
    if not last:
        return None
    first = (last - 1) // STEP * STEP
    usd = price_per_call(database, round_)
    before, after = (_collect(round_, verdicts, read, design, usd) for read in (first, last))
    return RequestEffect(first + 1, last, before, after)


def find_price(policy: Policy, errors: OracleErrors, usd_per_call: float | None) -> GuardPrice:
    """Calls and dollars of a usual request under the claim 'harmlessness' at the miss bound."""
    measured = Measured(
        threshold=0.0,  # what was judged at which threshold is in the counts already
        misses=errors.misses,
        harmful=errors.harmful,
        miss_rate=errors.misses / errors.harmful if errors.harmful else 1.0,
        miss_rate_upper=errors.miss_rate_upper,
        false_alarms=errors.false_alarms,
        harmless=errors.harmless,
        false_alarm_rate=errors.false_alarms / errors.harmless if errors.harmless else None,
        false_alarm_rate_upper=errors.false_alarm_rate_upper,
        target=None,
        delta=errors.delta,
    )
    return price(policy, measured, price_per_call_usd=usd_per_call)


def read_policy_of(database: Database, round_: Round) -> Policy | None:
    """The policy that decided, from a record of the round; None where it is not known any more.

    Raises StorageError.
    """
    record = DatabaseSource(database).find(round_.items[0].records[0][0])
    if record is None:
        return None
    content = find_content(record.policy_fields, record.policy_digest)
    if content is None:
        return None
    try:
        return read_policy(content)
    except ValidationError:
        return None  # of another version


def price_per_call(database: Database, round_: Round) -> float | None:
    """Mean dollars of a call in the window of a round; None where a decision's are not known.

    Raises StorageError.
    """
    draw = round_.sample
    assert draw is not None
    ends = (datetime.fromisoformat(end) for end in (draw.since, draw.until))
    columns = RECORDS.c
    query = sa.select(
        sa.func.sum(columns.cost_usd),
        sa.func.sum(columns.calls),
        sa.func.count() - sa.func.count(columns.cost_usd),
    ).where(*Window(round_.policy, draw.policy_digest, *ends).holds(), columns.calls > 0)
    with database.read() as connection:
        usd, calls, unpriced = connection.execute(query).one()
    return None if unpriced or not calls else float(usd) / int(calls)


def _collect(
    round_: Round,
    verdicts: Mapping[str, Sequence[LabelVerdict]],
    read: int,
    design: RecallDesign,
    usd_per_call: float | None,
) -> Collected:
    settled = [settle(verdicts.get(item.item_id, ()), item.looks) for item in round_.items[:read]]
    forbidden = settled.count(LabelVerdict.HARMFUL)
    enough = (
        recall
        for recall in design.recalls
        if fewest_requests(recall, design.delta, design.beta) <= forbidden
    )
    calls = forbidden * design.draws
    return Collected(
        forbidden,
        settled.count(LabelVerdict.HARMLESS),
        settled.count(None),
        max(enough, default=None),
        calls,
        None if usd_per_call is None else calls * usd_per_call,
    )
