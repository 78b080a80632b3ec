"""From scored answers to a threshold and the bounds that hold for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.stats import (
    ScoredStratum,
    choose_stratified_threshold,
    choose_threshold,
    false_alarm_upper_at_any_threshold,
    fixed_threshold,
    harmless_rate_upper,
    stratified_false_alarm_upper,
    stratified_miss_upper,
)
from guardrail.tuning.requests import Requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.tuning.scoring import ScoredAnswer

__all__ = ["LabelledSample", "Measured", "measure"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A threshold and the oracle's errors there; each bound fails with probability delta at most.

    Counts and rates are of one answer of every request.

    Attributes:
        threshold: answers that score at least this are harmful.
        misses: harmful answers below it; `harmful`: of how many.
        false_alarms: harmless ones not below it; `harmless`: of how many.
        miss_rate: P(score < threshold | harmful), as estimated; `false_alarm_rate` is None where
            no harmless answer was labelled.
        miss_rate_upper: its bound: the target, where the threshold was chosen for one.
        false_alarm_rate_upper: holds for a chosen threshold too.
        target: bound that the threshold was chosen for; None where it was fixed beforehand.
        delta: of each bound.
    """

    threshold: float
    misses: int
    harmful: int
    miss_rate: float
    miss_rate_upper: float
    false_alarms: int
    harmless: int
    false_alarm_rate: float | None
    false_alarm_rate_upper: float
    target: float | None
    delta: float


@dataclass(frozen=True, slots=True)
class _Scores:
    """Scores that a bound may take as drawn one by one."""

    harmful: tuple[float, ...]
    harmless: tuple[float, ...]


class LabelledSample:
    """What bounds may count of scored answers: one answer of every request.

    Where representatives of different requests are near-copies, it cannot be told whether the
    requests or the families of near-copies were drawn one by one. The larger bound of the two
    holds in either case: with copies counted once alone, an answer that many requests get would
    weigh too little.

    Answers that stand for a number of others (`weight`) are draws from a list, stratum by stratum;
    their bounds are about that list.

    Attributes:
        representatives: one harmful and one harmless answer of every request that has one.
        harmful_requests: requests with a harmful answer; `harmless_requests` alike.
        near_copies: harmful representatives that are near-copies of another one.
        unnamed: answers with neither a group nor a prompt.
        strata: None unless answers have weights.

    Raises:
        ConfigError: none is harmful.
    """

    def __init__(self, results: Sequence[ScoredAnswer]) -> None:
        if not any(r.row.harmful for r in results):
            raise ConfigError(
                "no answer is labelled harmful, so nothing can be said of misses; label some that "
                "are"
            )
        requests = Requests([r.row for r in results])
        harmful, harmless = (requests.representatives(harmful=label) for label in (True, False))
        self.harmful_requests, self.harmless_requests = harmful.requests, harmless.requests
        self.near_copies = len(harmful.named) - len(harmful.distinct)
        self.unnamed = requests.unnamed
        self._both_labels = requests.have_both_labels
        self.strata = None
        self.representatives = tuple(results[i] for i in sorted(harmful.named + harmless.named))
        if any(r.row.weight is not None for r in results):
            self.strata, self.representatives = _strata(results), tuple(results)
        named = _scores(self.representatives)
        distinct = _scores([results[i] for i in harmful.distinct + harmless.distinct])
        self._ways = (named,) if named == distinct or self.strata is not None else (named, distinct)

    @property
    def design(self) -> str:
        return "simple" if self.strata is None else "stratified"

    def choose(self, target: float, delta: float) -> float:
        """The largest threshold that is shown to miss at most `target`.

        Raises:
            CertificationError: the labels are too few.
        """
        if self.strata is not None:
            return choose_stratified_threshold(self.strata, target=target, delta=delta).threshold
        return min(
            choose_threshold(way.harmful, target=target, delta=delta).threshold
            for way in self._ways
        )

    def miss_upper(self, threshold: float, delta: float) -> float:
        """For a threshold that was fixed beforehand."""
        if self.strata is not None:
            return stratified_miss_upper(self.strata, threshold=threshold, delta=delta)
        return max(
            fixed_threshold(way.harmful, threshold=threshold, delta=delta).miss_rate_upper
            for way in self._ways
        )

    def false_alarm_upper(self, threshold: float, delta: float, *, chosen: bool) -> float:
        """For a threshold fixed beforehand, or `chosen` on the scores of harmful answers.

        These are independent of the scores of harmless ones unless a request has both.
        """
        if self.strata is not None:
            return stratified_false_alarm_upper(self.strata, threshold=threshold, delta=delta)
        if chosen and self._both_labels:
            return max(
                false_alarm_upper_at_any_threshold(way.harmless, threshold=threshold, delta=delta)
                for way in self._ways
            )
        return max(
            harmless_rate_upper(_alarms(way.harmless, threshold), len(way.harmless), delta)
            for way in self._ways
        )

    def errors(self, threshold: float) -> tuple[int, int, int, int]:
        """(misses, harmful, false alarms, harmless), of one answer a request."""
        named = self._ways[0]
        return (
            _misses(named.harmful, threshold),
            len(named.harmful),
            _alarms(named.harmless, threshold),
            len(named.harmless),
        )

    def miss_rate(self, threshold: float) -> float:
        strata = self.strata or (ScoredStratum(1.0, self._ways[0].harmful, ()),)
        return _mean(
            [(s.share, s.labelled, _misses(s.harmful, threshold), len(s.harmful)) for s in strata]
        )

    def false_alarm_rate(self, threshold: float) -> float | None:
        harmless = self._ways[0].harmless
        strata = self.strata or (ScoredStratum(1.0, (), harmless),)
        if not harmless:
            return None
        return _mean(
            [(s.share, s.labelled, _alarms(s.harmless, threshold), len(s.harmless)) for s in strata]
        )


def measure(
    sample: LabelledSample,
    *,
    delta: float,
    target: float | None = None,
    threshold: float | None = None,
) -> Measured:
    """A threshold chosen for `target`, or `threshold` as it was fixed, with its bounds.

    Raises:
        CertificationError: the labels are too few for the target, or an argument is out of range.
    """
    if target is not None:
        at, bound = sample.choose(target, delta), target
    else:
        assert threshold is not None
        at, bound = threshold, sample.miss_upper(threshold, delta)
    misses, harmful, alarms, harmless = sample.errors(at)
    return Measured(
        threshold=at,
        misses=misses,
        harmful=harmful,
        miss_rate=sample.miss_rate(at),
        miss_rate_upper=bound,
        false_alarms=alarms,
        harmless=harmless,
        false_alarm_rate=sample.false_alarm_rate(at),
        false_alarm_rate_upper=sample.false_alarm_upper(at, delta, chosen=target is not None),
        target=target,
        delta=delta,
    )


def _scores(results: Sequence[ScoredAnswer]) -> _Scores:
    return _Scores(
        tuple(r.scored.score for r in results if r.row.harmful),
        tuple(r.scored.score for r in results if not r.row.harmful),
    )


def _misses(harmful: Sequence[float], threshold: float) -> int:
    return sum(score < threshold for score in harmful)


def _alarms(harmless: Sequence[float], threshold: float) -> int:
    return sum(score >= threshold for score in harmless)


def _strata(results: Sequence[ScoredAnswer]) -> tuple[ScoredStratum, ...]:
    """By name, or where there are none by weight; a stratum's share is its rows' total weight."""
    parts: dict[tuple[str, float], list[ScoredAnswer]] = {}
    for result in results:
        assert result.row.weight is not None
        parts.setdefault((result.row.stratum, result.row.weight), []).append(result)
    total = math.fsum(weight * len(part) for (_, weight), part in parts.items())
    return tuple(
        ScoredStratum(
            weight * len(part) / total,
            tuple(r.scored.score for r in part if r.row.harmful),
            tuple(r.scored.score for r in part if not r.row.harmful),
        )
        for (_, weight), part in sorted(parts.items())
    )


def _mean(rows: list[tuple[float, int, int, int]]) -> float:
    """The share of events among cases, from (share, labelled, events, cases) of each stratum."""
    per_row = [(share / n, events, cases) for share, n, events, cases in rows if n]
    return math.fsum(w * e for w, e, _ in per_row) / math.fsum(w * c for w, _, c in per_row)
