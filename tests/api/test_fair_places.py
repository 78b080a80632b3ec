"""No caller holds all places, and each gets its turn."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.api.fair_places import FairPlaces


class FullError(Exception):
    pass


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def make(capacity, max_waiting=1000, clock=None):
    return FairPlaces(capacity, max_waiting=max_waiting, full=FullError, clock=clock or Clock())


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def start(places, caller, count=1):
    return [asyncio.create_task(places.acquire(caller)) for _ in range(count)]


def entered(tasks):
    return sum(task.done() and task.exception() is None for task in tasks)


async def stop(*groups):
    for task in (task for group in groups for task in group):
        task.cancel()
    await asyncio.gather(*(t for group in groups for t in group), return_exceptions=True)


def test_one_caller_alone_may_hold_all():
    async def scene():
        places = make(8)
        tasks = start(places, "a", 8)
        await settle()
        assert (entered(tasks), places.free) == (8, 0)

    asyncio.run(scene())


def test_another_ones_request_gets_the_first_place_that_is_free():
    async def scene():
        places = make(8)
        busy = start(places, "a", 50)
        await settle()
        (other,) = start(places, "b")
        await settle()
        assert not other.done()
        places.release("a")  # "a" waited first and has its turn first, but holds too many
        await settle()
        assert (other.done(), entered(busy)) == (True, 8)
        places.release("b")
        await settle()
        # The last quarter stays free for others as long as they are about.
        assert (entered(busy), places.free) == (8, 1)
        await stop(busy)

    asyncio.run(scene())


def test_when_the_other_one_is_gone_all_places_are_used_again():
    async def scene():
        clock = Clock()
        places = make(8, clock=clock)
        busy = start(places, "b") + start(places, "a", 50)
        await settle()
        places.release("b")
        await settle()
        assert places.free == 2
        clock.now = 61.0
        places.release("a")
        await settle()
        assert places.free == 0
        await stop(busy)

    asyncio.run(scene())


def test_callers_take_turns():
    async def scene():
        places, order = make(1), []

        async def visit(caller):
            await places.acquire(caller)
            order.append(caller)
            await asyncio.sleep(0)
            places.release(caller)

        await asyncio.gather(*map(visit, "aaaabbc"))
        assert "".join(order) == "aabcaba"
        assert (places.free, places.waiting) == (1, 0)

    asyncio.run(scene())


def test_a_full_line_has_room_for_whoever_has_less_in_it():
    async def scene():
        places = make(1, max_waiting=4)
        tasks = start(places, "a", 5)
        await settle()
        with pytest.raises(FullError):
            await places.acquire("a")
        newcomers = start(places, "b", 3)
        await settle()
        assert [type(task.exception()) for task in tasks if task.done() and task.exception()] == [
            FullError, FullError
        ]  # fmt: skip
        assert places.waiting == 4
        assert [type(t.exception()) for t in newcomers if t.done()] == [FullError]
        await stop(tasks, newcomers)

    asyncio.run(scene())


def test_whoever_gives_up_takes_no_place():
    async def scene():
        places = make(1)
        await places.acquire("a")
        waiting = start(places, "b", 3)
        await settle()
        waiting[0].cancel()
        places.release("a")  # the turn of the second one, in the same moment
        waiting[1].cancel()
        await settle()
        assert (entered([waiting[2]]), places.free, places.waiting) == (1, 0, 0)
        places.release("b")
        assert places.free == 1

    asyncio.run(scene())


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["ask", "leave", "give up", "wait"])),
    max_size=80,
)


@given(STEPS, st.integers(1, 9), st.integers(0, 6))
def test_places_are_never_lost_nor_given_twice(steps, capacity, max_waiting):
    async def scene():
        clock = Clock()
        places = make(capacity, max_waiting, clock)
        tasks = {"a": [], "b": [], "c": []}
        held = {"a": 0, "b": 0, "c": 0}
        for caller, what in steps:
            if what == "ask":
                tasks[caller] += start(places, caller)
            elif what == "leave" and held[caller]:
                places.release(caller)
                held[caller] -= 1
            elif what == "give up" and tasks[caller]:
                tasks[caller][-1].cancel()
            else:
                clock.now += 40.0
            await settle()
            for name, group in tasks.items():
                done = [task for task in group if task.done()]
                held[name] += sum(not t.cancelled() and t.exception() is None for t in done)
                tasks[name] = [task for task in group if not task.done()]
            assert sum(held.values()) == capacity - places.free <= capacity
            assert places.waiting == sum(map(len, tasks.values())) <= max(max_waiting, 0)
        await stop(*tasks.values())
        for name, count in held.items():
            for _ in range(count):
                places.release(name)
        assert (places.free, places.waiting) == (capacity, 0)

    asyncio.run(scene())
