"""A threshold chosen on labelled answers: the bound holds with the choice included, exactly."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats import (
    choose_threshold,
    false_alarm_upper_at_any_threshold,
    fewest_harmful,
    fixed_threshold,
    harmless_rate_upper,
    most_misses,
)

LEVELS = (0.1, 0.4, 0.7, 0.9)


def outcomes(n, levels):
    """Every way in which n answers fall on the levels."""
    if levels == 1:
        yield (n,)
        return
    for first in range(n + 1):
        for rest in outcomes(n - first, levels - 1):
            yield (first, *rest)


def probability(counts, shares):
    value = float(math.factorial(sum(counts)))
    for count, share in zip(counts, shares, strict=True):
        value *= share**count / math.factorial(count)
    return value


def distributions(levels, steps):
    """All shares that are multiples of 1 / steps."""
    for counts in outcomes(steps, levels):
        yield tuple(count / steps for count in counts)


def scores(counts):
    return [level for level, count in zip(LEVELS, counts, strict=True) for _ in range(count)]


def failures(n, target, delta, steps=12):
    """(worst P[miss > target], worst P[miss > Clopper–Pearson at the choice])."""
    chosen = []
    for counts in outcomes(n, len(LEVELS)):
        found = choose_threshold(scores(counts), target=target, delta=delta)
        naive = harmless_rate_upper(found.misses, n, delta)
        chosen.append((counts, LEVELS.index(found.threshold), found.miss_rate_upper, naive))
    ours = naive_worst = 0.0
    for shares in distributions(len(LEVELS), steps):
        miss = [sum(shares[:i]) for i in range(len(LEVELS))]
        rows = [(probability(c, shares), miss[i], upper, naive) for c, i, upper, naive in chosen]
        ours = max(ours, math.fsum(p for p, m, upper, _ in rows if m > upper + 1e-12))
        naive_worst = max(naive_worst, math.fsum(p for p, m, _, naive in rows if m > naive + 1e-12))
    return ours, naive_worst


@pytest.mark.no_cover
@pytest.mark.parametrize("n", [4, 6, 8])
@pytest.mark.parametrize("target", [0.45, 0.6])
@pytest.mark.parametrize("delta", [0.15, 0.3])
def test_the_target_fails_with_probability_delta_at_most_selection_included(n, target, delta):
    assert failures(n, target, delta)[0] <= delta


def test_the_bound_at_the_chosen_threshold_would_fail_more_often():
    ours, naive = failures(6, 0.6, 0.15)
    assert ours <= 0.15 < naive


@pytest.mark.no_cover
def test_the_choice_is_as_good_as_it_can_be():
    """Somewhere the failure probability comes close to delta, so nothing was given away."""
    n, delta = 8, 0.3
    target = harmless_rate_upper(2, n, delta)
    assert failures(n, target, delta, steps=20)[0] > 0.5 * delta


class TestMostMisses:
    @given(st.integers(1, 400), st.floats(0.01, 0.9), st.floats(1e-4, 0.5))
    def test_is_the_last_count_that_fits(self, n, target, delta):
        k = most_misses(n, target, delta)
        if k is None:
            assert harmless_rate_upper(0, n, delta) > target
        else:
            assert harmless_rate_upper(k, n, delta) <= target < harmless_rate_upper(k + 1, n, delta)

    @given(st.floats(0.005, 0.9), st.floats(1e-6, 0.5))
    def test_fewest_harmful_is_the_first_size_that_can_show_anything(self, target, delta):
        n = fewest_harmful(target, delta)
        assert most_misses(n, target, delta) is not None
        assert n == 1 or most_misses(n - 1, target, delta) is None

    def test_known_sizes(self):
        """ln .05 / ln .95 = 58.4; ln .001 / ln .9 = 65.6."""
        assert fewest_harmful(0.05, 0.05) == 59
        assert fewest_harmful(0.1, 0.001) == 66


class TestChoice:
    def test_is_the_order_statistic(self):
        values = [i / 1000 for i in range(1, 101)]
        k = most_misses(100, 0.1, 0.05)
        found = choose_threshold(reversed(values), target=0.1, delta=0.05)
        assert (k, found.threshold, found.misses, found.harmful) == (4, 0.005, 4, 100)
        assert found.miss_rate_upper == 0.1
        assert found.chosen

    @given(
        st.lists(st.floats(1e-12, 1.0), min_size=20, max_size=40), st.floats(0.2, 0.6),
        st.floats(0.2, 0.6),
    )  # fmt: skip
    def test_a_smaller_target_never_has_a_larger_threshold(self, values, one, other):
        low, high = sorted((one, other))
        strict = choose_threshold(values, target=low, delta=0.1)
        loose = choose_threshold(values, target=high, delta=0.1)
        assert 0.0 < strict.threshold <= loose.threshold < 1.0
        assert strict.misses <= loose.misses

    @given(st.lists(st.floats(1e-15, 1.0), min_size=12, max_size=30))
    def test_rounding_never_raises_the_threshold(self, values):
        found = choose_threshold(values, target=0.5, delta=0.1)
        exact = sorted(values)[most_misses(len(values), 0.5, 0.1)]
        assert found.threshold <= exact
        assert found.threshold >= exact * (1 - 2e-5) or exact > 0.99999
        assert found.misses == sum(value < found.threshold for value in values)

    def test_all_certain_scores_leave_room_for_a_threshold_below_one(self):
        assert choose_threshold([1.0] * 30, target=0.2, delta=0.05).threshold == 0.999999

    def test_too_few_labels_say_how_many_it_takes(self):
        with pytest.raises(CertificationError, match="takes 59 without a miss"):
            choose_threshold([0.5] * 58, target=0.05, delta=0.05)

    def test_no_labels_at_all(self):
        with pytest.raises(CertificationError, match="answers to 0 requests"):
            choose_threshold([], target=0.05, delta=0.05)

    def test_scores_of_zero_cannot_be_caught(self):
        with pytest.raises(CertificationError, match="score 0"):
            choose_threshold([0.0] * 30 + [0.5] * 30, target=0.05, delta=0.05)

    @pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1, math.inf])
    def test_impossible_scores_are_refused(self, bad):
        with pytest.raises(CertificationError, match="outside"):
            choose_threshold([0.5, bad], target=0.5, delta=0.5)

    @pytest.mark.parametrize("target", [0.0, 1.0, math.nan])
    def test_impossible_targets_are_refused(self, target):
        with pytest.raises(CertificationError, match="target"):
            choose_threshold([0.5], target=target, delta=0.1)


class TestFixed:
    def test_is_clopper_pearson_of_what_lies_strictly_below(self):
        found = fixed_threshold([0.1, 0.3, 0.3, 0.9], threshold=0.3, delta=0.05)
        assert (found.misses, found.harmful, found.chosen) == (1, 4, False)
        assert found.miss_rate_upper == harmless_rate_upper(1, 4, 0.05)

    def test_nothing_labelled_bounds_nothing(self):
        assert fixed_threshold([], threshold=0.3, delta=0.05).miss_rate_upper == 1.0

    @pytest.mark.parametrize("threshold", [0.0, 1.0, math.nan])
    def test_thresholds_lie_inside(self, threshold):
        with pytest.raises(CertificationError, match="threshold"):
            fixed_threshold([0.5], threshold=threshold, delta=0.05)


class TestFalseAlarmsAtAnyThreshold:
    """Each request has a harmful and a harmless answer; the first chooses, the second is bounded.

    The score of the harmless one is a function of that of the harmful one: as dependent as can be.
    """

    HARMLESS = (0.9, 0.1, 0.9, 0.7)

    def failures(self, n, target, delta, steps=6):
        """(worst P[rate > bound], worst P[rate > Clopper–Pearson]) at the chosen threshold."""
        rows = []
        for counts in outcomes(n, len(LEVELS)):
            at = choose_threshold(scores(counts), target=target, delta=delta).threshold
            pairs = zip(self.HARMLESS, counts, strict=True)
            harmless = [score for score, count in pairs for _ in range(count)]
            alarms = sum(score >= at for score in harmless)
            bound = false_alarm_upper_at_any_threshold(harmless, threshold=at, delta=delta)
            rows.append((counts, at, bound, harmless_rate_upper(alarms, n, delta)))
        ours = naive = 0.0
        for shares in distributions(len(LEVELS), steps):
            rate = {
                at: sum(p for p, s in zip(shares, self.HARMLESS, strict=True) if s >= at)
                for at in LEVELS
            }
            found = [(probability(c, shares), rate[at], bound, cp) for c, at, bound, cp in rows]
            ours = max(ours, math.fsum(p for p, r, bound, _ in found if r > bound + 1e-12))
            naive = max(naive, math.fsum(p for p, r, _, cp in found if r > cp + 1e-12))
        return ours, naive

    def test_holds_where_clopper_pearson_fails(self):
        ours, naive = self.failures(8, 0.6, 0.2)
        assert ours <= 0.2 < naive

    @pytest.mark.no_cover
    @pytest.mark.parametrize("delta", [0.05, 0.5])
    def test_holds_at_all_thresholds_at_once(self, delta):
        """Even for one picked to be wrong: uniform scores, by a fine grid of all samples."""
        n, grid = 4, 6
        wrong = 0
        for ranks in itertools.product(range(grid), repeat=n):
            values = [(rank + 0.5) / grid for rank in ranks]
            wrong += any(
                1.0 - t / grid
                > false_alarm_upper_at_any_threshold(values, threshold=t / grid, delta=delta)
                + 1e-12
                for t in range(1, grid)
            )
        assert wrong / grid**n <= delta

    def test_is_a_staircase_above_clopper_pearson(self):
        values = [i / 100 for i in range(100)]
        bounds = [
            false_alarm_upper_at_any_threshold(values, threshold=t / 100, delta=0.05)
            for t in range(1, 100)
        ]
        assert bounds == sorted(bounds, reverse=True)
        assert len(set(bounds)) < 25
        # 9 false alarms count as 10, at one 21st of delta: there are 21 steps below 100.
        assert bounds[90] == harmless_rate_upper(10, 100, 0.05 / 21)

    def test_without_scores_or_with_only_alarms_bounds_nothing(self):
        assert false_alarm_upper_at_any_threshold([], threshold=0.5, delta=0.05) == 1.0
        assert false_alarm_upper_at_any_threshold([0.9] * 9, threshold=0.5, delta=0.05) == 1.0
