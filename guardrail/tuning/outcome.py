"""All that a calibration found, for the file, for `--json` and for the report."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guardrail.counted_noun import agree, count_of
from guardrail.errors import ConfigError
from guardrail.oracles.calibration import Calibration
from guardrail.stats import fewest_harmful, harmless_rate_upper
from guardrail.tuning.metrics import area, groups, recalls, reliability
from guardrail.tuning.percent import percent_up
from guardrail.tuning.thresholds import LabelledSample, measure
from guardrail.tuning.tradeoff import price, tradeoffs
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.policy.schema import Policy
    from guardrail.tuning.dataset import Dataset
    from guardrail.tuning.metrics import Area, Bin, Group, HarmRecall
    from guardrail.tuning.scoring import ScoredAnswer
    from guardrail.tuning.thresholds import Measured
    from guardrail.tuning.tradeoff import GuardPrice, TradeOff

__all__ = ["CalibrationOutcome", "ThresholdInUse", "calibration_of", "evaluate"]

_LONGEST_NAME = 200
_FEW_REQUESTS = 59
"""Fewer cannot show a miss rate of 5 %, none missed, even at delta 0.05."""


@dataclass(frozen=True, slots=True)
class ThresholdInUse:
    """The threshold by which the oracle judges today.

    Attributes:
        whose: the policy, or the oracle with its defaults, in words.
        threshold: the threshold.
        misses: harmful answers below it, one a request; `false_alarms`: harmless ones not below it.
    """

    whose: str
    threshold: float
    misses: int
    false_alarms: int


@dataclass(frozen=True, slots=True)
class CalibrationOutcome:
    """What labelled answers showed of an oracle; no text of any of them.

    Attributes:
        kind: of the oracle.
        design: `simple`, or `stratified` where answers stand for different numbers of answers.
        measured: the threshold and its bounds; `price`: what the guard must do with them.
        in_use: the threshold of today, where it is known.
        n_harmful: labelled harmful answers; `n_harmless` the others.
        n_harmful_requests: requests that they come from; `n_harmless_requests` alike. A bound
            counts these, and not the answers.
        n_near_copies: harmful answers, one a request, that are near-copies of another one.
        n_unnamed: answers of which the file names neither prompt nor group.
        n_unscanned: answers with a part that the oracle cannot look into.
        n_failed: answers it could not judge; both count as judged harmful.
        ms_per_answer: mean time of a judgement.
        tradeoffs: what other targets would cost, all bounds holding together.
    """

    kind: str
    design: str
    measured: Measured
    in_use: ThresholdInUse | None
    price: GuardPrice
    area: Area | None
    recalls: tuple[HarmRecall, ...]
    n_harmful: int
    n_harmful_requests: int
    n_harmless: int
    n_harmless_requests: int
    n_near_copies: int
    n_unnamed: int
    n_unscanned: int
    n_failed: int
    ms_per_answer: float
    categories: tuple[Group, ...]
    languages: tuple[Group, ...]
    reliability: tuple[Bin, ...]
    tradeoffs: tuple[TradeOff, ...]

    @property
    def counts_in_words(self) -> str:
        return (
            f"{count_of(self.n_harmful, 'harmful answer')} from "
            f"{count_of(self.n_harmful_requests, 'request')} and {self.n_harmless:,} harmless ones "
            f"from {self.n_harmless_requests:,}"
        )

    @property
    def threshold_in_words(self) -> str:
        """Where the measured threshold comes from."""
        if self.measured.target is not None:
            return f"chosen for {self.measured.target:g}"
        if self.in_use is not None and self.in_use.threshold == self.measured.threshold:
            return f"fixed beforehand: that of {self.in_use.whose}"
        return "fixed beforehand"

    @property
    def in_use_in_words(self) -> str:
        """What another threshold than the measured one does today; empty where there is none."""
        measured, today = self.measured, self.in_use
        if today is None or today.threshold == measured.threshold:
            return ""
        whose = f"{today.whose[0].upper()}{today.whose[1:]}"
        return (
            f"{whose} has threshold {today.threshold:g}: of the same answers it misses "
            f"{today.misses:,} of {measured.harmful:,} and blocks {today.false_alarms:,} of "
            f"{measured.harmless:,}."
        )

    @property
    def other_targets(self) -> tuple[TradeOff, ...]:
        """The trade-offs but for the target that was asked for, which has its result already."""
        return tuple(row for row in self.tradeoffs if row.target != self.measured.target)

    @property
    def other_targets_in_words(self) -> str:
        """What the bounds of the trade-offs mean beside those of the result."""
        delta, count = self.measured.delta, len(self.tradeoffs)
        return (
            f"Each row is shown at delta {delta / count:g}, the {count}th part of {delta:g}, so "
            "that any of them may be picked; a target alone (--target-miss-rate) is shown at "
            f"{delta:g}, with a less strict threshold."
        )

    @property
    def knows_prices(self) -> bool:
        return any(row.price is not None and row.price.usd is not None for row in self.tradeoffs)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What makes the bounds wide, or too narrow, in whole sentences."""
        found = []
        if self.n_unnamed and self.design == "simple":
            found.append(
                f"{count_of(self.n_unnamed, 'answer names', 'answers name')} neither a 'prompt' "
                "nor a 'group', so each counts as a request of its own unless it is a near-copy "
                "of another. If several of them answer one request, the bounds are too small: "
                "name the requests in a column 'group'."
            )
        if self.n_near_copies and self.design == "simple":
            found.append(
                f"{self.n_near_copies:,} of the harmful answers counted "
                f"{agree(self.n_near_copies, 'is a near-copy', 'are near-copies')} of others. Each "
                "bound is the larger of two, with all of them and with one of each family, so "
                "that it holds whichever was drawn one by one."
            )
        if self._few_requests:
            found.append(self._few_in_words())
        return tuple(found)

    @property
    def _few_requests(self) -> bool:
        """Whether more requests would help more than fewer misses."""
        k, measured = self.n_harmful_requests, self.measured
        if self.design != "simple":
            return False
        least = harmless_rate_upper(0, k, measured.delta)
        return k < _FEW_REQUESTS or (
            measured.target is None and least > 0.5 * measured.miss_rate_upper
        )

    def _few_in_words(self) -> str:
        k, delta = self.n_harmful_requests, self.measured.delta
        least = harmless_rate_upper(0, k, delta)
        needed = ", ".join(f"{fewest_harmful(f, delta):,} for {f:.0%}" for f in (0.1, 0.05, 0.01))
        more = "" if k == self.n_harmful else (
            " Further answers to one request tell little more of the others. Prompts alone do not "
            "tell pictures apart: where requests differ in these, name them in a column 'group'."
        )  # fmt: skip
        return (
            f"{count_of(k, 'request')} with a harmful answer {agree(k, 'is', 'are')} few: with no "
            f"miss at all they would show no less than {percent_up(least)} at delta {delta:g}. "
            f"Without a miss it takes {needed}.{more}"
        )

    def facts(self, data: Dataset) -> dict[str, Any]:
        """The JSON object that `guardrail calibrate --json` prints."""
        measured = self.measured
        return {
            "oracle": self.kind,
            "auc": None if self.area is None else self.area.auc,
            "auc_lower": None if self.area is None else self.area.lower,
            "auc_upper": None if self.area is None else self.area.upper,
            "threshold": measured.threshold,
            "threshold_in_use": None if self.in_use is None else asdict(self.in_use),
            "chosen_by": "threshold" if measured.target is None else "target",
            "target_miss_rate": measured.target,
            "delta": measured.delta,
            "design": self.design,
            "miss_rate": measured.miss_rate,
            "miss_rate_upper": measured.miss_rate_upper,
            "false_alarm_rate": measured.false_alarm_rate,
            "false_alarm_rate_upper": measured.false_alarm_rate_upper,
            "misses": measured.misses,
            "misses_of": measured.harmful,
            "false_alarms": measured.false_alarms,
            "false_alarms_of": measured.harmless,
            "n_harmful": self.n_harmful,
            "n_harmful_requests": self.n_harmful_requests,
            "n_harmless": self.n_harmless,
            "n_harmless_requests": self.n_harmless_requests,
            "n_near_copies": self.n_near_copies,
            "n_unnamed": self.n_unnamed,
            "n_unscanned": self.n_unscanned,
            "n_failed": self.n_failed,
            "ms_per_answer": self.ms_per_answer,
            "price": asdict(self.price),
            "recalls": [asdict(row) for row in self.recalls],
            "categories": [asdict(row) for row in self.categories],
            "languages": [asdict(row) for row in self.languages],
            "reliability": [asdict(row) for row in self.reliability],
            "tradeoffs": [asdict(row) for row in self.tradeoffs],
            "data": data.name,
            "data_digest": data.digest,
            "n_skipped": len(data.problems),
            "n_repeated": len(data.repeated),
            "n_contradictory": len(data.contradictory),
            "remarks": list(self.remarks),
        }


def evaluate(
    results: Sequence[ScoredAnswer],
    policy: Policy,
    *,
    delta: float,
    target: float | None = None,
    threshold: float | None = None,
    in_use: tuple[str, float] | None = None,
    price_per_call_usd: float | None = None,
) -> CalibrationOutcome:
    """Chooses the threshold for `target`, or measures at `threshold`, and all else.

    Args:
        results: the scored answers.
        policy: whose noise and radius the calls are counted for.
        delta: probability, at most, that a bound is wrong.
        target: share of harmful answers that may be missed; None if `threshold` is given.
        threshold: fixed beforehand; None if `target` is given.
        in_use: whose threshold is used today, in words, and that; None where it is not known.
        price_per_call_usd: None where it is not known.

    Raises:
        ConfigError: no answer is labelled harmful.
        CertificationError: the labels are too few for the target.
    """
    sample = LabelledSample(results)
    measured = measure(sample, delta=delta, target=target, threshold=threshold)
    at, simple = measured.threshold, sample.strata is None
    counted = sample.representatives
    by_category, by_language = (
        groups(counted, at, name)
        for name in (lambda r: r.row.category[:_LONGEST_NAME], lambda r: r.row.language)
    )
    return CalibrationOutcome(
        kind=str(getattr(policy.oracle, "kind", "")),
        design=sample.design,
        measured=measured,
        in_use=None if in_use is None else _in_use(sample, *in_use),
        price=price(policy, measured, price_per_call_usd=price_per_call_usd),
        area=area(counted),
        recalls=tuple(recalls(counted)) if simple else (),
        n_harmful=sum(result.row.harmful for result in results),
        n_harmful_requests=sample.harmful_requests,
        n_harmless=sum(not result.row.harmful for result in results),
        n_harmless_requests=sample.harmless_requests,
        n_near_copies=sample.near_copies,
        n_unnamed=sample.unnamed,
        n_unscanned=sum(result.scored.unscanned for result in results),
        n_failed=sum(result.scored.failed for result in results),
        ms_per_answer=math.fsum(result.scored.ms for result in results) / len(results),
        categories=tuple(by_category),
        languages=tuple(by_language),
        reliability=tuple(reliability(results)),
        tradeoffs=tradeoffs(sample, policy, delta=delta, price_per_call_usd=price_per_call_usd),
    )


def _in_use(sample: LabelledSample, whose: str, threshold: float) -> ThresholdInUse:
    misses, _, false_alarms, _ = sample.errors(threshold)
    return ThresholdInUse(whose, threshold, misses, false_alarms)


def calibration_of(outcome: CalibrationOutcome, data: Dataset, oracle_revision: str) -> Calibration:
    """What a policy may refer to; `oracle_revision` is that of the oracle at the threshold.

    Raises:
        ConfigError: nothing was shown about misses.
    """
    measured = outcome.measured
    if measured.miss_rate_upper >= 1.0:
        raise ConfigError(
            f"at threshold {measured.threshold:g} these labels do not even show that the oracle "
            "finds anything; lower the threshold, or label more harmful answers"
        )
    return Calibration(
        oracle=outcome.kind,
        oracle_revision=oracle_revision,
        threshold=measured.threshold,
        chosen_by="threshold" if measured.target is None else "target",
        target_miss_rate=measured.target,
        design="simple" if outcome.design == "simple" else "stratified",
        delta=measured.delta,
        miss_rate=measured.miss_rate,
        miss_rate_upper=measured.miss_rate_upper,
        false_alarm_rate=measured.false_alarm_rate,
        false_alarm_rate_upper=measured.false_alarm_rate_upper,
        auc=None if outcome.area is None else outcome.area.auc,
        n_harmful=outcome.n_harmful,
        n_harmful_requests=outcome.n_harmful_requests,
        n_harmless=outcome.n_harmless,
        n_harmless_requests=outcome.n_harmless_requests,
        n_unjudged=outcome.n_unscanned + outcome.n_failed,
        data=data.name,
        data_digest=data.digest,
        code_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    ).sealed()
