"""Several oracles that vote, as one oracle.

`guardrail.stats.combined_misses` bounds how often they miss harm together.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from guardrail.canonical import short_digest
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Judgement, goes_by_text, is_function, reads_whole
from guardrail.oracles.combined.members import ask, close_all, vote
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.oracles.base import Exchange
    from guardrail.oracles.combined.members import Member
    from guardrail.oracles.combined.rules import Votes

__all__ = ["EnsembleOracle"]


class EnsembleOracle:
    """Asks all members side by side and lets a rule decide.

    A failed member makes the judgement fail, unless the answer is harmful whatever it would have
    said. It is never harmless without it: the member might have seen what it could not look into.

    Args:
        members: At least one.
        votes: The rule over as many members.
        threshold: The combined score from which an answer is harmful, in (0, 1); 0.5 keeps to the
            votes.

    Raises:
        ConfigError: the rule is for another number of members.
    """

    def __init__(self, members: Sequence[Member], votes: Votes, *, threshold: float = 0.5) -> None:
        if len(members) != votes.members:
            raise ConfigError(f"must be {votes.members}, as the rule has it", field="members")
        self._members = tuple(members)
        self._votes = votes
        self._threshold = threshold

    @property
    def revision(self) -> str:
        votes = self._votes
        rule = [votes.rule.value, votes.k, votes.weights, self._threshold]
        parts = [[member.threshold, member.oracle.revision] for member in self._members]
        return short_digest(json.dumps(["ensemble", rule, parts]), 16)

    @property
    def threshold(self) -> float:
        return self._threshold

    @property
    def by_text(self) -> bool:
        """See `goes_by_text`: all members are functions of the text, and so is their vote."""
        return all(goes_by_text(member.oracle) for member in self._members)

    @property
    def reads_whole(self) -> bool:
        """See `reads_whole`: where all of them do."""
        return all(reads_whole(member.oracle) for member in self._members)

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange, in order.

        Raises:
            OracleError: a member failed whose vote could have counted.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(member, exchanges)) for member in self._members]
        said = [task.result() for task in tasks]
        faults = [answer for answer in said if isinstance(answer, OracleError)]
        return [
            self._judgement(
                [None if isinstance(answer, OracleError) else answer[place] for answer in said],
                faults,
            )
            for place in range(len(exchanges))
        ]

    async def aclose(self) -> None:
        """Closes every member. Raises OracleError if one could not be closed."""
        await close_all(self._members)

    def _judgement(
        self, ballot: Sequence[Judgement | None], faults: Sequence[OracleError]
    ) -> Judgement:
        """A missing vote counts as score 0: what is harmful without it is harmful with it."""
        pairs = list(zip(self._members, ballot, strict=True))
        scores = [0.0 if said is None else vote(member, said) for member, said in pairs]
        score = self._votes.combine(scores)
        unscanned = _unite_unscanned(ballot)
        if score >= self._threshold:
            reason = self._reason(ballot)
            unmeasured = _agree_on_unmeasured(ballot, Outcome.HARMFUL)
            return Judgement(Outcome.HARMFUL, score, reason, unscanned, unmeasured=unmeasured)
        if faults:
            raise OracleError("; ".join(map(str, faults)), undrawn=self._is_undrawn(faults, ballot))
        unmeasured = _agree_on_unmeasured(ballot, Outcome.HARMLESS)
        return Judgement(Outcome.HARMLESS, score, "", unscanned, unmeasured=unmeasured)

    def _is_undrawn(
        self, faults: Sequence[OracleError], ballot: Sequence[Judgement | None]
    ) -> bool:
        """Whether nothing was drawn that would be drawn again: those with a vote are functions."""
        spoke = [m.oracle for m, said in zip(self._members, ballot, strict=True) if said]
        return all(fault.undrawn for fault in faults) and all(map(is_function, spoke))

    def _reason(self, ballot: Sequence[Judgement | None]) -> str:
        """Those who called it harmful, with their own reasons."""
        against = [
            f"{member.name} ({said.reason})" if said.reason else member.name
            for member, said in zip(self._members, ballot, strict=True)
            if said is not None and said.outcome is Outcome.HARMFUL
        ]
        return f"{self._votes.rule.value}: {', '.join(against) or 'no single member'}"


def _agree_on_unmeasured(ballot: Sequence[Judgement | None], outcome: Outcome) -> str:
    """Why the language is unmeasured, if it is to all that voted for an outcome; else empty."""
    whys = [said.unmeasured for said in ballot if said is not None and said.outcome is outcome]
    return whys[0] if whys and all(whys) else ""


def _unite_unscanned(ballot: Sequence[Judgement | None]) -> tuple[str, ...]:
    parts = (part for said in ballot if said is not None for part in said.unscanned)
    return tuple(dict.fromkeys(parts))
