"""Tries a policy: on cases with a known decision, and on what was decided before."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from guardrail.cases.case import PictureCase
from guardrail.console.words import describe_reason
from guardrail.engine.verdict import Reason
from guardrail.errors import ConfigError, GuardrailError
from guardrail.policy.compile import policy_digest
from guardrail.records.documents import count_decisions, recent_documents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.cases.case import Case
    from guardrail.cases.results import CaseResult
    from guardrail.console.windows import DecisionWindow
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
    database: Database,
    policy: Policy,
    keys: ContentKeys | None,
    progress: Progress,
    *,
    in_force: Policy | None = None,
) -> dict[str, Json]:
    """Decides the starter suite's answers, and the cases that reviewers kept; no model is called.

    Args:
        database: with the cases of reviewers.
        policy: decides them.
        keys: open what was asked and answered.
        progress: is told how far it is.
        in_force: decides the same cases, to stand beside; None for no other policy.

    Raises:
        ConfigError: the policy's oracle cannot be used.
        TrialStoppedError: it was to end, or took longer than a quarter of an hour for a policy.
        StorageError: the cases cannot be read.
    """
    from guardrail.cases.reading import load_cases
    from guardrail.cases.reviewers import load_reviewers_cases

    shipped = load_cases("starter")
    kept, unusable = load_reviewers_cases(database, keys)
    cases = [one for one in shipped if not isinstance(one.given, PictureCase)] + kept
    progress.expect(len(cases) * (1 if in_force is None else 2))
    results = asyncio.run(_decide(policy, cases, progress))
    wrong = [one for one in results if not one.is_as_expected]
    return {
        **_count(results),
        "kept": len(kept),
        "unusable": unusable,
        "with_pictures": len(shipped) + len(kept) - len(cases),
        "rows": [[one.case.name, _say(one)] for one in wrong[:_SHOWN]],
        "more": max(0, len(wrong) - _SHOWN),
        "in_force": None
        if in_force is None
        else _set_beside(policy_digest(in_force), results, in_force, cases, progress),
    }


def _count(results: Sequence[CaseResult]) -> dict[str, Json]:
    from guardrail.cases.results import summarize

    counted = dataclasses.asdict(summarize(results))
    names = ("cases", "as_expected", "missed_harm", "false_alarms", "other", "errors")
    return {name: counted[name] for name in names}


def _set_beside(
    digest: str,
    results: Sequence[CaseResult],
    in_force: Policy,
    cases: list[Case],
    progress: Progress,
) -> dict[str, Json]:
    """The same cases by the policy in force, and where the two differ."""
    try:
        before = asyncio.run(_decide(in_force, cases, progress))
    except ConfigError as error:
        return {"digest": digest, "problem": str(error)}
    rows = [
        [old.case.name, _say(old), _say(new), _compare(old, new)]
        for old, new in zip(before, results, strict=True)
        if _say(old) != _say(new)
    ]
    return {
        "digest": digest,
        "problem": "",
        **_count(before),
        "better": sum(row[-1] == "better" for row in rows),
        "worse": sum(row[-1] == "worse" for row in rows),
        "rows": [*rows[:_SHOWN]],
        "more": max(0, len(rows) - _SHOWN),
    }


def _compare(old: CaseResult, new: CaseResult) -> str:
    if old.is_as_expected is new.is_as_expected:
        return "otherwise"
    return "better" if new.is_as_expected else "worse"


def _say(one: CaseResult) -> str:
    """What came of a case where that is not as expected."""
    if one.is_as_expected:
        return "as expected"
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


def replay_records(
    database: Database,
    name: str,
    policy: Policy,
    window: DecisionWindow,
    progress: Progress,
) -> dict[str, Json]:
    """What a policy would have decided about some records of the one named so.

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

    progress.expect(window.most)
    since, until = window.since, window.until
    documents = recent_documents(database, window.most, policy=name, since=since, until=until)
    decisions = load_decisions(documents, progress.step)
    if not len(decisions):
        return {"decisions": 0}
    held = 0 if since is None else count_decisions(database, name, since, until)
    summary = summarize_replay(replay_policy(decisions, policy))
    return {
        "decisions": summary.decisions,
        "held": held if held > window.most else None,
        "since": since and since.isoformat(),
        "until": until and until.isoformat(),
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


@dataclass(frozen=True, slots=True)
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
