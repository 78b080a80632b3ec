"""Counts what records of observe mode say, by policy, day, key and category.

Bounds count each distinct request once. Equal requests are chosen together, as the choice is a
keyed function of the request, and a thousand copies of one request tell no more of the others than
one. Which of them are chosen depends on the route: some routes decide every request, others a
share, so that the two are counted apart. And it depends on the noise key and on the policy, so that
records of another key or version are marked.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

from guardrail.engine.verdict import Action, Observation, Reason
from guardrail.stats import ObservedCounts, ObservedStratum, RateInterval

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

    from guardrail.records.observed_rows import ObservedRow

__all__ = ["Group", "PolicyTally", "RequestCounts", "Segment", "Stop", "tally_rows"]

_MOST_STOPS = 50
_DIGEST_CHARS = 32  # 128 bits of a digest tell requests apart


@dataclass(slots=True)
class _Distinct:
    """One distinct request.

    Attributes:
        chosen, decided: how often it was.
        is_stopped: whether the first of its decisions would have stopped it. Any of them would
            make the outcome depend on how often a request is repeated.
        is_always_decided: whether it came by a route that decides every request.
    """

    chosen: int = 0
    decided: int = 0
    is_stopped: bool = False
    is_always_decided: bool = False


@dataclass(slots=True)
class RequestCounts:
    """Plain counts of requests, repeats counted.

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

    @property
    def undecided(self) -> int:
        """Chosen requests of which it is not known what enforcing would have done."""
        return max(0, self.chosen - self.decided)

    def __add__(self, other: RequestCounts) -> RequestCounts:
        return RequestCounts(
            self.requests + other.requests,
            self.chosen + other.chosen,
            self.skipped + other.skipped,
            self.decided + other.decided,
            self.stopped + other.stopped,
        )

    def stopped_share(self) -> RateInterval:
        """The share that was stopped of the chosen ones: known ones, and with the undecided."""
        chosen = max(self.chosen, self.decided)
        if chosen == 0:
            return RateInterval(0.0, 1.0)
        return RateInterval(self.stopped / chosen, (self.stopped + self.undecided) / chosen)


@dataclass(slots=True)
class Group:
    """Requests of one policy, day or key.

    Attributes:
        always: requests by routes that decide every request before it is answered.
        sampled: those whose decision follows their answer, where they are chosen.
        segments: versions of the policy and noise keys, by digest and id.
    """

    always: RequestCounts = field(default_factory=RequestCounts)
    sampled: RequestCounts = field(default_factory=RequestCounts)
    segments: set[tuple[str, str]] = field(default_factory=set)
    _distinct: dict[str, _Distinct] = field(default_factory=dict, repr=False)

    @property
    def counts(self) -> RequestCounts:
        """Of both kinds of routes."""
        return self.always + self.sampled

    @property
    def distinct(self) -> int:
        """Distinct requests that were answered."""
        return len(self._distinct)

    def stopped_share(self) -> RateInterval:
        """The plain share of all requests, repeats counted, that was stopped: no bound.

        Each kind of route has the weight of its requests; the upper end counts the undecided ones.
        """
        parts = [
            (max(one.requests, one.decided), one.stopped_share())
            for one in (self.always, self.sampled)
            if one.requests or one.decided
        ]
        if len(parts) == 1:
            return parts[0][1]
        total = sum(weight for weight, _ in parts)
        if total == 0:
            return RateInterval(0.0, 1.0)
        lower = sum(weight * share.lower for weight, share in parts) / total
        return RateInterval(lower, sum(weight * share.upper for weight, share in parts) / total)

    def count_distinct(self) -> ObservedCounts:
        """Of the distinct requests that were chosen: all, the stopped, and the unknown ones."""
        return _count(self._distinct.values()).seen

    def split_distinct(self) -> tuple[ObservedStratum, ObservedStratum]:
        """The distinct requests that came by a route that decides every one, and the others.

        Whether a request belongs to the first does not depend on the noise key, so that of the
        second each set of the same size is equally likely to be chosen.
        """
        of = self._distinct.values()
        return (
            _count([one for one in of if one.is_always_decided]),
            _count([one for one in of if not one.is_always_decided]),
        )

    def add_request(self, digest: str, *, is_chosen: bool, is_skipped: bool) -> None:
        """Counts a request whose decision follows its answer, if it is chosen."""
        self.sampled.requests += 1
        self.sampled.chosen += is_chosen
        self.sampled.skipped += is_skipped
        self._find(digest).chosen += is_chosen

    def add_decided_request(self, digest: str) -> None:
        """Counts a request by a route that decides every one; its decision is added by itself."""
        self.always.requests += 1
        self.always.chosen += 1
        found = self._find(digest)
        found.chosen += 1
        found.is_always_decided = True

    def add_decision(self, digest: str, *, is_stopped: bool, follows: bool) -> None:
        """Counts what enforcing would have done to a request."""
        counts = self.sampled if follows else self.always
        counts.decided += 1
        counts.stopped += is_stopped
        found = self._find(digest)
        if found.decided == 0:
            found.is_stopped = is_stopped
        found.decided += 1

    def _find(self, digest: str) -> _Distinct:
        found = self._distinct.get(digest)
        if found is None:
            found = self._distinct[digest] = _Distinct()
        return found


def _count(of: Collection[_Distinct]) -> ObservedStratum:
    chosen = [one for one in of if one.chosen or one.decided]
    stopped = sum(one.is_stopped for one in chosen)
    unknown = sum(not one.is_stopped and one.decided < one.chosen for one in chosen)
    return ObservedStratum(len(of), ObservedCounts(len(chosen), stopped, unknown))


@dataclass(slots=True)
class Segment:
    """Records of one version of the policy under one noise key.

    Attributes:
        policy_digest, key_id: of the version and of the key.
        records: how many there are.
        since, until: when the first and the last one was made.
    """

    policy_digest: str
    key_id: str
    since: datetime
    until: datetime
    records: int = 0


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
        segments: its versions and noise keys, by digest and id; what holds of one does not hold
            of another.
        total: all requests.
        days: by the day (UTC) of the request.
        keys: by the id of the API key; empty where none was used.
        categories: of the stops, by the worst answer's category, else the reason.
        faults: requests without an answer, and so without a place in a rate.
        stops: the newest ones.
        since, until: when the first and the last record was made.
    """

    name: str
    segments: dict[tuple[str, str], Segment] = field(default_factory=dict)
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
        self.since, self.until = self.since or row.created, row.created
        if row.action is Action.FAULT and row.observation is not Observation.DECISION:
            self.faults += 1
            return
        segment = self._find_segment(row)
        # Without a digest nothing says what it is equal to.
        digest = row.request_digest[:_DIGEST_CHARS] or f"record {row.record_id}"
        here = (row.created.astimezone(UTC).date().isoformat(), row.api_key_id)
        if row.observation is Observation.DECISION:
            # It belongs to where its request was counted, also past midnight.
            self._decide(row, digest, self._asked.get(digest, here), segment)
            return
        if row.observation is Observation.NONE:
            for group in self._groups(here, segment):
                group.add_decided_request(digest)
            self._decide(row, digest, here, segment)
            return
        is_chosen = row.observation is not Observation.LEFT_OUT
        is_skipped = row.observation is Observation.SKIPPED
        for group in self._groups(here, segment):
            group.add_request(digest, is_chosen=is_chosen, is_skipped=is_skipped)
        if row.observation is Observation.FOLLOWED:
            self._asked[digest] = here

    def _decide(
        self, row: ObservedRow, digest: str, place: tuple[str, str], segment: tuple[str, str]
    ) -> None:
        if not row.reason.is_judgement:
            return
        follows = row.observation is Observation.DECISION
        for group in self._groups(place, segment):
            group.add_decision(digest, is_stopped=row.would_block, follows=follows)
        if row.would_block:
            category = row.category or row.reason.value
            self.categories[category] += 1
            self.stops.append(Stop(row.record_id, row.created, category, row.api_key_id))

    def _find_segment(self, row: ObservedRow) -> tuple[str, str]:
        name = row.policy_digest, row.key_id
        found = self.segments.get(name)
        if found is None:
            found = self.segments[name] = Segment(*name, since=row.created, until=row.created)
        found.until = row.created
        found.records += 1
        return name

    def _groups(self, place: tuple[str, str], segment: tuple[str, str]) -> Iterator[Group]:
        day, key = place
        for group in (
            self.total,
            self.days.setdefault(day, Group()),
            self.keys.setdefault(key, Group()),
        ):
            group.segments.add(segment)
            yield group


def tally_rows(rows: Iterable[ObservedRow]) -> list[PolicyTally]:
    """What the rows say of each policy, in the order in which the policies appear.

    What a person decided in the guard's place (`Reason.OVERRIDE`) says nothing of a policy.

    Memory grows with the number of distinct requests, by less than 1 kB each.
    """
    found: dict[str, PolicyTally] = {}
    for row in rows:
        if row.reason is Reason.OVERRIDE:
            continue
        tally = found.get(row.policy)
        if tally is None:
            tally = found[row.policy] = PolicyTally(row.policy)
        tally.add(row)
    return list(found.values())
