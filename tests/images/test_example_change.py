"""An example change is of whole levels, never larger than it may be, and as large as it can be."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.images.example_change import Pattern, apply_change, plan_change

sides = st.integers(1, 40)
radii = st.one_of(st.floats(0.0, 3.0), st.floats(0.0, 60.0), st.sampled_from([1 / 255, 2**-1074]))


def squared_difference(before, after):
    return int(((before.astype(np.int64) - after.astype(np.int64)) ** 2).sum())


@settings(max_examples=150, deadline=None)
@given(sides, sides, radii, st.sampled_from(list(Pattern)), st.integers(0, 9))
def test_the_size_is_the_one_that_is_said_and_at_most_the_radius(h, w, radius, pattern, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.choice([rng.integers(0, 256, (h, w, 3)), np.full((h, w, 3), 255)]).astype(np.uint8)
    change = plan_change(h, w, radius, pattern)
    bound = math.floor((Fraction(radius) * 255) ** 2)
    if bound == 0:
        assert change is None
        return
    changed = apply_change(pixels, change)
    squared = squared_difference(pixels, changed)
    assert squared == change.squared_levels <= bound
    assert (Fraction(change.size) * 255) ** 2 <= squared
    assert change.size <= radius
    assert change.size == pytest.approx(math.sqrt(squared) / 255, rel=1e-12)
    touched = (pixels != changed).sum()
    assert touched == change.changed_values
    assert np.abs(pixels.astype(int) - changed).max() == change.most_levels
    is_full = change.levels == 127 and change.raised == change.values
    assert is_full or bound - squared < 2 * change.levels + 1  # no value could change by one more


def test_the_example_of_the_docstring():
    change = plan_change(2, 2, 0.02, Pattern.SPREAD)
    assert (change.levels, change.raised, change.squared_levels) == (1, 4, 24)


def test_a_spot_is_a_square_in_the_middle_and_noise_has_both_signs():
    gray = np.full((40, 60, 3), 100, np.uint8)
    spot = apply_change(gray, plan_change(40, 60, 3.0, Pattern.SPOT)).astype(int) - 100
    rows, columns = np.nonzero(spot.any(axis=2))
    assert (np.ptp(rows), np.ptp(columns)) == (5, 5)  # 6 x 6 x 3 values of 64 levels fit, 7 x 7 not
    assert 17 <= rows.min() < rows.max() <= 22
    assert spot.min() == 0
    noise = apply_change(gray, plan_change(40, 60, 3.0, Pattern.SPREAD)).astype(int) - 100
    assert noise.min() < 0 < noise.max()
    assert abs(noise.mean()) < 0.5


def test_a_change_is_made_in_parts_as_it_would_be_at_once(monkeypatch):
    pixels = np.random.default_rng(1).integers(0, 256, (30, 7, 3)).astype(np.uint8)
    change = plan_change(30, 7, 0.05, Pattern.SPREAD)
    whole = squared_difference(pixels, apply_change(pixels, change))
    monkeypatch.setattr("guardrail.images.example_change._BLOCK_VALUES", 50)
    assert squared_difference(pixels, apply_change(pixels, change)) == whole
