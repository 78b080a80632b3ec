"""The compiled pass gives the integers of numpy's passes; without a compiler nothing is lost."""

import itertools
import logging
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.images import compiled, gaussian
from guardrail.images.gaussian import add_noise, noise_steps
from guardrail.images.grid import STEPS_PER_LEVEL, STEPS_PER_UNIT, round_to_levels
from guardrail.images.keys import NoiseKey
from guardrail.images.noise import variant
from guardrail.images.uniforms import KeyedUniforms

numba = pytest.importorskip("numba")

SIGMAS = [0.001, 0.02, 0.25, 0.5, 4.0]


@pytest.fixture(autouse=True)
def fresh():
    yield
    compiled.compile_pass.cache_clear()


@pytest.fixture
def by_numpy(monkeypatch):
    """The same function with and without the compiled pass."""

    def both(function):
        with_compiled = function()
        with monkeypatch.context() as without:
            without.setattr(gaussian, "compile_pass", lambda: None)
            return with_compiled, function()

    return both


def integers(uniforms, count):
    """All 64 bits of the first integers."""
    leading = uniforms.leading(count).astype(np.uint64) << np.uint64(48)
    return leading | uniforms.trailing(np.arange(count))


def all_bits(grid, sigma, u):
    """The definition."""
    return np.clip(round_to_levels(grid + noise_steps(u, sigma)), 0, 255)


def run(one_pass, grid, sigma, uniforms):
    """(pixels, open positions, their integers) of a pass."""
    reach = gaussian._reach(sigma)
    tables = reach.coarse, reach.least, reach.greatest, reach.bend
    pixels, positions = np.empty(grid.size, np.uint8), np.empty(grid.size, np.intp)
    u = np.empty(grid.size, np.uint64)
    with np.errstate(over="ignore"):  # what is not compiled warns where words wrap around
        count = one_pass(grid, uniforms.state, *tables, pixels, positions, u)
    return pixels, positions[:count], u[:count]


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("seed", range(3))
def test_pixels_are_those_of_numpy_and_of_the_definition(by_numpy, sigma, seed):
    draw = np.random.default_rng(seed)
    grid = draw.integers(0, STEPS_PER_UNIT + 1, (1 << 17) + 5).astype(np.int32)
    uniforms = KeyedUniforms(draw.bytes(32))
    ours, numpys = by_numpy(lambda: add_noise(grid, sigma, uniforms))
    np.testing.assert_array_equal(ours, numpys)
    np.testing.assert_array_equal(ours, all_bits(grid, sigma, integers(uniforms, grid.size)))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_pixels_are_right_beside_every_boundary(by_numpy, sigma):
    """Grid values chosen by the noise they will get, so that each result is next to a boundary."""
    draw = np.random.default_rng(7)
    uniforms = KeyedUniforms(draw.bytes(32))
    u = integers(uniforms, 1 << 17)
    offsets = np.array([-300, -257, -5, -2, -1, 0, 1, 2, 5, 256, 300])
    boundaries = draw.integers(-1, 257, u.size) * STEPS_PER_LEVEL + STEPS_PER_LEVEL // 2
    grid = boundaries + offsets[np.arange(u.size) % offsets.size] - noise_steps(u, sigma)
    grid = grid.astype(np.int32)
    ours, numpys = by_numpy(lambda: add_noise(grid, sigma, uniforms))
    np.testing.assert_array_equal(ours, all_bits(grid, sigma, u))
    np.testing.assert_array_equal(numpys, all_bits(grid, sigma, u))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_noise_bends_no_further_from_the_line_than_it_is_said_to(sigma):
    """Over every value of the leading bits, at both ends, in the middle and in between."""
    reach = gaussian._reach(sigma)
    first = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
    draw = np.random.default_rng(3)
    ends = [0, 1, (1 << 32) - 1, 1 << 32, 1 << 46, 1 << 47, 3 << 46, (1 << 48) - 1]
    for trailing in itertools.chain(ends, draw.integers(0, 1 << 48, 24)):
        steps = noise_steps(first | np.uint64(trailing), sigma).astype(np.int64)
        span = reach.greatest.astype(np.int64) - reach.least
        line = reach.least + (span * (int(trailing) >> 32) >> 16) - STEPS_PER_LEVEL // 2
        assert (np.abs(steps - line) <= reach.bend).all()


def test_few_values_need_all_bits():
    draw = np.random.default_rng(2)
    grid = draw.integers(0, STEPS_PER_UNIT, 1 << 17).astype(np.int32)
    _, positions, _ = run(compiled.compile_pass(), grid, 0.25, KeyedUniforms(bytes(32)))
    assert 0 < positions.size < grid.size / 1000


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, STEPS_PER_UNIT), min_size=1, max_size=200),
    st.floats(0.001, 4.0),
    st.binary(min_size=32, max_size=32),
)
def test_what_is_compiled_is_the_function_that_can_be_read(values, sigma, seed):
    grid, uniforms = np.array(values, dtype=np.int32), KeyedUniforms(seed)
    read = run(compiled.keyed_pass, grid, sigma, uniforms)
    ran = run(compiled.compile_pass(), grid, sigma, uniforms)
    for ours, theirs in zip(read, ran, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(ran[2], integers(uniforms, grid.size)[ran[1]])


@pytest.mark.parametrize("shape", [(1, 1, 3), (37, 20, 3), (224, 224, 3)])
def test_variants_are_the_same_bytes(by_numpy, shape):
    grid = np.random.default_rng(1).integers(0, STEPS_PER_UNIT + 1, shape).astype(np.int32)

    def noisy(index=7):
        return variant(
            grid,
            sigma=0.5,
            key=NoiseKey(bytes(range(32))),
            request_digest=bytes(32),
            policy_digest=bytes(32),
            attempt=bytes(16),
            index=index,
            image_index=0,
        )

    ours, numpys = by_numpy(noisy)
    np.testing.assert_array_equal(ours, numpys)


def test_read_only_and_strided_grids_are_taken(by_numpy):
    grid = np.arange(64, dtype=np.int32)[::2] << 17
    grid.setflags(write=False)
    ours, numpys = by_numpy(lambda: add_noise(grid, 0.5, KeyedUniforms(bytes(32))))
    np.testing.assert_array_equal(ours, numpys)


def test_without_numba_there_is_none(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "numba", None)
    compiled.compile_pass.cache_clear()
    assert compiled.compile_pass() is None
    assert not caplog.records


@pytest.mark.parametrize("fault", [RuntimeError("no compiler"), None])
def test_a_compiler_that_fails_or_errs_is_not_used(monkeypatch, caplog, fault):
    def njit(**_options):
        if fault is not None:
            raise fault
        return lambda _function: lambda *_arrays: 1  # compiles to something else

    monkeypatch.setattr(numba, "njit", njit)
    compiled.compile_pass.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert compiled.compile_pass() is None
    assert "does not work here" in caplog.text
    assert "no compiler" not in caplog.text
