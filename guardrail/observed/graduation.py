"""Whether a policy that was observed may be enforced: what it would stop, against a limit.

The advice rests on bounds that may be looked at every day (a confidence sequence): whoever looks
again and again, and enforces on the first day on which a bound of one look allows it, is wrong far
more often than that bound says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from guardrail.errors import CertificationError
from guardrail.stats import (
    ObservedCounts,
    RateInterval,
    anytime_rate_interval,
    fewest_observed,
    mixture_interval,
    rate_interval,
    stratified_list_interval,
)
from guardrail.tuning.percent import percent_down, percent_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.observed.tally import Group, PolicyTally, Segment
    from guardrail.types import Json

__all__ = ["Advice", "GroupRate", "PolicyReport", "report_policy"]

_UNKNOWN_RATE = RateInterval(0.0, 1.0)


class Advice(StrEnum):
    """What the bounds say about enforcing; a closed list."""

    READY = "ready"
    TOO_NOISY = "too noisy"
    TOO_LITTLE_DATA = "too little data"
    NO_ADVICE = "no advice"


@dataclass(frozen=True, slots=True)
class GroupRate:
    """A group's counts, and what they say about how many requests would be stopped.

    Attributes:
        name: of the group, such as a day.
        group: plain counts of requests.
        seen: of distinct requests that were chosen.
        rate: of distinct requests like these; 0 to 1 where the policy or the noise key changed.
        of_all: of the total, the share of all distinct requests that were answered, where only
            some of them were chosen; else None.
    """

    name: str
    group: Group
    seen: ObservedCounts
    rate: RateInterval
    of_all: RateInterval | None = None

    @property
    def is_split(self) -> bool:
        """Whether some routes decided every request, and others a share of them."""
        always, sampled = self.group.split_distinct()
        return always.size > 0 and sampled.seen.drawn < sampled.size

    def facts(self) -> dict[str, Json]:
        """For JSON."""
        counts, seen, plain = self.group.counts, self.seen, self.group.stopped_share()
        return {
            "name": self.name,
            "requests": counts.requests,
            "always_decided": self.group.always.requests,
            "chosen": counts.chosen,
            "skipped": counts.skipped,
            "decided": counts.decided,
            "undecided": counts.undecided,
            "stopped": counts.stopped,
            "let_through": counts.decided - counts.stopped,
            "stopped_share": {"known": plain.lower, "with_undecided": plain.upper},
            "distinct": {
                "requests": self.group.distinct,
                "chosen": seen.drawn,
                "stopped": seen.occurred,
                "undecided": seen.unknown,
                "stopped_rate": _bounds(self.rate),
                "stopped_share_of_all": None if self.of_all is None else _bounds(self.of_all),
            },
        }


def _bounds(one: RateInterval) -> dict[str, Json]:
    return {"lower": one.lower, "upper": one.upper}


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What is said of one policy.

    Attributes:
        tally: what was counted.
        limit: largest share of requests that enforcing may stop.
        delta: failure probability of each interval, and of all looks at the total's together.
        total: with an interval that holds at all looks at once.
        days, keys: with intervals that hold for one look each; days in order, keys by the number
            of their stops.
    """

    tally: PolicyTally
    limit: float
    delta: float
    total: GroupRate
    days: tuple[GroupRate, ...]
    keys: tuple[GroupRate, ...]

    @property
    def advice(self) -> Advice:
        """What to do. Ready takes the bound of distinct requests and the plain share of all."""
        rate, plain = self.total.rate, self.total.group.stopped_share()
        if len(self.tally.segments) > 1:
            return Advice.NO_ADVICE
        if rate.lower > self.limit:
            return Advice.TOO_NOISY
        if rate.upper > self.limit:
            return Advice.TOO_LITTLE_DATA
        if plain.lower > self.limit:
            return Advice.TOO_NOISY
        return Advice.READY if plain.upper <= self.limit else Advice.TOO_LITTLE_DATA

    @property
    def advice_in_words(self) -> str:
        """The advice with the numbers that say so, and what to do."""
        rate, limit = self.total.rate, f"the limit of {percent_up(self.limit)}"
        between = f"{percent_down(rate.lower)} to {percent_up(rate.upper)} of distinct requests"
        match self.advice:
            case Advice.READY:
                return (
                    f"Ready: {between} like these would be stopped, and {self.plain_share}; both "
                    f"are within {limit}. Were every stop a false alarm, there would be no more "
                    "false alarms than that. Look at the stops, then set mode: enforce."
                )
            case Advice.TOO_NOISY:
                return (
                    f"Too noisy: {between} like these would be stopped, and {self.plain_share}. "
                    f"{self._what_is_above} {limit}. Look at the stops: where they are false "
                    "alarms, choose another threshold or oracle; where they are right, this "
                    "traffic is worse than the limit allows for."
                )
            case Advice.TOO_LITTLE_DATA:
                return (
                    f"Too little data: {between} like these would be stopped, and "
                    f"{self.plain_share}; nothing shows yet on which side of {limit} this is. "
                    f"{self._need}"
                )
            case Advice.NO_ADVICE:
                return f"No advice: {self._changes}"
            case _:
                assert_never(self.advice)

    @property
    def plain_share(self) -> str:
        """The share of requests in words, repeats counted: what was seen, and no bound."""
        plain = self.total.group.stopped_share()
        known = f"{percent_down(plain.lower)} of the requests seen, repeats counted"
        if plain.upper == plain.lower:
            return known
        return f"{known} ({percent_up(plain.upper)} if the undecided ones are)"

    @property
    def _what_is_above(self) -> str:
        if self.total.rate.lower > self.limit:
            return "The first is above"
        return "Some that are stopped are repeated often, so that the second is above"

    @property
    def _changes(self) -> str:
        """What changed, and from when on it did not."""
        segments = list(self.tally.segments.values())
        versions = len({one.policy_digest for one in segments})
        keys = len({one.key_id for one in segments})
        what = " and ".join(
            words
            for words, count in (
                (f"the policy changed ({versions:,} versions)", versions),
                (f"the noise key changed ({keys:,} keys)", keys),
            )
            if count > 1
        )
        return (
            f"among these records {what}. Which requests are decided, and how, goes by both, so "
            f"that the counts do not belong together. {_advise_window(segments)}"
        )

    @property
    def _need(self) -> str:
        """What would decide it."""
        seen = self.total.seen
        known = seen.drawn - seen.unknown
        counts = self.total.group.counts
        if counts.undecided and self._is_ready_without_unknown:
            return (
                f"{counts.undecided:,} of {counts.chosen:,} chosen requests were not decided and "
                "count as stopped: raise observe.max_running or observe.max_waiting, and see the "
                "log."
            )
        if known == 0:
            return "No request was decided."
        if self.total.is_split:
            return "More requests will say."
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
        return anytime_rate_interval(known, self.delta).upper <= self.limit

    def facts(self) -> dict[str, Json]:
        """For JSON."""
        tally = self.tally
        return {
            "policy": tally.name,
            "segments": [
                {
                    "policy_digest": one.policy_digest,
                    "key_id": one.key_id,
                    "records": one.records,
                    "since": one.since.isoformat(),
                    "until": one.until.isoformat(),
                }
                for one in tally.segments.values()
            ],
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


def _advise_window(segments: list[Segment]) -> str:
    """From when on all records are of the newest segment."""
    newest = max(segments, key=lambda one: one.until)
    others = max(one.until for one in segments if one is not newest)
    after = (others + timedelta(microseconds=1)).isoformat()
    return (
        f"Give --since {after} for the newest ones alone; where processes disagree at one time, "
        "give all of them one policy and one key file."
    )


def report_policy(tally: PolicyTally, *, limit: float, delta: float) -> PolicyReport:
    """What is said of a policy. Raises CertificationError where limit or delta is out of range."""
    days = tuple(_bound(day, tally.days[day], delta) for day in sorted(tally.days))
    keys = tuple(
        _bound(key, group, delta)
        for key, group in sorted(
            tally.keys.items(), key=lambda one: (-one[1].counts.stopped, one[0])
        )
    )
    total = _bound("all", tally.total, delta, anytime_rate_interval, bounds_list=True)
    return PolicyReport(tally, limit, delta, total, days, keys)


def _bound(
    name: str,
    group: Group,
    delta: float,
    interval: Callable[[ObservedCounts, float], RateInterval] = rate_interval,
    *,
    bounds_list: bool = False,
) -> GroupRate:
    """A group with its interval, which holds by itself."""
    seen, strata = group.count_distinct(), group.split_distinct()
    rate = mixture_interval(strata, delta, interval)
    if len(group.segments) > 1:
        return GroupRate(name, group, seen, _UNKNOWN_RATE)
    if not bounds_list or not 0 < seen.drawn < group.distinct:
        return GroupRate(name, group, seen, rate)
    return GroupRate(name, group, seen, rate, stratified_list_interval(strata, delta))
