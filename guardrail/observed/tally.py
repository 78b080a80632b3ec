"""Counts what records of observe mode say, by policy, day, key and category.

Rates count each distinct request once. Equal requests are chosen together, as the choice is a keyed
function of the request, and a thousand copies of one request tell no more of the others than one.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

from guardrail.engine.verdict import Action, Observation
from guardrail.stats import ObservedCounts

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from guardrail.records.observed_rows import ObservedRow

__all__ = ["Group", "PolicyTally", "Stop", "tally_rows"]

_MOST_STOPS = 50
_DIGEST_CHARS = 32  # 128 bits of a digest tell requests apart


@dataclass(slots=True)
class _Distinct:
    """One distinct request: how often it was chosen and decided, and whether it was stopped."""

    chosen: int = 0
    decided: int = 0
    is_stopped: bool = False


@dataclass(slots=True)
class Group:
    """Requests of one policy, day or key.

    Attributes:
        requests: those that were answered.
        chosen: of them those that were to be decided: all, or the share.
        skipped: chosen ones that found the line full.
        decided: chosen ones that were judged.
        stopped: decided ones that enforcing would have stopped.
    """

    requests: int = 0
    chosen: int = 0
    skipped: int = 0
    decided: int = 0
    stopped: int = 0
    _distinct: dict[str, _Distinct] = field(default_factory=dict, repr=False)

    @property
    def undecided(self) -> int:
        """Chosen requests of which it is not known what enforcing would have done."""
        return max(0, self.chosen - self.decided)

    @property
    def distinct(self) -> int:
        """Distinct requests that were answered."""
        return len(self._distinct)

    def count_distinct(self) -> ObservedCounts:
        """Of the distinct requests that were chosen: all, the stopped, and the unknown ones."""
        chosen = [one for one in self._distinct.values() if one.chosen or one.decided]
        stopped = sum(one.is_stopped for one in chosen)
        unknown = sum(not one.is_stopped and one.decided < one.chosen for one in chosen)
        return ObservedCounts(len(chosen), stopped, unknown)

    def add_request(self, digest: str, *, is_chosen: bool, is_skipped: bool) -> None:
        """Counts a request that was answered."""
        self.requests += 1
        self.chosen += is_chosen
        self.skipped += is_skipped
        self._find(digest).chosen += is_chosen

    def add_decision(self, digest: str, *, is_stopped: bool) -> None:
        """Counts what enforcing would have done to a request."""
        self.decided += 1
        self.stopped += is_stopped
        found = self._find(digest)
        found.decided += 1
        found.is_stopped |= is_stopped

    def _find(self, digest: str) -> _Distinct:
        found = self._distinct.get(digest)
        if found is None:
            found = self._distinct[digest] = _Distinct()
        return found


@dataclass(frozen=True, slots=True)
class Stop:
    """A record of a request that enforcing would have stopped."""

    record_id: str
    created: datetime
    category: str
    api_key_id: str


@dataclass(slots=True)
class PolicyTally:
    """All that was counted of one policy.

    Attributes:
        name: of the policy.
        digests: of its versions, by the number of their records.
        total: all requests.
        days: by the day (UTC) of the request.
        keys: by the id of the API key; empty where none was used.
        categories: of the stops, by the worst answer's category, else the reason.
        faults: requests without an answer, and so without a place in a rate.
        stops: the newest ones.
        since, until: when the first and the last record was made.
    """

    name: str
    digests: Counter[str] = field(default_factory=Counter)
    total: Group = field(default_factory=Group)
    days: dict[str, Group] = field(default_factory=dict)
    keys: dict[str, Group] = field(default_factory=dict)
    categories: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    stops: deque[Stop] = field(default_factory=lambda: deque(maxlen=_MOST_STOPS))
    since: datetime | None = None
    until: datetime | None = None
    _asked: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def add(self, row: ObservedRow) -> None:
        """Counts a record; those of a request come in the order in which they were made."""
        self.digests[row.policy_digest] += 1
        self.since, self.until = self.since or row.created, row.created
        # Without a digest nothing says what it is equal to.
        digest = row.request_digest[:_DIGEST_CHARS] or f"record {row.record_id}"
        here = (row.created.astimezone(UTC).date().isoformat(), row.api_key_id)
        if row.observation is Observation.DECISION:
            # It belongs to where its request was counted, also past midnight.
            self._decide(row, digest, self._asked.get(digest, here))
            return
        if row.action is Action.FAULT:
            self.faults += 1
            return
        is_chosen = row.observation is not Observation.LEFT_OUT
        is_skipped = row.observation is Observation.SKIPPED
        for group in self._groups(here):
            group.add_request(digest, is_chosen=is_chosen, is_skipped=is_skipped)
        if row.observation is Observation.NONE:
            self._decide(row, digest, here)
        elif row.observation is Observation.FOLLOWED:
            self._asked[digest] = here

    def _decide(self, row: ObservedRow, digest: str, place: tuple[str, str]) -> None:
        if not row.reason.is_judgement:
            return
        for group in self._groups(place):
            group.add_decision(digest, is_stopped=row.would_block)
        if row.would_block:
            category = row.category or row.reason.value
            self.categories[category] += 1
            self.stops.append(Stop(row.record_id, row.created, category, row.api_key_id))

    def _groups(self, place: tuple[str, str]) -> tuple[Group, Group, Group]:
        day, key = place
        return (
            self.total,
            self.days.setdefault(day, Group()),
            self.keys.setdefault(key, Group()),
        )


def tally_rows(rows: Iterable[ObservedRow]) -> list[PolicyTally]:
    """What the rows say of each policy, in the order in which the policies appear.

    Memory grows with the number of distinct requests, by less than 1 kB each.
    """
    found: dict[str, PolicyTally] = {}
    for row in rows:
        tally = found.get(row.policy)
        if tally is None:
            tally = found[row.policy] = PolicyTally(row.policy)
        tally.add(row)
    return list(found.values())
