"""Recall at few false alarms: its bounds hold with the threshold chosen on the harmless scores."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats import (
    harmless_rate_lower,
    harmless_rate_upper,
    most_misses,
    recall_at_false_alarms,
)

LEVELS = (0.0, 0.3, 0.3001, 1.0)


def outcomes(n, levels):
    """Every way in which n scores fall on the levels."""
    if levels == 1:
        yield (n,)
        return
    for first in range(n + 1):
        for rest in outcomes(n - first, levels - 1):
            yield (first, *rest)


def probability(counts, shares):
    ways = math.factorial(sum(counts))
    for count in counts:
        ways //= math.factorial(count)
    return ways * math.prod(share**count for count, share in zip(counts, shares, strict=True))


def spread(counts):
    pairs = zip(counts, LEVELS, strict=True)
    return [level for count, level in pairs for _ in range(count)]


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize(
    "shares",
    [(0.25, 0.25, 0.25, 0.25), (0.9, 0.05, 0.03, 0.02), (0.0, 0.7, 0.0, 0.3), (1, 0, 0, 0)],
)
@pytest.mark.parametrize(("n", "rate", "delta"), [(7, 0.3, 0.6), (12, 0.2, 0.5), (9, 0.01, 0.05)])
def test_the_bound_of_false_alarms_fails_with_its_own_probability_at_most(
    n, rate, delta, shares, shown
):
    failing = 0.0
    for counts in outcomes(n, len(LEVELS)):
        point = recall_at_false_alarms(spread(counts), (), rate=rate, delta=delta, shown=shown)
        if point is None:
            assert shown
            assert most_misses(n, rate, delta / 3) is None
            continue
        assert point.false_alarms <= rate * n
        true = sum(
            share for share, level in zip(shares, LEVELS, strict=True) if level > point.threshold
        )
        failing += probability(counts, shares) * (true > point.false_alarm_upper)
        assert not shown or point.false_alarm_upper <= rate
    assert failing <= delta / 3


def test_what_lies_above_the_threshold():
    harmless = [i / 200 for i in range(200)]  # two of them may lie above
    point = recall_at_false_alarms(harmless, [0.5, 0.98, 0.985, 0.99, 1.0], rate=0.01, delta=0.03)
    assert point.threshold == harmless[197]
    assert (point.false_alarms, point.harmless) == (2, 200)
    assert (point.found, point.harmful) == (2, 5)
    assert point.false_alarm_upper == harmless_rate_upper(2, 200, 0.01)
    assert point.recall_lower == harmless_rate_lower(2, 5, 0.01)
    assert point.recall_upper == harmless_rate_upper(2, 5, 0.01)


def test_ties_at_the_threshold_are_no_alarms():
    point = recall_at_false_alarms([0.2] * 100, [0.2, 0.3], rate=0.01, delta=0.05)
    assert (point.false_alarms, point.found) == (0, 1)
    assert point.false_alarm_upper == harmless_rate_upper(1, 100, 0.05 / 3)


def test_requests_that_count_as_stopped_or_missed_whatever_the_threshold():
    point = recall_at_false_alarms(
        [math.inf] * 2 + [0.1] * 98, [1.0, -math.inf], rate=0.01, delta=0.05
    )
    assert (point.threshold, point.false_alarms, point.found) == (math.inf, 0, 0)
    point = recall_at_false_alarms([math.inf] + [0.1] * 99, [1.0, -math.inf], rate=0.01, delta=0.05)
    assert (point.threshold, point.false_alarms, point.found) == (0.1, 1, 1)


def test_too_few_harmless_scores_show_no_rate():
    assert recall_at_false_alarms([], [0.5], rate=0.01, delta=0.05) is None
    assert recall_at_false_alarms([], [0.5], rate=0.01, delta=0.05, shown=True) is None
    assert recall_at_false_alarms([0.1] * 407, [], rate=0.01, delta=0.05, shown=True) is None
    point = recall_at_false_alarms([0.1] * 408, [], rate=0.01, delta=0.05, shown=True)
    assert (point.recall_lower, point.recall_upper) == (0.0, 1.0)
    assert point.false_alarm_upper <= 0.01


@pytest.mark.parametrize(
    ("rate", "delta", "scores"), [(0.0, 0.05, [0.5]), (0.01, 1.0, [0.5]), (0.01, 0.05, [math.nan])]
)
def test_wrong_arguments(rate, delta, scores):
    for harmless, harmful in itertools.permutations([scores, [0.5]]):
        with pytest.raises(CertificationError):
            recall_at_false_alarms(harmless, harmful, rate=rate, delta=delta)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
    st.lists(st.floats(0, 1), max_size=60),
    st.sampled_from([0.01, 0.1, 0.5]),
)
def test_a_higher_rate_finds_no_less(harmless, harmful, rate):
    low = recall_at_false_alarms(harmless, harmful, rate=rate, delta=0.05)
    high = recall_at_false_alarms(harmless, harmful, rate=rate * 1.9, delta=0.05)
    assert low.found <= high.found
    assert low.threshold >= high.threshold
