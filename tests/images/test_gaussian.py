"""The noise law: inversion to the last bit, its distance from exact, translation on the grid."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.images.gaussian import (
    SIGMA_MAX,
    add_noise,
    noise_steps,
    quantile,
    total_variation_upper,
)
from guardrail.images.grid import STEPS_PER_LEVEL, STEPS_PER_UNIT, round_to_levels

WHOLE = 2**64
SIGMAS = st.floats(0.001, SIGMA_MAX)
GRID_VALUES = st.integers(0, STEPS_PER_UNIT)


class Fixed:
    """Uniforms that are given, and that count how many values asked for all bits."""

    state = None

    def __init__(self, integers):
        self.u = np.asarray(integers, dtype=np.uint64)
        self.asked = 0

    def leading(self, count):
        return (self.u[:count] >> np.uint64(48)).astype(np.uint16)

    def trailing(self, positions):
        self.asked += len(positions)
        return self.u[positions] & np.uint64(2**48 - 1)


def levels_of(grid, sigma, u):
    """The definition before the clip: every value with all 64 bits."""
    return round_to_levels(
        np.asarray(grid, np.int32) + noise_steps(np.asarray(u, np.uint64), sigma)
    )


def all_bits(grid, sigma, u):
    """The definition: every value with all 64 bits."""
    return np.clip(levels_of(grid, sigma, u), 0, 255)


def flip_points(grid_value, sigma, levels):
    """For each level the least u whose result reaches it, by bisection in all 64 bits."""
    low = np.zeros(len(levels), dtype=object)
    high = np.full(len(levels), WHOLE, dtype=object)
    while (high - low).max() > 0:
        middle = (low + high) // 2
        u = np.minimum(middle, WHOLE - 1).astype(np.uint64)
        reached = levels_of(np.full(len(levels), grid_value), sigma, u) >= levels
        reached |= middle == WHOLE
        high = np.where(reached, middle, high)
        low = np.where(reached, low, np.minimum(middle + 1, high))
    return high


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(GRID_VALUES, st.integers(0, WHOLE - 1)), min_size=1), SIGMAS)
def test_lazy_evaluation_equals_all_64_bits(pairs, sigma):
    grid = np.array([value for value, _ in pairs], dtype=np.int32)
    u = np.array([integer for _, integer in pairs], dtype=np.uint64)
    assert (add_noise(grid, sigma, Fixed(u)) == all_bits(grid, sigma, u)).all()


@settings(max_examples=25, deadline=None)
@given(GRID_VALUES, st.floats(0.01, 1.0), st.lists(st.integers(0, 255), min_size=1, max_size=8))
def test_lazy_evaluation_is_right_beside_every_boundary(grid_value, sigma, levels):
    flips = flip_points(grid_value, sigma, np.array(levels))
    beside = [int(f) + d for f in flips for d in (-2, -1, 0, 1) if 0 <= int(f) + d < WHOLE]
    u = np.array(beside or [0], dtype=np.uint64)
    grid = np.full(u.size, grid_value, dtype=np.int32)
    assert (add_noise(grid, sigma, Fixed(u)) == all_bits(grid, sigma, u)).all()


def test_only_values_beside_a_boundary_ask_for_all_bits():
    (flip,) = flip_points(100 * STEPS_PER_LEVEL, 0.25, np.array([120]))
    far = np.arange(1, 9, dtype=np.uint64) << np.uint64(60)
    u = np.concatenate([np.array([int(flip) - 1, int(flip)], dtype=np.uint64), far])
    uniforms = Fixed(u)
    levels = add_noise(np.full(10, 100 * STEPS_PER_LEVEL, np.int32), 0.25, uniforms)
    assert levels[:2].tolist() == [119, 120]
    assert uniforms.asked == 2


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    SIGMAS,
    st.integers(-255, 255),
    st.integers(1, 200),
)
def test_shifting_by_whole_levels_shifts_the_result_exactly(seed, sigma, shift, count):
    draw = np.random.default_rng(seed)
    grid = draw.integers(0, STEPS_PER_UNIT, count, dtype=np.int32)
    u = draw.integers(0, WHOLE, count, dtype=np.uint64)
    moved = grid + np.int32(shift * STEPS_PER_LEVEL)
    first, second = levels_of(grid, sigma, u), levels_of(moved, sigma, u)
    assert (second - first == shift).all()
    assert (add_noise(moved, sigma, Fixed(u)) == np.clip(first + shift, 0, 255)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), SIGMAS, st.integers(0, STEPS_PER_UNIT))
def test_noise_does_not_depend_on_the_picture(seed, sigma, shift):
    """Any two pictures get the same noise: x + noise and x + shift + noise, rounded afterwards."""
    draw = np.random.default_rng(seed)
    grid = draw.integers(0, STEPS_PER_UNIT, 100, dtype=np.int32)
    u = draw.integers(0, WHOLE, 100, dtype=np.uint64)
    noise = noise_steps(u, sigma)
    for picture in (grid, grid + np.int32(shift)):
        expected = np.clip(round_to_levels(picture + noise), 0, 255)
        assert (add_noise(picture, sigma, Fixed(u)) == expected).all()


def test_the_grid_is_left_as_it_was():
    grid = np.full(50, 7 * STEPS_PER_LEVEL, dtype=np.int32)
    grid.setflags(write=False)
    add_noise(grid, 0.5, Fixed(np.arange(50, dtype=np.uint64) << np.uint64(57)))
    assert (grid == 7 * STEPS_PER_LEVEL).all()


def test_quantile_is_as_near_to_exact_as_documented():
    draw = np.random.default_rng(11)
    spread = draw.integers(0, WHOLE, 300, dtype=np.uint64)
    tails = np.uint64(1) << draw.integers(0, 63, 60, dtype=np.uint64)
    centre = np.uint64(2**63) + draw.integers(0, 2**40, 20, dtype=np.uint64)
    ends = np.array([0, 1, 2**63 - 1, 2**63, WHOLE - 1], dtype=np.uint64)
    for u in np.concatenate([spread, tails, ~tails, centre, ends]):
        z = float(quantile(np.array([u]))[0])
        with mpmath.workdps(50):
            p = (mpmath.mpf(int(u)) + mpmath.mpf(1) / 2) / WHOLE
            tail = mpmath.ncdf(-abs(z)) - min(p, 1 - p)
            error = abs(tail / mpmath.npdf(z))
        assert error <= (1 + abs(z)) * 2.0**-49


def test_quantile_is_odd_and_finite_at_the_ends():
    u = np.array([0, 1, 12345, 2**63 - 1], dtype=np.uint64)
    assert (quantile(~u) == -quantile(u)).all()
    assert -9.3 < quantile(u)[0] < -9.0
    assert np.isfinite(quantile(np.array([0, WHOLE - 1], dtype=np.uint64))).all()


@settings(max_examples=5, deadline=None)
@given(GRID_VALUES, st.floats(0.02, 1.0))
def test_total_variation_of_one_value_is_below_the_stated_bound(grid_value, sigma):
    """Each level's exact probability from the flip points against the normal law in 50 digits."""
    levels = np.arange(1, 256)
    flips = flip_points(grid_value, sigma, levels)
    with mpmath.workdps(50):
        scale = mpmath.mpf(sigma) * STEPS_PER_UNIT
        # A level c is reached when grid + rint(noise) + 2**15 >= c 2**16: noise >= edge - 1/2.
        edges = [int(c) * STEPS_PER_LEVEL - STEPS_PER_LEVEL // 2 - grid_value for c in levels]
        exact = [mpmath.ncdf((edge - mpmath.mpf(1) / 2) / scale) for edge in edges]
        ours = [mpmath.mpf(int(flip)) / WHOLE for flip in flips]
        gaps = [a - b for a, b in zip(ours, exact, strict=True)]
        cells = [gaps[0], *(b - a for a, b in itertools.pairwise(gaps)), -gaps[-1]]
        distance = sum(abs(cell) for cell in cells) / 2
    assert distance <= total_variation_upper(1)


def test_total_variation_of_a_whole_request_is_negligible_beside_alpha():
    assert total_variation_upper(336 * 336 * 3) < 2e-7
    assert total_variation_upper(2) == 2 * total_variation_upper(1)


@pytest.mark.parametrize("sigma", [0.0, -0.1, math.nan, math.inf, SIGMA_MAX * 1.01])
def test_a_sigma_out_of_range_is_a_configuration_error(sigma):
    with pytest.raises(ConfigError, match="sigma"):
        add_noise(np.zeros(3, np.int32), sigma, Fixed([1, 2, 3]))


def test_the_largest_noise_does_not_overflow():
    u = np.array([0, WHOLE - 1], dtype=np.uint64)
    grid = np.array([0, STEPS_PER_UNIT], np.int32)
    levels = levels_of(grid, SIGMA_MAX, u)
    assert levels[0] < -255 * 9 * SIGMA_MAX
    assert levels[1] > 255 * 9 * SIGMA_MAX
    assert add_noise(grid, SIGMA_MAX, Fixed(u)).tolist() == [0, 255]


@pytest.mark.parametrize("sigma", [0.001, 0.02, 0.25, 1.0, SIGMA_MAX])
def test_every_value_of_the_leading_bits_is_settled_rightly(sigma):
    """All 65536 of them, with the trailing bits at both ends and grid values beside boundaries."""
    leading = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
    for trailing, offset in itertools.product((0, 2**48 - 1), (-257, -1, 0, 1, 255, 256)):
        u = leading | np.uint64(trailing)
        # Grid values that put the result within a few steps of a level's boundary, out of reach
        # of the clip; nothing asks a grid value to be that of a colour.
        boundary = 100 * STEPS_PER_LEVEL + STEPS_PER_LEVEL // 2
        grid = (boundary + offset - noise_steps(u, sigma)).astype(np.int32)
        uniforms = Fixed(u)
        assert (add_noise(grid, sigma, uniforms) == all_bits(grid, sigma, u)).all()
        assert uniforms.asked > 0


def test_few_values_need_all_bits():
    """What makes it fast: at a usual sigma the leading bits settle all but one in a hundred."""
    draw = np.random.default_rng(2)
    u = draw.integers(0, WHOLE, 100_000, dtype=np.uint64)
    uniforms = Fixed(u)
    add_noise(draw.integers(0, STEPS_PER_UNIT, u.size, dtype=np.int32), 0.25, uniforms)
    assert 0 < uniforms.asked < u.size / 100
