"""Tries a policy: on cases with a known decision, and on what was decided before."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Protocol

import sqlalchemy as sa

from guardrail.cases.case import CaseDecision, PictureCase
from guardrail.cases.from_record import case_from_record
from guardrail.console.words import describe_reason
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError, ConfigError, GuardrailError
from guardrail.records.documents import recent_documents
from guardrail.records.query import DatabaseSource
from guardrail.records.review_tables import CASES

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import RowMapping

    from guardrail.cases.case import Case
    from guardrail.cases.results import CaseResult
    from guardrail.database.database import Database
    from guardrail.policy.schema import Policy
    from guardrail.records.content import ContentKeys
    from guardrail.types import Json

__all__ = [
    "OneReplay",
    "Progress",
    "TrialStoppedError",
    "replay_one",
    "replay_records",
    "run_tests",
]

_MOST_CASES = 500
_LONGEST_S = 900.0
_SHOWN = 50
_JOBS = 2


class TrialStoppedError(GuardrailError):
    """A run was ended before its end."""


class Progress(Protocol):
    """Is told how far a trial is."""

    def expect(self, total: int) -> None:
        """So many steps are to come."""
        ...

    def step(self) -> None:
        """One is done. Raises TrialStoppedError where the trial is to end."""
        ...


def run_tests(
    database: Database, policy: Policy, keys: ContentKeys | None, progress: Progress
) -> dict[str, Json]:
    """Decides the starter suite's answers, and the cases that reviewers kept; no model is called.

    Raises:
        ConfigError: the policy's oracle cannot be used.
        TrialStoppedError: it was to end, or took longer than a quarter of an hour.
        StorageError: the cases cannot be read.
    """
    from guardrail.cases.reading import load_cases
    from guardrail.cases.results import summarize

    shipped = load_cases("starter")
    kept, unusable = _load_kept(database, keys)
    cases = [one for one in shipped if not isinstance(one.given, PictureCase)] + kept
    progress.expect(len(cases))
    results = asyncio.run(_decide(policy, cases, progress))
    summary = summarize(results)
    wrong = [one for one in results if not one.is_as_expected]
    return {
        "cases": summary.cases,
        "as_expected": summary.as_expected,
        "missed_harm": summary.missed_harm,
        "false_alarms": summary.false_alarms,
        "other": summary.other,
        "errors": summary.errors,
        "kept": len(kept),
        "unusable": unusable,
        "with_pictures": len(shipped) + len(kept) - len(cases),
        "rows": [[one.case.name, _say(one)] for one in wrong[:_SHOWN]],
        "more": max(0, len(wrong) - _SHOWN),
    }


def _say(one: CaseResult) -> str:
    return "; ".join(one.problems) if one.is_decided else f"not decided: {one.error}"


async def _decide(policy: Policy, cases: list[Case], progress: Progress) -> list[CaseResult]:
    from guardrail.assembly import build_engine
    from guardrail.cases.running import CASES_KEY, allow_time, run_cases
    from guardrail.types import Answer
    from guardrail.upstreams.given import GivenAnswerUpstream

    no_model = GivenAnswerUpstream(Answer({"content": ""}))
    engine = build_engine(allow_time(policy), no_model, CASES_KEY, is_placeholder=True)
    try:
        async with asyncio.timeout(_LONGEST_S):
            return await run_cases(engine, policy, cases, jobs=_JOBS, step=progress.step)
    except TimeoutError as error:
        raise TrialStoppedError("it took longer than a quarter of an hour") from error
    except ExceptionGroup as group:
        stopped = group.subgroup(TrialStoppedError)
        if stopped is None:
            raise
        raise TrialStoppedError("the server is being shut down") from group
    finally:
        await engine.aclose()


def _load_kept(database: Database, keys: ContentKeys | None) -> tuple[list[Case], int]:
    """The cases of reviewers, the newest, and how many of them cannot be decided again."""
    query = sa.select(CASES).order_by(CASES.c.created.desc()).limit(_MOST_CASES)
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
    source, found = DatabaseSource(database), []
    for row in rows:
        try:
            case = _read_case(source, row, keys)
        except (ConfigError, CertificationError):
            case = None
        if case is not None:
            found.append(case)
    return found, len(rows) - len(found)


def _read_case(source: DatabaseSource, row: RowMapping, keys: ContentKeys | None) -> Case | None:
    """Raises ConfigError or CertificationError where it cannot be decided again."""
    record = source.find(row["record_id"])
    if record is None:
        return None
    if keys is not None and row["sealed"] is not None:
        # What the case keeps stays when the record's own content is erased.
        content = keys.open(row["sealed"], row["case_id"])
        record = dataclasses.replace(record, content=content)
    elif keys is None:
        record = dataclasses.replace(record, content=None)
    expected = CaseDecision.LET_THROUGH if row["expected"] == Action.PASS else CaseDecision.STOPPED
    case = case_from_record(record, expected, keys=keys)
    return dataclasses.replace(case, name=f"{row['name']} ({row['case_id'][:8]})")


def replay_records(
    database: Database,
    name: str,
    policy: Policy,
    most: int,
    since: datetime | None,
    progress: Progress,
) -> dict[str, Json]:
    """What a policy would have decided about the newest records of the one named so.

    Raises:
        ConfigError: the policy cannot be used.
        CertificationError: a record is not one of this version.
        StorageError: they cannot be read.
        TrialStoppedError: it was to end.
    """
    from guardrail.replay.loading import load_decisions
    from guardrail.replay.replay import replay_policy
    from guardrail.replay.summary import summarize_replay
    from guardrail.replay.wording import (
        ASSUMED,
        describe_calls,
        describe_interval,
        describe_test,
    )

    progress.expect(most)
    documents = recent_documents(database, most, policy=name, since=since)
    decisions = load_decisions(documents, progress.step)
    if not len(decisions):
        return {"decisions": 0}
    summary = summarize_replay(replay_policy(decisions, policy))
    return {
        "decisions": summary.decisions,
        "requests": summary.requests,
        "stay": summary.stay,
        "unknown": summary.unknown,
        "now_stopped": describe_interval(summary.now_stopped),
        "now_let_through": describe_interval(summary.now_let_through),
        "calls": describe_test(summary),
        "needs": [[words, count] for words, count in summary.needs.items()],
        "further": describe_calls(summary.further_calls) if summary.unknown else "",
        "unseen": list(summary.unseen),
        "rows": [
            [one.record_id, one.before, one.after, describe_reason(one.new_reason)]
            for one in summary.changed[:_SHOWN]
        ],
        "more": max(0, len(summary.changed) - _SHOWN),
        "assumed": ASSUMED,
    }


@dataclasses.dataclass(frozen=True, slots=True)
class OneReplay:
    """What another policy would have decided about one request.

    Attributes:
        before, after: how it ended and would have ended; None for what is not known.
        reason: why it would have.
        need: what is lacking, in words; empty where nothing is.
        used: draws that the new decision rests on; 0 where that is not known.
    """

    before: str
    after: str | None
    reason: str
    need: str
    used: int

    @property
    def is_same(self) -> bool:
        return self.before == self.after


_ENDINGS = ("let through", "stopped", "no answer", "not decided")
"""By the numbers of `Ending`, without the last one."""


def replay_one(database: Database, record_id: str, policy: Policy) -> OneReplay:
    """What a policy would have decided about one record.

    Raises:
        ConfigError: the policy cannot be used.
        CertificationError: the record is not one of this version.
        StorageError: it cannot be read.
    """
    from guardrail.replay.endings import NEED_WORDS, REASONS, Ending, Need
    from guardrail.replay.loading import load_decisions
    from guardrail.replay.replay import replay_policy

    decisions = load_decisions(recent_documents(database, 1, record_id=record_id))
    if not len(decisions):
        raise ConfigError(
            "the record is not there any more, or a person decided in the guard's place"
        )
    found = replay_policy(decisions, policy)
    after, need = Ending(int(found.after[0])), Need(int(found.need[0]))
    return OneReplay(
        before=_ENDINGS[int(found.before[0])],
        after=None if after is Ending.UNKNOWN else _ENDINGS[after],
        reason=describe_reason(Reason(REASONS[int(found.reason[0])]).value),
        need=NEED_WORDS.get(need, ""),
        used=int(found.used[0]),
    )
