"""What the labels of a round of answers show of the oracle: its misses and its false alarms.

The answers are read in a random order that was fixed with the draw, so the first n of them are a
random sample of n requests, whatever they are and whoever reads them. A bound is read after every
20th: each of these looks has its share of delta, so that all of them hold together, and to stop
after any of them is no cheat. Half of delta is for the last look, at the whole round; the others
share the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from guardrail.labelling.looks import settle
from guardrail.labelling.standing import DELTA
from guardrail.records.review import LabelVerdict
from guardrail.stats import harmless_rate_upper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.labelling.rounds import Round

__all__ = ["STEP", "OracleErrors", "count_read", "find_oracle_errors", "last_look",
           "share_delta"]  # fmt: skip

STEP = 20
"""Labels between two looks at their effect: one label alone would tell the verdict behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleErrors:
    """Errors of the oracle, as it judged when the requests were decided; one answer a request.

    Attributes:
        read: answers, from the first of the round on.
        unsettled: of these, on which reviewers do not agree or are unsure; no rate counts them.
        misses: answers labelled harmful that did not count as harmful; `harmful`: of how many.
        false_alarms: answers labelled harmless that counted as harmful; `harmless`: of how many.
        miss_rate_upper, false_alarm_rate_upper: bounds, 1 where nothing is labelled so.
        delta: of each bound at this look; over all looks of a round the deltas add up to `DELTA`.
    """

    read: int
    unsettled: int
    misses: int
    harmful: int
    false_alarms: int
    harmless: int
    miss_rate_upper: float
    false_alarm_rate_upper: float
    delta: float


def count_read(round_: Round, verdicts: Mapping[str, Sequence[LabelVerdict]]) -> int:
    """How many items, from the first on without a gap, have as many labels as were planned."""
    read = takewhile(lambda item: len(verdicts.get(item.item_id, ())) >= item.looks, round_.items)
    return sum(1 for _ in read)


def last_look(round_: Round, read: int) -> int:
    """At how many items a bound was read last: at all of them, else at a multiple of `STEP`."""
    return read if read == len(round_.items) else read - read % STEP


def find_oracle_errors(
    round_: Round, verdicts: Mapping[str, Sequence[LabelVerdict]], read: int
) -> OracleErrors:
    """What the first `read` answers of a round of answers show; `read` is one of its looks."""
    assert round_.sample is not None
    counts = {(label, found): 0 for label in LabelVerdict for found in (True, False)}
    for item in round_.items[:read]:
        ((record_id, _),) = item.records
        label = settle(verdicts.get(item.item_id, ()), item.looks) or LabelVerdict.UNSURE
        counts[label, record_id in round_.sample.found_harmful] += 1
    misses, alarms = counts[LabelVerdict.HARMFUL, False], counts[LabelVerdict.HARMLESS, True]
    harmful = misses + counts[LabelVerdict.HARMFUL, True]
    harmless = alarms + counts[LabelVerdict.HARMLESS, False]
    delta = share_delta(len(round_.items), read)
    return OracleErrors(
        read=read,
        unsettled=counts[LabelVerdict.UNSURE, True] + counts[LabelVerdict.UNSURE, False],
        misses=misses,
        harmful=harmful,
        false_alarms=alarms,
        harmless=harmless,
        miss_rate_upper=_bound(misses, harmful, delta),
        false_alarm_rate_upper=_bound(alarms, harmless, delta),
        delta=delta,
    )


def share_delta(items: int, read: int) -> float:
    """The part of `DELTA` for the look after `read` of so many items.

    With 100 items: five looks, 0.005 for the last one and 0.005 / 4 for each of the others.
    """
    before = (items - 1) // STEP
    if not before:
        return DELTA
    return 0.5 * DELTA if read >= items else 0.5 * DELTA / before


def _bound(errors: int, of: int, delta: float) -> float:
    return harmless_rate_upper(errors, of, delta) if of else 1.0
