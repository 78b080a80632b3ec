"""Stratified labels: every bound holds with the choice included, by enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from guardrail.errors import CertificationError
from guardrail.stats import (
    ScoredStratum,
    choose_stratified_threshold,
    harmless_rate_lower,
    harmless_rate_upper,
    stratified_false_alarm_upper,
    stratified_miss_upper,
)

LOW, HIGH = 0.2, 0.8
KINDS = ((LOW, True), (HIGH, True), (LOW, False), (HIGH, False))  # (score, harmful)
SHARES = (0.7, 0.3)


def outcomes(n, kinds):
    if kinds == 1:
        yield (n,)
        return
    for first in range(n + 1):
        for rest in outcomes(n - first, kinds - 1):
            yield (first, *rest)


def probability(counts, shares):
    value = float(math.factorial(sum(counts)))
    for count, share in zip(counts, shares, strict=True):
        value *= share**count / math.factorial(count)
    return value


def stratum(share, counts):
    rows = [kind for kind, count in zip(KINDS, counts, strict=True) for _ in range(count)]
    return ScoredStratum(
        share,
        tuple(score for score, harmful in rows if harmful),
        tuple(score for score, harmful in rows if not harmful),
    )


def rates(worlds, threshold):
    """True (miss, false alarm) rate at a threshold."""
    parts = dict.fromkeys(KINDS, 0.0)
    for share, world in zip(SHARES, worlds, strict=True):
        for kind, p in zip(KINDS, world, strict=True):
            parts[kind] += share * p
    harmful = parts[LOW, True] + parts[HIGH, True]
    harmless = parts[LOW, False] + parts[HIGH, False]
    missed = sum(p for (score, harm), p in parts.items() if harm and score < threshold)
    alarms = sum(p for (score, harm), p in parts.items() if not harm and score >= threshold)
    return missed / harmful if harmful else 0.0, alarms / harmless if harmless else 0.0


def worst_failure(n, judge):
    """Largest probability, over worlds, of the draws that `judge(drawn, worlds)` calls wrong."""
    counts = list(outcomes(n, len(KINDS)))
    worlds = [tuple(c / 4 for c in parts) for parts in outcomes(4, len(KINDS))]
    drawn = {
        pair: tuple(stratum(s, c) for s, c in zip(SHARES, pair, strict=True))
        for pair in itertools.product(counts, repeat=2)
    }
    worst = 0.0
    for world in itertools.product(worlds[::3], worlds[::2]):
        wrong = (
            probability(pair[0], world[0]) * probability(pair[1], world[1])
            for pair, strata in drawn.items()
            if judge(strata, world)
        )
        worst = max(worst, math.fsum(wrong))
    return worst


@pytest.mark.no_cover
@pytest.mark.parametrize("delta", [0.4, pytest.param(0.9, marks=pytest.mark.nightly)])
def test_the_miss_bound_at_a_fixed_threshold(delta):
    found = {}

    def wrong(strata, world):
        if strata not in found:
            found[strata] = stratified_miss_upper(strata, threshold=0.5, delta=delta)
        return rates(world, 0.5)[0] > found[strata]

    assert worst_failure(3, wrong) <= delta


@pytest.mark.no_cover
@pytest.mark.parametrize("delta", [0.4, 0.9])
def test_the_target_and_the_false_alarms_at_a_chosen_threshold(delta):
    """Both fail with probability delta at most, the choice on the harmful scores included."""
    target, found = 0.75, {}

    def choice(strata):
        if strata not in found:
            try:
                chosen = choose_stratified_threshold(strata, target=target, delta=delta).threshold
            except CertificationError:
                found[strata] = None
            else:
                alarms = stratified_false_alarm_upper(strata, threshold=chosen, delta=delta)
                found[strata] = (chosen, alarms)
        return found[strata]

    def misses_more(strata, world):
        made = choice(strata)
        return made is not None and rates(world, made[0])[0] > target + 1e-12

    def alarms_more(strata, world):
        made = choice(strata)
        return made is not None and rates(world, made[0])[1] > made[1]

    assert worst_failure(3, misses_more) <= delta
    assert worst_failure(3, alarms_more) <= delta
    assert {made and made[0] for made in found.values()} >= {LOW, HIGH}  # there was a choice


@pytest.mark.no_cover
@pytest.mark.parametrize("delta", [0.001, 0.01, 0.05, 0.1])
def test_draws_without_replacement_fail_no_more_often(delta):
    """The bounds are binomial; drawing from a finite store is hypergeometric, here enumerated."""
    for size in (5, 9, 14):
        for n, marked in itertools.product(range(1, size + 1), range(size + 1)):
            law = stats.hypergeom(size, marked, n)
            ks, rate = range(n + 1), marked / size
            high = sum(law.pmf(k) for k in ks if harmless_rate_upper(k, n, delta) < rate)
            low = sum(law.pmf(k) for k in ks if harmless_rate_lower(k, n, delta) > rate)
            assert high <= delta
            assert low <= delta


def test_the_miss_bound_is_the_stated_formula():
    strata = (stratum(0.9, (1, 4, 20, 0)), stratum(0.1, (0, 12, 3, 5)))
    part = 0.05 / 4
    below = 0.9 * harmless_rate_upper(1, 25, part) + 0.1 * harmless_rate_upper(0, 20, part)
    above = 0.9 * harmless_rate_lower(4, 25, part) + 0.1 * harmless_rate_lower(12, 20, part)
    bound = stratified_miss_upper(strata, threshold=0.5, delta=0.05)
    assert bound == pytest.approx(below / (below + above), rel=1e-12)
    assert bound >= below / (below + above)


def test_the_false_alarm_bound_is_the_largest_within_its_parts():
    strata = (stratum(0.6, (3, 3, 20, 2)), stratum(0.3, (0, 9, 6, 5)), stratum(0.1, (1, 1, 1, 9)))
    part, rows = 0.1 / 9, []
    for one in strata:
        harmless = len(one.harmless)
        alarms = sum(score >= 0.5 for score in one.harmless)
        shares = (
            one.share * harmless_rate_lower(harmless, one.labelled, part),
            one.share * harmless_rate_upper(harmless, one.labelled, part),
        )
        rows.append((harmless_rate_upper(alarms, harmless, part), shares))
    largest = max(
        sum(w * f for w, (f, _) in zip(ws, rows, strict=True)) / sum(ws)
        for ws in itertools.product(*(shares for _, shares in rows))
    )
    bound = stratified_false_alarm_upper(strata, threshold=0.5, delta=0.1)
    assert bound == pytest.approx(largest, rel=1e-12)
    assert bound >= largest


def test_labels_where_the_harm_is_pay():
    """The same number of labels, all at random or most of them at high scores."""
    random = (stratum(1.0, (2, 18, 960, 20)),)
    placed = (stratum(0.96, (0, 0, 500, 0)), stratum(0.04, (2, 238, 10, 250)))
    bounds = [stratified_miss_upper(way, threshold=0.5, delta=0.05) for way in (random, placed)]
    assert bounds[1] < 0.35 < 0.4 < bounds[0]


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_the_miss_bound_never_falls_with_the_threshold(one, other):
    scores = tuple(i / 10 for i in range(1, 10))
    strata = (ScoredStratum(2.0, scores, scores), ScoredStratum(1.0, scores[4:], scores[:2]))
    low, high = sorted((one, other))
    bounds = [stratified_miss_upper(strata, threshold=t, delta=0.1) for t in (low, high)]
    assert bounds[0] <= bounds[1]


def test_the_choice_is_the_largest_that_fits():
    scores = tuple(i / 100 for i in range(1, 100))
    strata = (ScoredStratum(1.0, scores, ()), ScoredStratum(1.0, scores, (0.5,)))
    found = choose_stratified_threshold(strata, target=0.2, delta=0.05)
    assert stratified_miss_upper(strata, threshold=found.threshold, delta=0.05) <= 0.2
    assert stratified_miss_upper(strata, threshold=found.threshold + 0.01, delta=0.05) > 0.2
    assert (found.miss_rate_upper, found.harmful, found.chosen) == (0.2, 198, True)
    assert found.misses == 2 * (round(found.threshold * 100) - 1)


class TestRefusals:
    def test_too_few_labels(self):
        with pytest.raises(CertificationError, match="label more"):
            choose_stratified_threshold((stratum(1.0, (0, 3, 3, 0)),), target=0.1, delta=0.05)

    @pytest.mark.parametrize("bound", [stratified_miss_upper, stratified_false_alarm_upper])
    def test_no_stratum(self, bound):
        with pytest.raises(CertificationError, match="no stratum"):
            bound((), threshold=0.5, delta=0.1)

    @pytest.mark.parametrize("share", [0.0, -1.0, math.nan, math.inf])
    def test_shares_are_positive(self, share):
        with pytest.raises(CertificationError, match="share"):
            ScoredStratum(share, (), ())

    def test_scores_lie_in_the_unit_interval(self):
        with pytest.raises(CertificationError, match="score"):
            ScoredStratum(1.0, (0.5,), (1.5,))

    def test_nothing_labelled_bounds_nothing(self):
        empty = (ScoredStratum(1.0, (), ()),)
        assert stratified_miss_upper(empty, threshold=0.5, delta=0.1) == 1.0
        assert stratified_false_alarm_upper(empty, threshold=0.5, delta=0.1) == 1.0
