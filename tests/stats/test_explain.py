"""A radius in words: every number says less than the radius allows, and not much less."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats.explain import explain_radius

radii = st.just(0.0) | st.floats(1e-9, 500.0)
sides = st.integers(1, 400)


@given(radii, sides, sides, st.sampled_from((1, 3, 4)))
def test_changes_that_are_called_covered_lie_within_the_radius(radius, width, height, channels):
    found = explain_radius(radius, width, height, channels=channels)
    values = width * height * channels
    assert math.sqrt(values) * found.linf_levels / 255 <= radius * (1 + 1e-15)
    assert math.sqrt(found.full_pixels * channels) <= radius
    assert math.sqrt(found.full_values) <= radius
    assert found.full_pixels <= width * height
    assert found.full_values <= values


@given(st.floats(0.01, 50.0), sides, sides)
def test_the_numbers_are_the_largest_ones(radius, width, height):
    found = explain_radius(radius, width, height)
    values = 3 * width * height
    if found.full_pixels < width * height:
        assert math.sqrt(3 * (found.full_pixels + 1)) > radius * (1 - 1e-12)
    if found.full_values < values:
        assert math.sqrt(found.full_values + 1) > radius * (1 - 1e-12)
    if found.rms_levels < 255:
        assert found.rms_levels == pytest.approx(255 * radius / math.sqrt(values))


def test_against_a_picture():
    """A change of the stated size, built and measured."""
    found = explain_radius(2.5, 64, 48)
    change = np.full((48, 64, 3), found.linf_levels / 255)
    assert np.linalg.norm(change) <= 2.5 * (1 + 1e-13)  # the norm itself is rounded
    spots = np.zeros((48, 64, 3))
    spots.reshape(-1, 3)[: found.full_pixels] = 1.0
    assert np.linalg.norm(spots) <= 2.5
    spots.reshape(-1, 3)[: found.full_pixels + 1] = 1.0
    assert np.linalg.norm(spots) > 2.5


def test_exact_squares_are_counted_fully_or_one_less():
    assert explain_radius(3.0, 10, 10).full_values in (8, 9)
    assert explain_radius(3.0, 10, 10).full_pixels in (2, 3)


def test_a_radius_larger_than_the_picture():
    found = explain_radius(1e6, 4, 4)
    assert (found.full_pixels, found.full_values, found.linf_levels) == (16, 48, 255.0)


def test_a_radius_of_nothing():
    found = explain_radius(0.0, 4, 4)
    assert (found.full_pixels, found.full_values, found.linf_levels) == (0, 0, 0.0)


def test_the_words():
    text = explain_radius(2.5, 224, 224).text
    assert "2.5" in text
    assert "224 × 224" in text
    assert "up to 2 pixels or 6 single colour values" in text
    assert "1.64 of 255 levels" in text
    assert "nothing is promised" in text
    assert "1 pixel or" in explain_radius(1.8, 224, 224).text


@pytest.mark.parametrize(
    ("radius", "words"),
    [
        (0.25, None),
        (0.999, None),
        (1.001, "up to 1 single colour value. "),
        (1.5, "up to 2 single colour values. "),
        (1.7321, "up to 1 pixel or 3 single colour values. "),
    ],
)
def test_large_changes_are_named_where_there_are_any(radius, words):
    text = explain_radius(radius, 64, 64).text
    assert ("however large" in text) is (words is not None)
    assert words is None or words in text


@pytest.mark.parametrize(
    ("radius", "width", "height", "channels", "word"),
    [
        (-1.0, 4, 4, 3, "radius"),
        (math.nan, 4, 4, 3, "radius"),
        (math.inf, 4, 4, 3, "radius"),
        (1.0, 0, 4, 3, "width_px"),
        (1.0, 4, 0, 3, "height_px"),
        (1.0, 4, 4, 0, "channels"),
        (1.0, 4.5, 4, 3, "width_px"),
    ],
)
def test_impossible_arguments_are_refused(radius, width, height, channels, word):
    with pytest.raises(CertificationError, match=word):
        explain_radius(radius, width, height, channels=channels)
