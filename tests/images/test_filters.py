"""Filters are functions of the noisy picture alone, and do what they are called."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import median_filter

from guardrail.errors import CertificationError, ConfigError
from guardrail.images.filters import PictureFilter, average_area, mean_after_clip, median

pictures = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda size: arrays(np.uint8, (*size, 3))
)
filters = st.one_of(
    st.sampled_from([3, 5]).map(lambda window: lambda noisy: median(noisy, window)),
    st.tuples(st.integers(2, 12), st.floats(0.05, 4.0)).map(
        lambda one: (
            lambda noisy: average_area(noisy, sigma=one[1], max_side_px=one[0], min_side_px=2)
        )
    ),
)


@given(filters, pictures, pictures)
def test_a_filter_is_a_function_of_the_picture_alone(apply, picture, other):
    before = picture.copy()
    first = apply(picture)
    apply(other)
    assert np.array_equal(apply(np.asfortranarray(picture)), first)
    assert np.array_equal(picture, before)
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3


@given(pictures, st.sampled_from([3, 5]))
def test_the_median_is_that_of_scipy(picture, window):
    expected = median_filter(picture, size=(window, window, 1), mode="nearest")
    assert np.array_equal(median(picture, window), expected)


def test_the_median_is_the_same_across_blocks():
    picture = np.random.default_rng(1).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    expected = median_filter(picture, size=(5, 5, 1), mode="nearest")
    assert np.array_equal(median(picture, 5), expected)


@given(pictures, st.floats(0.05, 4.0), st.integers(2, 12))
def test_area_averages_keep_sides_in_range(picture, sigma, most):
    shown = average_area(picture, sigma=sigma, max_side_px=most, min_side_px=2)
    assert min(shown.shape[:2]) >= 2
    assert max(shown.shape[:2]) == max(2, min(most, max(picture.shape[:2])))


@given(st.floats(0.05, 4.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_mean_after_clipping_grows_and_stays_inside(sigma, x, y):
    low, high = mean_after_clip(np.sort(np.array([x, y])), sigma)
    assert 0.0 <= low <= high <= 1.0


@pytest.mark.parametrize("sigma", [0.25, 1.0])
def test_the_mean_after_clipping_is_that_of_noise(sigma):
    noise = np.random.default_rng(3).standard_normal(200_000)
    for x in (0.0, 0.2, 0.9):
        drawn = np.clip(x + sigma * noise, 0.0, 1.0).mean()
        assert mean_after_clip(np.array([x]), sigma)[0] == pytest.approx(drawn, abs=0.004)


@pytest.mark.parametrize("level", [0, 40, 128, 250])
def test_the_contrast_comes_back(level):
    """An even picture under noise of sigma 1, averaged to 4 x 4 px: within a few levels."""
    noise = np.random.default_rng(4).standard_normal((400, 400, 3))
    noisy = np.clip(np.rint(level + 255 * noise), 0, 255).astype(np.uint8)
    shown = average_area(noisy, sigma=1.0, max_side_px=4, min_side_px=1)
    assert np.abs(shown.astype(int) - level).max() <= 12


def test_white_margins_stay_white():
    shown = average_area(
        np.full((40, 4, 3), 255, np.uint8), sigma=0.5, max_side_px=20, min_side_px=10
    )
    assert shown.shape == (20, 10, 3)
    assert (shown == 255).all()


# A filter of the user's own


def flip(noisy):
    return noisy[:, ::-1]


def test_a_filter_of_ones_own_is_applied_and_named():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    mine = PictureFilter(flip, "flip", "1")
    shown = mine.apply(picture)
    assert np.array_equal(shown, picture[:, ::-1])
    assert shown.flags.c_contiguous
    assert mine.label == "custom: flip, revision 1"


@pytest.mark.parametrize(
    "result",
    [
        None,
        "a picture",
        np.zeros((2, 2, 3)),
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros((1, 8193, 3), np.uint8),
    ],
    ids=str,
)
def test_what_is_no_picture_is_a_fault(result):
    mine = PictureFilter(lambda _noisy: result, "mine", "1")
    with pytest.raises(CertificationError, match="the filter 'mine' returned no uint8 array"):
        mine.apply(np.zeros((2, 2, 3), np.uint8))


def test_a_crash_is_a_fault_that_quotes_nothing():
    def crash(_noisy):
        raise ValueError("pixel 17")

    with pytest.raises(CertificationError, match=r"failed \(ValueError\)") as caught:
        PictureFilter(crash, "mine", "1").apply(np.zeros((2, 2, 3), np.uint8))
    assert "17" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " mine", "mi\nne", "m" * 81, 3, None])
@pytest.mark.parametrize("field", ["name", "revision"])
def test_names_must_be_printable(field, text):
    with pytest.raises(ConfigError) as caught:
        PictureFilter(flip, **{"name": "mine", "revision": "1", field: text})
    assert caught.value.field == f"denoise.{field}"


def test_a_filter_must_be_a_function():
    with pytest.raises(ConfigError, match="must be a function"):
        PictureFilter("median", "mine", "1")
