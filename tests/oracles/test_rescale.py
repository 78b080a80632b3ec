"""Bending scores to one threshold keeps their order and never hides a NaN."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.oracles.rescale import rescale, worse

SCORES = st.floats(0, 1)
THRESHOLDS = st.floats(0.001, 0.999)


@given(SCORES, THRESHOLDS)
def test_the_threshold_becomes_one_half(score, threshold):
    if score >= threshold:
        assert rescale(score, threshold) >= 0.5
    elif score < threshold * (1 - 1e-12):  # nearer than this, rounding may only make it harmful
        assert rescale(score, threshold) < 0.5
    assert 0.0 <= rescale(score, threshold) <= 1.0


@given(SCORES, SCORES, THRESHOLDS)
def test_the_order_stays(first, second, threshold):
    low, high = sorted((first, second))
    assert rescale(low, threshold) <= rescale(high, threshold)


@given(THRESHOLDS)
def test_the_ends_stay(threshold):
    assert (rescale(0.0, threshold), rescale(1.0, threshold)) == (0.0, pytest.approx(1.0))


@given(SCORES)
def test_nan_wins(score):
    assert math.isnan(worse(score, math.nan))
    assert math.isnan(worse(math.nan, score))
    assert math.isnan(rescale(math.nan, 0.3))


@given(SCORES, SCORES)
def test_else_the_larger_wins(first, second):
    assert worse(first, second) == max(first, second)
