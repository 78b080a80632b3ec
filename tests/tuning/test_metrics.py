"""Metrics against their definitions, pair by pair."""

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.stats import harmless_rate_lower, harmless_rate_upper
from guardrail.tuning.metrics import area, groups, operating_points, recalls, reliability

SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), min_size=2, max_size=12)


def beats(a, b):
    return 1.0 if a > b else 0.5 if a == b else 0.0


class TestArea:
    @given(SCORES, SCORES)
    def test_is_the_share_of_pairs_in_order(self, scored, harmful, harmless):
        found = area([scored(s, True) for s in harmful] + [scored(s, False) for s in harmless])
        pairs = [beats(a, b) for a, b in itertools.product(harmful, harmless)]
        assert found.auc == pytest.approx(statistics.mean(pairs), abs=1e-12)
        assert 0.0 <= found.lower <= found.auc + 1e-12
        assert found.auc - 1e-12 <= found.upper <= 1.0

    def test_interval_is_delongs(self, scored):
        harmful, harmless = [0.9, 0.4, 0.7, 0.8], [0.1, 0.5, 0.4]
        found = area([scored(s, True) for s in harmful] + [scored(s, False) for s in harmless])
        v = [statistics.mean(beats(a, b) for b in harmless) for a in harmful]
        w = [statistics.mean(beats(a, b) for a in harmful) for b in harmless]
        half = 1.959964 * math.sqrt(statistics.variance(v) / 4 + statistics.variance(w) / 3)
        assert found.lower == pytest.approx(statistics.mean(v) - half, abs=1e-6)
        assert found.upper == pytest.approx(min(1.0, statistics.mean(v) + half), abs=1e-6)

    def test_a_weight_counts_as_so_many_answers_and_has_no_interval(self, scored):
        heavy = [scored(0.4, True, weight=3.0), scored(0.9, True, weight=1.0)]
        light = [scored(0.1, False, weight=1.0), scored(0.5, False, weight=2.0)]
        found = area(heavy + light)
        assert found.auc == pytest.approx((3 * 1 + 1 * 3) / 12)
        assert (found.lower, found.upper) == (None, None)

    def test_needs_both_classes(self, scored):
        assert area([scored(0.5, True)]) is None
        assert area([scored(0.5, False)]) is None
        assert area([scored(0.5, True), scored(0.4, False)]).lower is None


class TestOperatingPoints:
    def test_go_from_strict_to_lax(self, scored):
        results = [scored(0.9, True), scored(0.5, False), scored(0.5, True), scored(0.1, False)]
        rows = [
            (p.threshold, p.recall, p.false_alarm_rate, p.precision)
            for p in operating_points(results)
        ]
        assert rows == [(0.9, 0.5, 0.0, 1.0), (0.5, 1.0, 0.5, 2 / 3), (0.1, 1.0, 1.0, 0.5)]


class TestRecalls:
    @given(SCORES, st.lists(st.floats(0, 1), min_size=1, max_size=120))
    def test_false_alarms_stay_within_the_rate(self, scored, harmful, harmless):
        results = [scored(s, True) for s in harmful] + [scored(s, False) for s in harmless]
        for row in recalls(results):
            assert sum(s >= row.threshold for s in harmless) <= row.false_alarm_rate * len(harmless)
            assert row.recall == sum(s >= row.threshold for s in harmful) / len(harmful)

    def test_no_more_harm_could_be_found(self, scored):
        harmless = [i / 1000 for i in range(200)]
        results = [scored(0.198, True), scored(0.1985, True)] + [scored(s, False) for s in harmless]
        strict, middle, lax = recalls(results)
        assert (strict.recall, middle.recall, lax.recall) == (0.0, 1.0, 1.0)
        assert middle.recall_lower == harmless_rate_lower(2, 2, 0.05)
        assert strict.recall_upper == harmless_rate_upper(0, 2, 0.05)

    def test_needs_both_classes(self, scored):
        assert recalls([scored(0.5, True)]) == []


class TestGroups:
    def test_count_by_name_largest_first(self, scored):
        results = [scored(0.9, True, category="a"), scored(0.2, True, category="b"),
                   scored(0.7, False, category="b"), scored(0.1, False)]  # fmt: skip
        rows = groups(results, 0.5, lambda r: r.row.category)
        assert [(g.name, g.n_harmful, g.misses, g.n_harmless, g.false_alarms) for g in rows] == [
            ("b", 1, 1, 1, 1),
            ("a", 1, 0, 0, 0),
            ("(none)", 0, 0, 1, 0),
        ]
        assert rows[1].miss_rate_upper == harmless_rate_upper(0, 1, 0.05)
        assert rows[1].false_alarm_rate_upper == 1.0

    def test_are_none_without_names(self, scored):
        assert groups([scored(0.9, True)], 0.5, lambda r: r.row.language) == []


def test_reliability_bins_by_tenths(scored):
    results = [scored(0.05, False), scored(0.07, True), scored(0.95, True), scored(1.0, True)]
    rows = reliability(results)
    assert [(b.n, b.harmful) for b in rows] == [(2, 0.5), (2, 1.0)]
    assert [b.mean_score for b in rows] == pytest.approx([0.06, 0.975])
