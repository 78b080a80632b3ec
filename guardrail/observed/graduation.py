"""Whether a policy that was observed may be enforced: what it would stop, against a limit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from guardrail.errors import CertificationError
from guardrail.stats import (
    ObservedCounts,
    RateInterval,
    fewest_observed,
    list_interval,
    rate_interval,
)
from guardrail.tuning.percent import percent_down, percent_up

if TYPE_CHECKING:
    from guardrail.observed.tally import Group, PolicyTally
    from guardrail.types import Json

__all__ = ["Advice", "GroupRate", "PolicyReport", "report_policy"]


class Advice(StrEnum):
    """What the interval says about enforcing; a closed list."""

    READY = "ready"
    TOO_NOISY = "too noisy"
    TOO_LITTLE_DATA = "too little data"


@dataclass(frozen=True, slots=True)
class GroupRate:
    """A group's counts, and what they say about how many requests would be stopped.

    Attributes:
        name: of the group, such as a day.
        group: plain counts of requests.
        seen: of distinct requests that were chosen.
        rate: of requests like these.
        of_all: of the total, the share of all distinct requests that were answered, where only
            some of them were chosen; else None.
    """

    name: str
    group: Group
    seen: ObservedCounts
    rate: RateInterval
    of_all: RateInterval | None = None

    def facts(self) -> dict[str, Json]:
        """For JSON."""
        group, seen, of_all = self.group, self.seen, self.of_all
        return {
            "name": self.name,
            "requests": group.requests,
            "chosen": group.chosen,
            "skipped": group.skipped,
            "decided": group.decided,
            "undecided": group.undecided,
            "stopped": group.stopped,
            "let_through": group.decided - group.stopped,
            "distinct": {
                "requests": group.distinct,
                "chosen": seen.drawn,
                "stopped": seen.occurred,
                "undecided": seen.unknown,
            },
            "stopped_rate": {"lower": self.rate.lower, "upper": self.rate.upper},
            "stopped_share_of_all": None
            if of_all is None
            else {"lower": of_all.lower, "upper": of_all.upper},
        }


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What is said of one policy.

    Attributes:
        tally: what was counted.
        limit: largest rate of stops at which it may be enforced.
        delta: failure probability of each interval.
        total, days, keys: with their intervals; days in order, keys by the number of their stops.
    """

    tally: PolicyTally
    limit: float
    delta: float
    total: GroupRate
    days: tuple[GroupRate, ...]
    keys: tuple[GroupRate, ...]

    @property
    def advice(self) -> Advice:
        if self.total.rate.upper <= self.limit:
            return Advice.READY
        return Advice.TOO_NOISY if self.total.rate.lower > self.limit else Advice.TOO_LITTLE_DATA

    @property
    def advice_in_words(self) -> str:
        """The advice with the interval that says so, and what to do."""
        rate, limit = self.total.rate, f"the limit of {percent_up(self.limit)}"
        between = f"{percent_down(rate.lower)} to {percent_up(rate.upper)} of requests"
        match self.advice:
            case Advice.READY:
                return (
                    f"Ready: {between} would be stopped, which is within {limit}. Were every stop "
                    "a false alarm, there would be no more false alarms than that. Look at the "
                    "stops, then set mode: enforce."
                )
            case Advice.TOO_NOISY:
                return (
                    f"Too noisy: {between} would be stopped, which is above {limit}. Look at the "
                    "stops: where they are false alarms, choose another threshold or oracle; where "
                    "they are right, this traffic is worse than the limit allows for."
                )
            case Advice.TOO_LITTLE_DATA:
                return (
                    f"Too little data: {between} would be stopped, and {limit} lies between. "
                    f"{self._need}"
                )
            case _:
                assert_never(self.advice)

    @property
    def _need(self) -> str:
        """What would decide it."""
        seen = self.total.seen
        known = seen.drawn - seen.unknown
        if seen.unknown and self._is_ready_without_unknown:
            return (
                f"{seen.unknown:,} of {seen.drawn:,} chosen requests were not decided and count as "
                "stopped: raise observe.max_running or observe.max_waiting, and see the log."
            )
        if known == 0:
            return "No request was decided."
        try:
            needed = fewest_observed(seen.occurred / known, self.limit, self.delta)
        except CertificationError:
            return "What was seen is at or above the limit; more days will say whether it stays so."
        if needed <= seen.drawn:  # a rounding, or the unknown ones
            return "A few more requests will say."
        return (
            f"At this rate about {needed:,} distinct decided requests are enough; there are "
            f"{known:,}."
        )

    @property
    def _is_ready_without_unknown(self) -> bool:
        seen = self.total.seen
        known = ObservedCounts(seen.drawn - seen.unknown, seen.occurred)
        return rate_interval(known, self.delta).upper <= self.limit

    def facts(self) -> dict[str, Json]:
        """For JSON."""
        tally = self.tally
        return {
            "policy": tally.name,
            "policy_digests": dict(tally.digests),
            "since": None if tally.since is None else tally.since.isoformat(),
            "until": None if tally.until is None else tally.until.isoformat(),
            "limit": self.limit,
            "delta": self.delta,
            "advice": self.advice.value,
            "advice_in_words": self.advice_in_words,
            "faults": tally.faults,
            "total": self.total.facts(),
            "days": [one.facts() for one in self.days],
            "keys": [one.facts() for one in self.keys],
            "categories": dict(tally.categories.most_common()),
            "newest_stops": [stop.record_id for stop in reversed(tally.stops)],
        }


def report_policy(tally: PolicyTally, *, limit: float, delta: float) -> PolicyReport:
    """What is said of a policy. Raises CertificationError where limit or delta is out of range."""
    days = tuple(_bound(day, tally.days[day], delta) for day in sorted(tally.days))
    keys = tuple(
        _bound(key, group, delta)
        for key, group in sorted(tally.keys.items(), key=lambda one: (-one[1].stopped, one[0]))
    )
    total = _bound("all", tally.total, delta)
    if 0 < total.seen.drawn < tally.total.distinct:
        of_all = list_interval(tally.total.distinct, total.seen, delta)
        total = dataclasses.replace(total, of_all=of_all)
    return PolicyReport(tally, limit, delta, total, days, keys)


def _bound(name: str, group: Group, delta: float) -> GroupRate:
    """A group with its interval, which holds by itself."""
    seen = group.count_distinct()
    return GroupRate(name, group, seen, rate_interval(seen, delta))
