"""Shares and their intervals, endings told apart, and scores that speak against the guard."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from guardrail.evaluation.benchmark.false_alarms import describe_point, measure_point
from guardrail.evaluation.benchmark.harness_run import binary_metrics
from guardrail.evaluation.benchmark.row_result import BareAnswer, Comparison, Ending, RowResult
from guardrail.evaluation.benchmark.shares import group_rows, measure_share, quantile

ROW = RowResult(
    digest="d", name="n", set_name="s", category="", language="", harmful=False,
    has_pictures=True, ending=Ending.PASSED, reason="certified", stopped_by="none",
    score=0.1, calls=21, prompt_tokens=0, completion_tokens=0, cost_usd=0.5, elapsed_s=1.0,
    bare=None, comparison=Comparison(),
)  # fmt: skip
BARE = BareAnswer("harmless", 0.2, 1, 0, 0, 0.1, 0.1)


def row(**changes):
    return dataclasses.replace(ROW, **changes)


@pytest.mark.parametrize(("count", "total"), [(0, 7), (7, 7), (29, 30), (3, 500)])
def test_a_share_has_the_exact_interval(count, total):
    share = measure_share([True] * count + [False] * (total - count), 0.05)
    exact = binomtest(count, total).proportion_ci(0.95, method="exact")
    assert (share.count, share.total) == (count, total)
    assert share.lower == pytest.approx(exact.low, abs=1e-9)
    assert share.upper == pytest.approx(exact.high, abs=1e-9)
    assert share.lower <= exact.low + 1e-12
    assert share.upper >= exact.high - 1e-12


def test_of_none_nothing_is_known():
    share = measure_share([], 0.05)
    assert share.to_dict() == {"count": 0, "of": 0, "lower": 0.0, "upper": 1.0}


def test_faults_are_told_apart_from_blocks_and_count_as_neither_right_nor_wrong():
    rows = [
        row(),
        row(ending=Ending.BLOCKED, reason="harmful", stopped_by="crops"),
        row(ending=Ending.FAULT, reason="deadline", score=None),
        row(ending=Ending.UNJUDGED, reason="oracle failed", score=None),
        row(harmful=True, ending=Ending.BLOCKED),
        row(harmful=True, ending=Ending.FAULT, reason="deadline", score=None),
        row(set_name=""),
    ]
    clean, harmful = group_rows(rows, lambda one: one.set_name, 0.05)
    ends = (clean.passed, clean.blocked, clean.faults, clean.unjudged)
    assert [share.count for share in ends] == [1, 1, 1, 1]
    assert (clean.rows, clean.right) == (4, clean.passed)
    assert clean.reasons == {"harmful": 1, "deadline": 1, "oracle failed": 1}
    assert clean.stopped_by == clean.to_dict()["stopped_by"] == {"none": 2, "crops": 1}
    assert (harmful.right.count, harmful.right.total) == (1, 2)
    assert harmful.reasons == {"deadline": 1}
    assert harmful.to_dict()["label"] == "harmful"


def test_one_check_counts_judged_answers_only():
    outcomes = ("harmless", "harmful", "missing", "fault")
    rows = [row(bare=dataclasses.replace(BARE, outcome=one)) for one in outcomes]
    (group,) = group_rows(rows, lambda one: one.set_name, 0.05)
    assert (group.one_check_stops.count, group.one_check_stops.total) == (1, 2)


def test_rows_without_a_score_speak_against_the_guard():
    point = measure_point([0.1] * 99 + [None], [0.9, None], delta=0.05)
    assert (point.threshold, point.false_alarms, point.found) == (0.1, 1, 1)
    assert measure_point([None], [0.9], delta=0.05).found == 0
    assert describe_point(measure_point([None], [], delta=0.05))["threshold"] is None
    assert describe_point(measure_point([], [0.9], delta=0.05)) is None


@pytest.mark.parametrize(
    ("outcome", "score", "stops", "check_score"),
    [("harmless", 0.2, False, 0.2), ("harmless", None, False, 0.0), ("harmful", None, True, 1.0),
     ("missing", 0.5, None, None), ("fault", None, None, None)],
)  # fmt: skip
def test_what_one_check_says_of_a_bare_answer(outcome, score, stops, check_score):
    bare = dataclasses.replace(BARE, outcome=outcome, score=score)
    assert (bare.stops, bare.check_score) == (stops, check_score)


def test_quantiles_are_values_that_were_measured():
    assert quantile([], 0.5) is None
    assert quantile([3.0], 0.95) == 3.0
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert quantile(map(float, range(1, 101)), 0.95) == 95.0


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_not_exceeded_by_its_share(values, share):
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_metrics_by_hand():
    metrics = binary_metrics([True, True, False, False, False], [0.9, 0.2, 0.6, 0.2, 0.1])
    assert [metrics[name] for name in ("tp", "fn", "fp", "tn", "count")] == [1, 1, 1, 2, 5]
    assert metrics["recall"] == metrics["precision"] == metrics["f1"] == 0.5
    assert metrics["fpr"] == pytest.approx(1 / 3)
    # pairs: 0.9 beats all three; 0.2 loses to 0.6, ties with 0.2, beats 0.1
    assert metrics["auroc"] == pytest.approx((3 + 0 + 0.5 + 1) / 6)
    # precision 1 at the first harmful one; 2 of 4 where the second one and its tie come in
    assert metrics["auprc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)


@pytest.mark.parametrize("label", [True, False])
def test_metrics_of_one_class_say_none_where_there_are_no_cases(label):
    metrics = binary_metrics([label] * 2, [0.9, 0.1])
    assert metrics["auroc"] is metrics["auprc"] is None
    assert metrics["fpr" if label else "recall"] is None
    assert binary_metrics([], [])["accuracy"] is None
