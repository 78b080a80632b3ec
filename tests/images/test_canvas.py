"""The canvas: the resize's matrix and norm against a dense SVD, margins, exactness and slack."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guardrail.errors import ConfigError
from guardrail.images import canvas
from guardrail.images.canvas import CanvasOperator, canvas_for, combined_norm, combined_slack
from guardrail.images.grid import STEPS_PER_LEVEL, STEPS_PER_UNIT

SIDES = st.integers(1, 14)


@st.composite
def operators(draw):
    """Canvases with and without a resize, with and without margins."""
    most = draw(st.one_of(st.none(), st.integers(1, 14)))
    least = draw(st.integers(1, most or 14))
    return canvas_for(draw(SIDES), draw(SIDES), max_side_px=most, min_side_px=least)


@st.composite
def operators_and_pictures(draw, pictures=1):
    operator = draw(operators())
    shape = (*operator.source_size, 3)
    return operator, *(draw(arrays(np.uint8, shape)) for _ in range(pictures))


def factor(inputs, outputs):
    """The dense one-dimensional matrix, from the definition and in fractions."""
    cell = Fraction(inputs, outputs)
    matrix = np.zeros((outputs, inputs), dtype=object)
    for i in range(outputs):
        for j in range(inputs):
            overlap = min((i + 1) * cell, Fraction(j + 1)) - max(i * cell, Fraction(j))
            matrix[i, j] = max(overlap, Fraction(0)) / cell
    return matrix


def dense(operator):
    """A as one matrix on flattened single-channel pictures."""
    rows = factor(operator.source_size[0], operator.scaled_size[0])
    columns = factor(operator.source_size[1], operator.scaled_size[1])
    return np.kron(rows, columns)


def padded(operator, scaled, white):
    """The scaled picture in the middle of a white canvas; what is left over goes below, right."""
    canvas = np.full((*operator.size, 3), white, dtype=scaled.dtype)
    top, left = [(to - of) // 2 for to, of in zip(operator.size, operator.scaled_size, strict=True)]
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return canvas


def exact_canvas(operator, pixels):
    flat = pixels.reshape(-1, 3).astype(object)
    scaled = (dense(operator) @ flat).reshape(*operator.scaled_size, 3)
    return padded(operator, scaled, 255)


@settings(max_examples=60, deadline=None)
@given(operators())
def test_norm_is_that_of_the_dense_operator_and_rounded_up(operator):
    largest = np.linalg.svd(dense(operator).astype(float), compute_uv=False)[0]
    assert operator.operator_norm == pytest.approx(largest, rel=1e-12)
    squared = Fraction(operator.operator_norm) ** 2
    assert squared >= Fraction(math.prod(operator.scaled_size), math.prod(operator.source_size))
    assert operator.operator_norm <= 1


@settings(max_examples=40, deadline=None)
@given(operators())
def test_norm_proof_holds_row_and_column_sums(operator):
    matrix = dense(operator)
    ratio = Fraction(math.prod(operator.scaled_size), math.prod(operator.source_size))
    assert (matrix.sum(axis=1) == 1).all()
    assert (matrix.sum(axis=0) == ratio).all()
    assert (matrix >= 0).all()


@pytest.mark.parametrize("factor_px", [2, 3, 4, 8])
def test_box_downsampling_by_k_has_norm_one_over_k(factor_px):
    operator = canvas_for(24 * factor_px, 16 * factor_px, max_side_px=24)
    assert operator.size == (24, 16)
    assert operator.operator_norm == pytest.approx(1 / factor_px, rel=1e-15)


@pytest.mark.parametrize("side", [1, 7, 224, 4000])
def test_without_resize_norm_is_one_and_pixels_are_exact(side):
    operator = canvas_for(side, 3, max_side_px=max(side, 3))
    assert not operator.resized
    assert operator.operator_norm == 1.0
    assert operator.grid_slack == 0.0
    pixels = np.arange(side * 9, dtype=np.uint8).reshape(side, 3, 3)
    assert (operator.apply(pixels) == pixels.astype(np.int64) * STEPS_PER_LEVEL).all()


@pytest.mark.nightly
@settings(max_examples=60, deadline=None)
@given(operators_and_pictures())
def test_apply_is_the_exact_product_rounded_once_to_the_grid(case):
    operator, pixels = case
    steps = exact_canvas(operator, pixels) * STEPS_PER_LEVEL
    expected = np.vectorize(lambda v: math.floor(v + Fraction(1, 2)), otypes=[np.int64])(steps)
    assert (operator.apply(pixels) == expected).all()


@settings(max_examples=60, deadline=None)
@given(operators_and_pictures(pictures=2))
def test_linear_up_to_the_rounding_of_each_term(case):
    operator, first, second = case
    first, second = first // 2, second // 2
    none = operator.apply(np.zeros_like(first)).astype(np.int64)  # the margins alone
    parts = operator.apply(first) + operator.apply(second) - none
    assert np.abs(operator.apply(first + second) - parts).max() <= 1


@settings(max_examples=80, deadline=None)
@given(operators_and_pictures(pictures=2))
def test_distances_never_grow_beyond_norm_and_slack(case):
    operator, first, second = case
    moved = operator.apply(first).astype(float) - operator.apply(second)
    client = np.linalg.norm((first.astype(float) - second) / 255)
    bound = operator.operator_norm * client + operator.grid_slack
    assert np.linalg.norm(moved) / STEPS_PER_UNIT <= bound * (1 + 1e-12)


def test_the_norm_is_attained():
    operator = canvas_for(11, 7, max_side_px=5)
    black, white = np.zeros((11, 7, 3), np.uint8), np.full((11, 7, 3), 255, np.uint8)
    moved = operator.apply(white).astype(float) - operator.apply(black)
    ratio = np.linalg.norm(moved / STEPS_PER_UNIT) / np.linalg.norm((white / 255) - black)
    assert ratio == pytest.approx(operator.operator_norm, rel=1e-12)


@settings(deadline=None)
@given(operators(), st.integers(0, 255))
def test_constant_pictures_stay_constant(operator, level):
    pixels = np.full((*operator.source_size, 3), level, dtype=np.uint8)
    scaled = np.full((*operator.scaled_size, 3), level * STEPS_PER_LEVEL)
    assert (operator.apply(pixels) == padded(operator, scaled, 255 * STEPS_PER_LEVEL)).all()


@given(st.integers(1, 6000), st.integers(1, 6000), st.integers(1, 600))
def test_fits_the_side_keeps_the_aspect_and_never_scales_up(height, width, side):
    operator = canvas_for(height, width, max_side_px=side)
    assert operator.size == operator.scaled_size
    rows, columns = operator.size
    assert max(rows, columns) == min(side, max(height, width))
    assert 1 <= rows <= height
    assert 1 <= columns <= width
    assert abs(rows - height * max(operator.size) / max(height, width)) <= 0.5 or rows == 1
    assert abs(columns - width * max(operator.size) / max(height, width)) <= 0.5 or columns == 1


@given(st.integers(1, 6000), st.integers(1, 6000), st.integers(28, 600))
def test_a_least_side_pads_what_the_resize_leaves_and_changes_nothing_else(height, width, side):
    plain = canvas_for(height, width, max_side_px=side)
    operator = canvas_for(height, width, max_side_px=side, min_side_px=28)
    assert operator.scaled_size == plain.size
    assert operator.size == tuple(max(28, side_px) for side_px in plain.size)
    assert operator.operator_norm == plain.operator_norm
    assert operator.grid_slack == plain.grid_slack
    assert operator.values >= plain.values


def test_a_thin_picture_is_padded_and_never_stretched():
    operator = canvas_for(10, 3000, max_side_px=224, min_side_px=28)
    assert operator == CanvasOperator((10, 3000), (1, 224), (28, 224))
    assert operator.operator_norm == pytest.approx(math.sqrt(224 / 30_000))
    pixels = np.random.default_rng(5).integers(0, 256, (10, 3000, 3), dtype=np.uint8)
    grid = operator.apply(pixels)
    plain = canvas_for(10, 3000, max_side_px=224).apply(pixels)
    assert (grid[13] == plain[0]).all()
    white = np.delete(grid, 13, axis=0)
    assert (white == 255 * STEPS_PER_LEVEL).all()


def test_a_tiny_picture_keeps_its_pixels_and_a_norm_of_one():
    operator = canvas_for(5, 6, max_side_px=None, min_side_px=28)
    assert (operator.size, operator.operator_norm, operator.grid_slack) == ((28, 28), 1.0, 0.0)
    assert operator.values == 28 * 28 * 3
    pixels = np.random.default_rng(5).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    grid = operator.apply(pixels)
    assert (grid[11:16, 11:17] == pixels.astype(np.int64) * STEPS_PER_LEVEL).all()


def test_no_side_means_no_resize():
    same = (5000, 3)
    assert canvas_for(*same, max_side_px=None) == CanvasOperator(same, same, same)


def test_large_sides_neither_overflow_nor_lose_exactness():
    pixels = np.full((4000, 4001, 3), 255, dtype=np.uint8)
    operator = canvas_for(4000, 4001, max_side_px=336)
    assert (operator.apply(pixels) == STEPS_PER_UNIT).all()
    assert operator.operator_norm == pytest.approx(336 / 4000.5, rel=1e-3)


def test_result_is_contiguous_so_that_noise_need_not_copy_it():
    grid = canvas_for(20, 30, max_side_px=7).apply(np.zeros((20, 30, 3), np.uint8))
    assert grid.flags.c_contiguous
    assert grid.dtype == np.int32


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4, 3)), np.zeros((5, 4), np.uint8)]
)
def test_pixels_of_another_shape_or_type_are_refused(pixels):
    with pytest.raises(ValueError, match="this canvas takes uint8 pixels"):
        canvas_for(5, 4, max_side_px=2).apply(pixels)


@pytest.mark.parametrize("side", [0, -1])
def test_a_canvas_without_pixels_is_a_configuration_error(side):
    with pytest.raises(ConfigError, match="max_side_px"):
        canvas_for(5, 4, max_side_px=side)


@pytest.mark.parametrize(("most", "least"), [(27, 28), (None, 0), (8, -1)])
def test_a_least_side_beyond_the_longest_is_a_configuration_error(most, least):
    with pytest.raises(ConfigError, match="min_side_px"):
        canvas_for(5, 4, max_side_px=most, min_side_px=least)


@settings(deadline=None)
@given(st.lists(operators(), min_size=1, max_size=4))
def test_several_pictures_combine_as_a_block_diagonal_operator(members):
    assert combined_norm(members) == max(one.operator_norm for one in members)
    together = math.hypot(*(one.grid_slack for one in members))
    assert combined_slack(members) == pytest.approx(together, rel=1e-12)
    assert combined_slack(members) >= max(one.grid_slack for one in members)


def test_slack_is_the_documented_formula_and_rounded_up():
    operator = canvas_for(1024, 1024, max_side_px=224)
    exact_square = Fraction(224 * 224 * 3, STEPS_PER_UNIT**2)
    assert Fraction(operator.grid_slack) ** 2 >= exact_square
    assert operator.grid_slack == pytest.approx(math.sqrt(224 * 224 * 3) / (255 * 2**16))


def test_matrices_are_cached_in_a_bounded_store():
    information = canvas._overlaps.cache_info()
    assert information.maxsize is not None
    canvas_for(50, 50, max_side_px=10).apply(np.zeros((50, 50, 3), np.uint8))
    before = canvas._overlaps.cache_info().hits
    canvas_for(50, 50, max_side_px=10).apply(np.zeros((50, 50, 3), np.uint8))
    assert canvas._overlaps.cache_info().hits > before


@pytest.mark.parametrize("size", [(2902, 2901), (2902, 2902)])
def test_sums_on_both_sides_of_32_bits_are_exact(size):
    """255 times the pixels of the first picture fits 32 bits, of the second it does not."""
    assert (255 * math.prod(size) < 2**31) is (size[0] != size[1])
    white = np.full((*size, 3), 255, np.uint8)
    canvas = canvas_for(*size, max_side_px=8).apply(white)
    assert (canvas == 255 * STEPS_PER_LEVEL).all()
