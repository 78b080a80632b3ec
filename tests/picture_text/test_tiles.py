"""Every pixel stands in a tile, at every resolution; letters of any size stand whole in one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.picture_text import tiles
from guardrail.picture_text.tiles import OVERLAP_PX, TILE_PX, count_tiles, cut_levels

SIDES = st.integers(1, 3 * TILE_PX)


@given(SIDES, SIDES)
def test_as_many_tiles_as_announced_and_none_too_large(height, width):
    pixels = np.zeros((height, width, 3), np.uint8)
    levels = list(cut_levels(pixels))
    assert sum(map(len, levels)) == count_tiles(height, width)
    assert all(max(tile.shape[:2]) <= TILE_PX for level in levels for tile in level)
    assert len(levels[-1]) == 1


@given(st.integers(TILE_PX + 1, 5 * TILE_PX))
def test_tiles_cover_a_side_and_overlap(size):
    spans = tiles._spans(size)
    assert (spans[0][0], spans[-1][1]) == (0, size)
    for (_, end), (begin, _) in pairwise(spans):
        assert end - begin >= OVERLAP_PX - 1


def test_native_pixels_come_first_and_unchanged():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    ((tile,),) = cut_levels(pixels)
    assert np.array_equal(tile, pixels)


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (1, 1)])
def test_halving_takes_means_and_doubles_odd_edges(shape):
    pixels = np.full((*shape, 3), 200, np.uint8)
    half = tiles._halve(pixels)
    assert half.shape == ((shape[0] + 1) // 2, (shape[1] + 1) // 2, 3)
    assert (half == 200).all()
    assert tiles._halve(np.array([[[0] * 3, [255] * 3]], np.uint8)).tolist() == [[[128] * 3]]
