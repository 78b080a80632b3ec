"""What a setting of the page Tune does to recorded decisions, beside the policy in force."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guardrail.replay.drawn_errors import share_wrong
from guardrail.replay.endings import NEED_WORDS, Ending, Need
from guardrail.replay.further_calls import expect_further_calls
from guardrail.replay.intervals import Label, share_ended

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardrail.console.tune_records import TuneRecords
    from guardrail.console.tune_settings import Slider
    from guardrail.console.tune_work import TuneWork
    from guardrail.policy_search.numbers import Numbers
    from guardrail.replay.drawn_errors import ErrorShare
    from guardrail.replay.further_calls import FurtherCalls
    from guardrail.replay.intervals import ShareInterval
    from guardrail.replay.policy_replay import PolicyReplay

__all__ = ["CurvePoint", "NoisePrice", "SettingNumbers", "count_decisions", "draw_points",
           "expect_calls", "list_neighbours", "list_noises", "price_noise"]  # fmt: skip

_NOISES = (0.75, 1.5)
"""Times the policy's own: what other noise would take is shown for these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingNumbers:
    """Recorded decisions under one setting.

    Attributes:
        total: decisions.
        stopped, let_through, no_answer, not_decided: how many end so; the last are those that an
            observing policy let pass undecided.
        unknown: how many the records do not suffice for.
        by_calls: how many of these calls could settle.
        needs: how many of these lack what, in words.
        stopped_share, let_through_share: of the decided requests.
        calls, cost_usd: of a decision on average, where it is known; None where none is.
        calls_lower, calls_upper: the mean over all decisions, with no further call and the most
            calls where it is not known; the cost likewise, None where prices are not known.
        cost_lower, cost_upper: see above.
        false_alarms, missed_harm: by labels.
    """

    total: int
    stopped: int
    let_through: int
    no_answer: int
    not_decided: int
    unknown: int
    by_calls: int
    needs: tuple[tuple[str, int], ...]
    stopped_share: ShareInterval
    let_through_share: ShareInterval
    calls: float | None
    cost_usd: float | None
    calls_lower: float
    calls_upper: float
    cost_lower: float | None
    cost_upper: float | None
    false_alarms: ErrorShare
    missed_harm: ErrorShare


def count_decisions(records: TuneRecords, numbers: Numbers) -> SettingNumbers:
    """The numbers of a setting whose tests are computed. Raises ConfigError where it has none."""
    found = records.replay(numbers)
    counts = {ending: int(np.count_nonzero(found.after == ending)) for ending in Ending}
    needs = {need: found.count_need(need) for need in NEED_WORDS}
    mean = _mean_calls(found)
    return SettingNumbers(
        total=len(found.after),
        stopped=counts[Ending.STOPPED],
        let_through=counts[Ending.LET_THROUGH],
        no_answer=counts[Ending.FAULT],
        not_decided=counts[Ending.UNDECIDED],
        unknown=counts[Ending.UNKNOWN],
        by_calls=needs[Need.CALLS] + needs[Need.NEW_DRAWS],
        needs=tuple((NEED_WORDS[need], count) for need, count in needs.items() if count),
        stopped_share=share_ended(found, Ending.STOPPED),
        let_through_share=share_ended(found, Ending.LET_THROUGH),
        false_alarms=share_wrong(found, records.labels, Label.HARMLESS),
        missed_harm=share_wrong(found, records.labels, Label.HARMFUL),
        calls=mean.known,
        cost_usd=mean.known_usd,
        calls_lower=mean.lower,
        calls_upper=mean.upper,
        cost_lower=mean.lower_usd,
        cost_upper=mean.upper_usd,
    )


@dataclass(frozen=True, slots=True)
class _MeanCalls:
    known: float | None
    known_usd: float | None
    lower: float
    upper: float
    lower_usd: float | None
    upper_usd: float | None


def _mean_calls(found: PolicyReplay) -> _MeanCalls:
    """Means over the decisions that rest on answers, or would."""
    of = found.decisions
    used = found.used.astype(np.float64)
    price = of.cost_usd / np.maximum(of.calls, 1)
    known, open_ = used > 0, found.after == Ending.UNKNOWN
    counted = known | open_
    if not counted.any():
        return _MeanCalls(None, None, 0.0, math.inf, None, None)
    most = np.where(open_, float(found.rules.max_samples), used)
    least = np.where(open_, np.maximum(used, 1.0), used)
    priced = not np.isnan(price[counted]).any()
    return _MeanCalls(
        known=float(used[known].mean()) if known.any() else None,
        known_usd=float((used * price)[known].mean()) if priced and known.any() else None,
        lower=float(least[counted].mean()),
        upper=float(most[counted].mean()),
        lower_usd=float((least * price)[counted].mean()) if priced else None,
        upper_usd=float((most * price)[counted].mean()) if priced else None,
    )


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One step of the slider of the radius.

    Attributes:
        radius: how far a picture may be changed.
        words: the same in words.
        state: `computed`, `being computed`, or why it has no test.
        least, most: share of the decisions that is stopped: those that are known, and with all
            unknown ones; None where it is not computed.
    """

    radius: float
    words: str
    state: str
    least: float | None = None
    most: float | None = None


def draw_points(
    work: TuneWork, records: TuneRecords, numbers: Numbers, slider: Slider
) -> list[CurvePoint]:
    """The share that is stopped at each step of a radius, as far as tests are computed."""
    return [
        _point(work, records, dataclasses.replace(numbers, radius=radius), words)
        for radius, words in zip(slider.levels, slider.words, strict=True)
    ]


def _point(work: TuneWork, records: TuneRecords, numbers: Numbers, words: str) -> CurvePoint:
    problem = work.look_up(numbers)
    if problem is None:
        return CurvePoint(numbers.radius, words, "being computed")
    total = len(records.decisions)
    if problem or not total:
        return CurvePoint(numbers.radius, words, problem or "no decision")
    after = records.replay(numbers).after
    stopped = int(np.count_nonzero(after == Ending.STOPPED))
    unknown = int(np.count_nonzero(after == Ending.UNKNOWN))
    return CurvePoint(
        numbers.radius, words, "computed", stopped / total, (stopped + unknown) / total
    )


def list_neighbours(numbers: Numbers, sliders: Sequence[Slider]) -> list[Numbers]:
    """All settings that one slider leads to, those of the curve first."""
    return [
        slider.move(numbers, place)
        for slider in sliders
        if slider.name != "threshold"
        for place in range(len(slider.levels))
    ]


def list_noises(records: TuneRecords, numbers: Numbers) -> list[Numbers]:
    """The setting under other noise than was drawn."""
    sigmas: Iterable[float] = (records.own.sigma * factor for factor in _NOISES)
    drawn = records.sigmas
    return [dataclasses.replace(numbers, sigma=one) for one in sigmas if one not in drawn]


def expect_calls(records: TuneRecords, numbers: Numbers) -> FurtherCalls:
    """What it would take to know what the records do not say about a setting."""
    return expect_further_calls(records.replay(numbers))


@dataclass(frozen=True, slots=True)
class NoisePrice:
    """What it would take to look at other noise; `calls` is None while it is not computed.

    Attributes:
        sigma: its standard deviation.
        problem: why it cannot be, in words.
        calls: what new answers would take.
    """

    sigma: float
    problem: str
    calls: FurtherCalls | None


def price_noise(work: TuneWork, records: TuneRecords, numbers: Numbers) -> NoisePrice:
    """The price of answers that nobody has drawn."""
    problem = work.look_up(numbers)
    calls = expect_calls(records, numbers) if problem == "" else None
    return NoisePrice(numbers.sigma, problem or "", calls)
