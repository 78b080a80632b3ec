"""What views show in place of the picture: a function of what is left of it and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.images import fills
from guardrail.images.covers import Box, masks, windows
from guardrail.images.fills import cut_window, fill_masked


def slow_fill(picture, box):
    """The same, pixel by pixel."""
    height, width = picture.shape[:2]
    top, left, bottom, right = box.top, box.left, box.top + box.height, box.left + box.width
    filled = picture.copy()
    for y in range(top, bottom):
        for x in range(left, right):
            met = [
                (picture[max(0, top - 3) : top, x], y - top + 1),
                (picture[bottom : bottom + 3, x], bottom - y),
                (picture[y, max(0, left - 3) : left], x - left + 1),
                (picture[y, right : right + 3], right - x),
            ]
            there = [(rim.mean(axis=0), 1 / far**2) for rim, far in met if len(rim)]
            mean = sum(rim * near for rim, near in there) / sum(near for _, near in there)
            filled[y, x] = np.rint(mean)
    assert filled.shape == (height, width, 3)
    return filled


def draw_case(data):
    height, width = data.draw(st.integers(4, 20)), data.draw(st.integers(4, 20))
    boxes = masks(height, width, count=data.draw(st.sampled_from((4, 9))), max_share=0.05)
    box = data.draw(st.sampled_from(boxes))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    return random, random.integers(0, 256, (height, width, 3), dtype=np.uint8), box


@given(st.data())
def test_what_stands_under_a_mask_changes_nothing(data):
    random, picture, box = draw_case(data)
    changed = picture.copy()
    changed[box.area] = random.integers(0, 256, (box.height, box.width, 3), dtype=np.uint8)
    filled = fill_masked(picture, box)
    assert np.array_equal(filled, fill_masked(changed, box))
    outside = np.ones(picture.shape[:2], dtype=bool)
    outside[box.area] = False
    assert np.array_equal(filled[outside], picture[outside])


@given(st.data())
def test_a_pixel_is_the_mean_of_the_rims_that_it_would_meet(data):
    _, picture, box = draw_case(data)
    apart = np.abs(fill_masked(picture, box).astype(int) - slow_fill(picture, box))
    assert apart.max() <= 1  # where the mean lies at a half


def test_one_colour_stays_one_colour():
    picture = np.full((9, 12, 3), (7, 130, 255), dtype=np.uint8)
    for box in (Box(0, 0, 4, 4), Box(5, 8, 4, 4), Box(3, 4, 3, 3), Box(0, 3, 9, 4)):
        assert np.array_equal(fill_masked(picture, box), picture)


def test_a_gradient_is_carried_on():
    picture = np.repeat(np.arange(0, 200, 5, dtype=np.uint8)[:, None], 40, axis=1)
    picture = np.repeat(picture[:, :, None], 3, axis=2)
    apart = np.abs(fill_masked(picture, Box(10, 10, 12, 12)).astype(int) - picture)
    assert apart.max() <= 25


@pytest.mark.parametrize("block", [1, 3, 64])
def test_blocks_of_rows_make_no_difference(monkeypatch, block):
    picture = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    whole = fill_masked(picture, Box(3, 2, 25, 9))
    monkeypatch.setattr(fills, "_BLOCK", block)
    assert np.array_equal(fill_masked(picture, Box(3, 2, 25, 9)), whole)


@given(st.data())
def test_what_stands_outside_a_window_changes_nothing(data):
    height, width = data.draw(st.integers(4, 40)), data.draw(st.integers(4, 40))
    count = data.draw(st.sampled_from((4, 9, 16)))
    box = data.draw(st.sampled_from(windows(height, width, count=count, sees=3)))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    picture = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    changed = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    changed[box.area] = picture[box.area]
    cut = cut_window(picture, box)
    assert np.array_equal(cut, cut_window(changed, box))
    above, left = min(box.height // 5, box.top), min(box.width // 5, box.left)
    below = min(box.height // 5, height - box.top - box.height)
    beside = min(box.width // 5, width - box.left - box.width)
    assert cut.shape == (above + box.height + below, left + box.width + beside, 3)
    inner = cut[above : above + box.height, left : left + box.width]
    assert np.array_equal(inner, picture[box.area])
    # The rim is the window's edge, whose corner stands in its corners.
    assert np.all(cut[:above, left : left + box.width] == inner[0])
    assert np.all(cut[above + box.height :, :left] == inner[-1, 0])
