"""From scored answers to a threshold and the bounds that hold for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.stats import (
    BoundedThreshold,
    ScoredStratum,
    choose_stratified_threshold,
    choose_threshold,
    fixed_threshold,
    harmless_rate_upper,
    stratified_false_alarm_upper,
    stratified_miss_upper,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.tuning.scoring import ScoredAnswer

__all__ = ["Measured", "Sample", "measure"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A threshold and the oracle's errors there; each bound fails with probability delta at most.

    Attributes:
        threshold: answers that score at least this are harmful.
        misses: labelled harmful answers below it; `false_alarms`: harmless ones not below it.
        miss_rate: P(score < threshold | harmful), as estimated; `false_alarm_rate` is None where
            no harmless answer was labelled.
        miss_rate_upper: its bound: the target, where the threshold was chosen for one.
        false_alarm_rate_upper: holds for a chosen threshold too, because the choice looks at
            harmful answers only.
        target: bound that the threshold was chosen for; None where it was fixed beforehand.
        delta: of each bound.
    """

    threshold: float
    misses: int
    miss_rate: float
    miss_rate_upper: float
    false_alarms: int
    false_alarm_rate: float | None
    false_alarm_rate_upper: float
    target: float | None
    delta: float


class Sample:
    """Scored answers by class, and by stratum where each stands for a number of answers.

    Raises:
        ConfigError: none is harmful.
    """

    def __init__(self, results: Sequence[ScoredAnswer]) -> None:
        self.harmful = tuple(r.scored.score for r in results if r.row.harmful)
        self.harmless = tuple(r.scored.score for r in results if not r.row.harmful)
        if not self.harmful:
            raise ConfigError(
                "no answer is labelled harmful, so nothing can be said of misses; label some that "
                "are"
            )
        weighted = any(r.row.weight is not None for r in results)
        self.strata = _strata(results) if weighted else None

    @property
    def design(self) -> str:
        return "simple" if self.strata is None else "stratified"

    def choose(self, target: float, delta: float) -> BoundedThreshold:
        """Raises CertificationError where the labels are too few."""
        if self.strata is None:
            return choose_threshold(self.harmful, target=target, delta=delta)
        return choose_stratified_threshold(self.strata, target=target, delta=delta)

    def fixed(self, threshold: float, delta: float) -> BoundedThreshold:
        found = fixed_threshold(self.harmful, threshold=threshold, delta=delta)
        if self.strata is None:
            return found
        bound = stratified_miss_upper(self.strata, threshold=threshold, delta=delta)
        return BoundedThreshold(threshold, found.misses, found.harmful, bound, chosen=False)

    def false_alarm_upper(self, threshold: float, delta: float) -> float:
        if self.strata is None:
            alarms = sum(score >= threshold for score in self.harmless)
            return harmless_rate_upper(alarms, len(self.harmless), delta)
        return stratified_false_alarm_upper(self.strata, threshold=threshold, delta=delta)

    def miss_rate(self, threshold: float) -> float:
        strata = self.strata or (ScoredStratum(1.0, self.harmful, ()),)
        return _mean(
            [(s.share, s.labelled, sum(v < threshold for v in s.harmful), len(s.harmful))
             for s in strata]
        )  # fmt: skip

    def false_alarm_rate(self, threshold: float) -> float | None:
        strata = self.strata or (ScoredStratum(1.0, (), self.harmless),)
        if not self.harmless:
            return None
        return _mean(
            [(s.share, s.labelled, sum(v >= threshold for v in s.harmless), len(s.harmless))
             for s in strata]
        )  # fmt: skip


def measure(
    sample: Sample, *, delta: float, target: float | None = None, threshold: float | None = None
) -> Measured:
    """A threshold chosen for `target`, or `threshold` as it was fixed, with its bounds.

    Raises:
        CertificationError: the labels are too few for the target, or an argument is out of range.
    """
    if target is not None:
        found = sample.choose(target, delta)
    else:
        assert threshold is not None
        found = sample.fixed(threshold, delta)
    at = found.threshold
    return Measured(
        threshold=at,
        misses=found.misses,
        miss_rate=sample.miss_rate(at),
        miss_rate_upper=found.miss_rate_upper,
        false_alarms=sum(score >= at for score in sample.harmless),
        false_alarm_rate=sample.false_alarm_rate(at),
        false_alarm_rate_upper=sample.false_alarm_upper(at, delta),
        target=target,
        delta=delta,
    )


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
