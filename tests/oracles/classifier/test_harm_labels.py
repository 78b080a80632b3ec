"""Which label decides, what it is called, and that a NaN is never lost."""

import math

import pytest

from guardrail.oracles.classifier.harm_labels import harmful_labels, harmless_label

KNOWN = ("toxic", "threat", "safe")


def test_the_worst_label_by_its_own_threshold_is_named():
    labels = harmful_labels({"toxic": 0.9, "threat": 0.2}, KNOWN, "labels")
    score = labels.score([0.8, 0.3, 0.0])
    assert score == pytest.approx(0.5625)
    assert score.category == "threat"


def test_the_complement_of_a_harmless_label_is_named_so():
    score = harmless_label("safe", KNOWN).score([0.0, 0.0, 0.3])
    assert score == pytest.approx(0.7)
    assert score.category == "not safe"


def test_a_nan_wins():
    labels = harmful_labels({"toxic": 0.5, "threat": 0.5}, KNOWN, "labels")
    assert math.isnan(labels.score([math.nan, 0.9, 0.0]))
    assert math.isnan(labels.score([0.9, math.nan, 0.0]))


def test_a_long_name_is_cut():
    name = "x" * 200
    assert len(harmful_labels({name: 0.5}, [name], "labels").score([0.9]).category) == 64


def test_names_leave_equality_and_digests_alone():
    one = harmful_labels({"toxic": 0.5}, KNOWN, "labels")
    other = harmful_labels({"hate": 0.5}, ("hate", "threat"), "labels")
    assert one == other
    assert repr(one) == repr(other)
