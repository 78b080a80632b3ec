"""The compiled pass gives the integers of numpy's passes; without a compiler nothing is lost."""

import logging
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.images import compiled, gaussian
from guardrail.images.grid import STEPS_PER_UNIT
from guardrail.images.keys import NoiseKey
from guardrail.images.noise import variant

numba = pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def fresh():
    yield
    compiled.compiled_pass.cache_clear()


@pytest.fixture
def by_numpy(monkeypatch):
    """The same function with and without the compiled pass."""

    def both(function):
        with_compiled = function()
        with monkeypatch.context() as without:
            without.setattr(gaussian, "compiled_pass", lambda: None)
            return with_compiled, function()

    return both


def run(one_pass, grid, leading, sigma):
    reach = gaussian._reach(sigma)
    levels = np.empty(grid.size, dtype=np.int16)
    unsettled = np.empty(grid.size, dtype=np.intp)
    count = one_pass(grid, leading, reach.coarse, reach.least, reach.greatest, levels, unsettled)
    return levels, unsettled[:count]


@pytest.mark.parametrize("sigma", [0.001, 0.25, 0.5, 4.0])
def test_levels_and_open_positions_are_those_of_numpy(by_numpy, sigma):
    draw = np.random.default_rng(0)
    grid = draw.integers(0, STEPS_PER_UNIT + 1, 1 << 17).astype(np.int32)
    leading = draw.integers(0, 1 << 16, grid.size).astype(np.uint16)
    leading[:4] = 0, 1, 65534, 65535  # the tails, where a table entry spans many levels
    (levels, open_), (levels_, open__) = by_numpy(
        lambda: gaussian._settled(grid, leading, gaussian._reach(sigma))
    )
    np.testing.assert_array_equal(open_, open__)
    np.testing.assert_array_equal(levels, levels_)
    assert 0 < open_.size < grid.size


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, STEPS_PER_UNIT), st.integers(0, 65535)), min_size=1),
    st.floats(0.001, 4.0),
)
def test_what_is_compiled_is_the_function_that_can_be_read(pairs, sigma):
    grid = np.array([value for value, _ in pairs], dtype=np.int32)
    leading = np.array([index for _, index in pairs], dtype=np.uint16)
    read = run(compiled.coarse_pass, grid, leading, sigma)
    ran = run(compiled.compiled_pass(), grid, leading, sigma)
    np.testing.assert_array_equal(read[0], ran[0])
    np.testing.assert_array_equal(read[1], ran[1])


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
            index=index,
            image_index=0,
        )

    ours, numpys = by_numpy(noisy)
    np.testing.assert_array_equal(ours, numpys)


def test_read_only_and_strided_grids_are_taken(by_numpy):
    grid = np.arange(64, dtype=np.int32)[::2] << 17
    grid.setflags(write=False)
    leading = np.arange(32, dtype=np.uint16) * 2000
    ours, numpys = by_numpy(
        lambda: gaussian._settled(np.ascontiguousarray(grid), leading, gaussian._reach(0.5))
    )
    np.testing.assert_array_equal(ours[0], numpys[0])


def test_without_numba_there_is_none(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "numba", None)
    compiled.compiled_pass.cache_clear()
    assert compiled.compiled_pass() is None
    assert not caplog.records


@pytest.mark.parametrize("fault", [RuntimeError("no compiler"), None])
def test_a_compiler_that_fails_or_errs_is_not_used(monkeypatch, caplog, fault):
    def njit(**_options):
        if fault is not None:
            raise fault
        return lambda _function: lambda *_arrays: 1  # compiles to something else

    monkeypatch.setattr(numba, "njit", njit)
    compiled.compiled_pass.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert compiled.compiled_pass() is None
    assert "does not work here" in caplog.text
    assert "no compiler" not in caplog.text
