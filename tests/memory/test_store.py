"""What is remembered in this process: for how long, how many, how much."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.memory.rules import MemoryRules
from guardrail.memory.store import LocalVerdictStore


def make_store(clock, **rules):
    return LocalVerdictStore(MemoryRules(**rules), clock=clock)


def get(store, key):
    return asyncio.run(store.get(key))


def put(store, key, value=b"value"):
    asyncio.run(store.put(key, value))


def test_what_was_put_is_there_and_nothing_else(clock):
    store = make_store(clock)
    put(store, b"a", b"one")
    put(store, b"b", b"two")
    put(store, b"a", b"three")
    assert (get(store, b"a"), get(store, b"b"), get(store, b"c")) == (b"three", b"two", None)
    assert len(store) == 2


def test_a_value_ends_with_its_time_and_gives_its_room_back(clock):
    store = make_store(clock, ttl_s=10.0)
    put(store, b"a")
    clock.now = 9.9
    assert get(store, b"a") == b"value"
    clock.now = 10.0  # asking for it has not made it younger
    assert get(store, b"a") is None
    assert (len(store), store.size_bytes) == (0, 0)


def test_a_value_put_again_is_young_again(clock):
    store = make_store(clock, ttl_s=10.0)
    put(store, b"a")
    clock.now = 5.0
    put(store, b"a")
    clock.now = 12.0
    assert get(store, b"a") == b"value"


def test_the_one_not_asked_for_longest_goes_first(clock):
    store = make_store(clock, max_entries=2)
    put(store, b"a")
    put(store, b"b")
    get(store, b"a")
    put(store, b"c")
    assert [get(store, key) is None for key in (b"a", b"b", b"c")] == [False, True, False]


def test_large_values_push_others_out_and_too_large_ones_are_not_kept(clock):
    store = make_store(clock, max_bytes=3000)
    put(store, b"a", bytes(1000))
    put(store, b"b", bytes(1000))
    put(store, b"c", bytes(2500))
    assert [get(store, key) is None for key in (b"a", b"b", b"c")] == [True, True, False]
    put(store, b"c", bytes(3000))
    assert get(store, b"c") is None
    assert (len(store), store.size_bytes) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400), st.booleans()), max_size=40))
def test_its_bounds_hold_whatever_happens(steps):
    now = 0.0
    rules = MemoryRules(max_entries=3, max_bytes=1200, ttl_s=7.0)
    store = LocalVerdictStore(rules, clock=lambda: now)
    for number, size, later in steps:
        now += later
        put(store, bytes([number]), bytes(size))
        get(store, bytes([number ^ 1]))
        assert len(store) <= 3
        assert store.size_bytes <= 1200
        assert (store.size_bytes == 0) == (len(store) == 0)


@pytest.mark.parametrize("entries", [1, 1000])
def test_a_thousand_values_take_no_more_than_they_may(clock, entries):
    store = make_store(clock, max_entries=entries, max_bytes=10_000)
    for number in range(1000):
        put(store, number.to_bytes(4, "big"), bytes(50))
    assert len(store) <= entries
    assert store.size_bytes <= 10_000
    assert get(store, (999).to_bytes(4, "big")) is not None
