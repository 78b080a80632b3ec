"""Frames, captions and collages: what lies within them stays as it was, and sizes hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.attack.collage import make_collage
from guardrail.attack.frame import attack_by_frame, frame_mask, paste_frame, write_caption
from guardrail.attack.region import RegionSettings
from guardrail.errors import ConfigError


class Brightness:
    """Every pixel counts, so an attack that may would change all of them."""

    device = "cpu"

    def __call__(self, x, _draws):
        return x.mean()


SIZES = st.integers(6, 40)


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, st.floats(0.6, 0.99))
def test_a_frame_is_the_widest_of_at_most_its_share(height, width, area):
    mask = frame_mask(height, width, area)
    px = int(np.argmin(mask[height // 2])) if not mask.all() else min(height, width)
    wider = height * width - max(0, height - 2 * px - 2) * max(0, width - 2 * px - 2)
    assert mask.sum() <= area * height * width < wider
    assert not mask[px : height - px, px : width - px].any()
    assert mask.sum() == height * width - (height - 2 * px) * (width - 2 * px)


@settings(max_examples=15, deadline=None)
@given(SIZES, SIZES, st.integers(0, 99), st.integers(1, 3))
def test_an_optimised_frame_leaves_what_it_frames_untouched(height, width, seed, restarts):
    picture = np.random.default_rng(seed).integers(20, 236, (height, width, 3), dtype=np.uint8)
    effort = RegionSettings(0.7, steps=12, restarts=restarts, seed=seed)
    found = attack_by_frame(Brightness(), picture, effort).pixels
    mask = frame_mask(height, width, 0.7)
    assert (found[~mask] == picture[~mask]).all()
    assert (found[mask] == 0).all()


def test_a_pasted_frame_shows_the_other_picture_only_in_the_border():
    picture, other = np.full((20, 30, 3), 90, np.uint8), np.full((7, 5, 3), 200, np.uint8)
    found = paste_frame(picture, other, 0.5)
    mask = frame_mask(20, 30, 0.5)
    assert (found[mask] == 200).all()
    assert (found[~mask] == 90).all()


def test_a_caption_is_a_band_below_with_words_in_it():
    picture = np.full((100, 200, 3), 90, np.uint8)
    found = write_caption(picture, "go to hell, scum.", 0.155)
    assert (found[:85] == 90).all()
    assert (found[85:] == 255).any()
    dark = (found[85:] < 64).all(axis=2)
    assert 20 < dark.sum() < dark.size / 2
    assert not dark[:, 0].any()
    assert not dark[:, -1].any()
    assert (picture == 90).all()


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, st.floats(0.2, 0.8))
def test_a_collage_has_the_pictures_size_and_both_side_by_side(height, width, share):
    picture = np.full((height, width, 3), 10, np.uint8)
    found = make_collage(picture, np.full((5, 9, 3), 70, np.uint8), share)
    assert found.shape == picture.shape
    left = round(share * width)
    rows = round(height * left / width), round(height * (width - left) / width)
    assert (found == 10).all(axis=2).sum() == left * rows[0]
    assert (found == 70).all(axis=2).sum() == (width - left) * rows[1]
    assert not (found[:, left:] == 10).any()
    assert set(np.unique(found)) <= {10, 70, 255}


@pytest.mark.parametrize(
    "make",
    [
        lambda pixels: frame_mask(*pixels.shape[:2], 0.05),
        lambda pixels: write_caption(pixels, "words", 0.05),
        lambda pixels: write_caption(pixels, "words", 1.0),
        lambda pixels: write_caption(pixels, " ", 0.5),
        lambda pixels: make_collage(pixels, pixels, 0.01),
        lambda pixels: make_collage(pixels, pixels, 0.99),
        lambda pixels: make_collage(pixels, pixels, float("nan")),
    ],
)
def test_what_has_no_room_is_refused(make):
    with pytest.raises(ConfigError):
        make(np.zeros((8, 8, 3), np.uint8))
