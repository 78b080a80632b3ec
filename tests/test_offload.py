"""Small work runs at once, large work in a thread; and the two sizes that are computed."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail import offload as module
from guardrail.offload import (
    CANONICAL_CHAT,
    EXTRACT_TEXT,
    InlineLimit,
    chat_size,
    offload,
    text_size,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


def thread_of(limit, size, **options):
    async def main():
        return await offload(limit, size, threading.current_thread, **options)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("most", "size", "inline"),
    [
        ({"bytes": 10}, 0, True),
        ({"bytes": 10}, 10, True),
        ({"bytes": 10}, 11, False),
        ({"bytes": 10, "pixels": 5}, (10, 5), True),
        ({"bytes": 10, "pixels": 5}, (11, 5), False),
        ({"bytes": 10, "pixels": 5}, (10, 6), False),
    ],
)
def test_work_runs_at_once_up_to_every_limit(most, size, inline):
    assert (thread_of(InlineLimit(**most), size) is threading.main_thread()) is inline


def test_large_work_may_have_threads_of_its_own():
    with ThreadPoolExecutor(1, "decoders") as executor:
        thread = thread_of(InlineLimit(bytes=1), 2, executor=executor)
    assert thread.name.startswith("decoders")


@pytest.mark.parametrize("size", [0, 2])
def test_arguments_results_and_faults_come_through(size):
    async def main():
        limit = InlineLimit(bytes=1)
        assert await offload(limit, size, divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await offload(limit, size, divmod, 7, 0)

    asyncio.run(main())


def test_a_size_of_another_shape_is_a_mistake():
    with pytest.raises(ValueError, match="bytes, pixels"):
        InlineLimit(bytes=1, pixels=1).allows(1)


def test_limits_name_their_units():
    for name in module.__all__:
        limit = getattr(module, name)
        if isinstance(limit, InlineLimit):
            assert all(most >= 0 for most in limit.most)
            assert f"={limit.most[-1]})" in repr(limit)


def count(value):
    """Characters and values of a JSON value, by the definition."""
    if isinstance(value, str):
        return len(value), 1
    if isinstance(value, dict):
        parts = [count(item) for item in value.values()]
        return sum(map(len, value)) + sum(c for c, _ in parts), 1 + sum(v for _, v in parts)
    parts = [count(item) for item in value] if isinstance(value, list) else []
    return sum(c for c, _ in parts), 1 + sum(v for _, v in parts)


@given(JSON, JSON)
def test_small_sizes_are_exact(one, other):
    chars, values = (a + b for a, b in zip(count(one), count(other), strict=True))
    assert chat_size(one, other) == (chars, values)
    assert text_size(one, other) == chars + values


def test_the_documented_example():
    assert chat_size({"a": ["bc", 1]}) == (3, 4)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 40_000,
        ["x" * 30_000, "x" * 30_000],
        {"x" * 40_000: 1},
        [0] * 30_000,
        [[0] * 10] * 3000,
    ],
)
def test_large_sizes_are_beyond_the_limits(value):
    assert not CANONICAL_CHAT.allows(*chat_size(value))
    assert not EXTRACT_TEXT.allows(text_size(value))


def test_counting_needs_no_stack_and_ends_early():
    deep = "x"
    for _ in range(100_000):
        deep = [deep]
    assert not CANONICAL_CHAT.allows(*chat_size(deep))
