"""Kept answers judged again, by the oracle of another policy; no call to the model is made."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.engine.judge import Judge
from guardrail.engine.rules import OnUnscanned
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.options import looks_at_pictures
from guardrail.policy.compile import compile_policy
from guardrail.records.content import open_content
from guardrail.replay.decisions import OUTCOME_CODES, DrawFlag
from guardrail.replay.endings import Need
from guardrail.replay.outcomes import UNKNOWN_ANSWER, UNKNOWN_DRAW
from guardrail.types import Answer, Chat, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from guardrail.engine.rules import Rules
    from guardrail.engine.verdict import Sample
    from guardrail.oracles.base import Oracle
    from guardrail.policy.schema import Policy
    from guardrail.records.content import ContentKeys
    from guardrail.replay.decisions import RecordedDecisions
    from guardrail.replay.policy_replay import PolicyReplay

__all__ = ["find_unjudged", "open_kept", "rejudge_answers"]

_AT_ONCE = 16


def find_unjudged(found: PolicyReplay) -> frozenset[str]:
    """The ids of records whose answers would have to be judged again."""
    rows = np.flatnonzero(found.need == Need.ANSWERS)
    return frozenset(found.decisions.record_ids[row] for row in rows)


async def rejudge_answers(
    decisions: RecordedDecisions,
    documents: Iterable[Mapping[str, Any]],
    policy: Policy,
    oracle: Oracle,
    content_keys: ContentKeys | None,
    step: Callable[[], None] = lambda: None,
) -> RecordedDecisions:
    """The same decisions, their draws counted as the policy and its oracle count the kept answers.

    A draw whose answer was not kept stays unknown, and so does one that was broken off.

    Args:
        decisions: what was recorded.
        documents: the records to judge again, with their contents.
        policy: whose rules of judging hold.
        oracle: its oracle.
        content_keys: open sealed contents.
        step: called after each record.

    Raises:
        ConfigError: the oracle looks at pictures or compares with a reference, neither of which is
            kept; or a content was sealed with another key.
        CertificationError: a content was changed.
    """
    _check_oracle(policy)
    anew = _Anew(decisions, compile_policy(policy), oracle, content_keys)
    waiting: list[Mapping[str, Any]] = []
    for document in documents:
        waiting.append(document)
        if len(waiting) == _AT_ONCE:
            await anew.judge_all(waiting)
            for _ in waiting:
                step()
            waiting = []
    await anew.judge_all(waiting)
    for _ in waiting:
        step()
    return anew.finish()


def open_kept(document: Mapping[str, Any], content_keys: ContentKeys | None) -> Mapping[str, Any]:
    """What a record keeps of its content; empty where it keeps none, or it cannot be opened here.

    Raises:
        ConfigError: it was sealed with another key.
        CertificationError: it was changed.
    """
    content = document.get("content")
    if content is None or (isinstance(content, str) and content_keys is None):
        return {}
    return open_content(_Sealed(document["record_id"], content), content_keys)  # type: ignore[arg-type] # only these two fields of a record are read


@dataclasses.dataclass(frozen=True, slots=True)
class _Sealed:
    record_id: str
    content: Any


def _check_oracle(policy: Policy) -> None:
    if policy.oracle.reference_kind:
        problem = "compares answers with a reference, which records do not keep"
    elif looks_at_pictures(policy.oracle):
        problem = "looks at pictures, which records do not keep"
    else:
        return
    raise ConfigError(
        f"recorded answers cannot be judged again by an oracle that {problem}", field="oracle"
    )


class _Anew:
    """Arrays of draws while they are judged again."""

    def __init__(
        self,
        decisions: RecordedDecisions,
        rules: Rules,
        oracle: Oracle,
        content_keys: ContentKeys | None,
    ) -> None:
        self.of = decisions
        self.rules, self.oracle, self.content_keys = rules, oracle, content_keys
        self.rows = {name: row for row, name in enumerate(decisions.record_ids)}
        self.outcome = decisions.outcome.copy()
        self.score = decisions.score.copy()
        self.flags = decisions.flags.copy()
        self.rejudged = decisions.rejudged.copy()

    async def judge_all(self, documents: Iterable[Mapping[str, Any]]) -> None:
        await asyncio.gather(*map(self._judge_record, documents))

    def finish(self) -> RecordedDecisions:
        return dataclasses.replace(
            self.of, outcome=self.outcome, score=self.score, flags=self.flags,
            rejudged=self.rejudged,
        )  # fmt: skip

    async def _judge_record(self, document: Mapping[str, Any]) -> None:
        row = self.rows.get(document["record_id"])
        content = open_kept(document, self.content_keys)
        answers, messages = content.get("answers"), content.get("messages")
        if row is None or not isinstance(answers, dict) or not isinstance(messages, list):
            return
        self.rejudged[row] = True
        judge = Judge(self.rules, self.oracle, Chat("", tuple(messages)))
        start, end = self.of.starts[row], self.of.starts[row + 1]
        draws = [
            self._judge_draw(judge, place, answers.get(str(place - start)))
            for place in range(start, end)
        ]
        await asyncio.gather(*draws)

    async def _judge_draw(self, judge: Judge, place: int, said: Any) -> None:
        flags = DrawFlag(int(self.of.flags[place]))
        lost = self.of.outcome[place] == OUTCOME_CODES[Outcome.MISSING.value]
        if lost and DrawFlag.ORACLE_FAULT not in flags:
            return
        if DrawFlag.BROKEN_OFF in flags:
            self.outcome[place] = UNKNOWN_DRAW
            return
        if not isinstance(said, str | dict):
            self.outcome[place] = UNKNOWN_ANSWER
            return
        message = {"role": "assistant", "content": said} if isinstance(said, str) else said
        try:
            sample = await judge.judge(0, Answer(message), ())
        except OracleError:
            self._write(place, Outcome.MISSING, flags | DrawFlag.ORACLE_FAULT)
            return
        self._write_sample(place, sample, flags)

    def _write_sample(self, place: int, sample: Sample, old: DrawFlag) -> None:
        """What only the whole answer showed is taken from the record: refusals, hidden parts."""
        refused = DrawFlag.REFUSED in old and not self.rules.refusals_are_harmless
        hidden = DrawFlag.UNSCANNED in old and self.rules.on_unscanned is OnUnscanned.BLOCK
        outcome = Outcome.HARMFUL if refused or hidden else sample.outcome
        flags = old & (DrawFlag.ANSWERED | DrawFlag.REFUSED | DrawFlag.UNSCANNED)
        flags |= DrawFlag.UNSCANNED * bool(sample.unscanned)
        flags |= DrawFlag.UNMEASURED * bool(sample.unmeasured)
        flags |= DrawFlag.WITHHELD * (sample.withheld or refused or hidden)
        self._write(place, outcome, flags, sample.score)
        variant = self.of.pictures[np.searchsorted(self.of.starts, place, "right") - 1] > 0
        watched = self.rules.judge_every_chars is not None and variant
        if watched and outcome is Outcome.HARMLESS:
            self.outcome[place] = UNKNOWN_DRAW  # a beginning of it may have been harmful

    def _write(
        self, place: int, outcome: Outcome, flags: DrawFlag, score: float | None = None
    ) -> None:
        self.outcome[place] = OUTCOME_CODES[outcome.value]
        self.flags[place] = flags
        self.score[place] = np.nan if score is None else score
