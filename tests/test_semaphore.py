"""Places are given in order of arrival, never more than there are, and none is lost."""

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.semaphore import FifoSemaphore


async def turns(rounds=5):
    for _ in range(rounds):
        await asyncio.sleep(0)


class Visitors:
    """Tasks that hold room until they are told to leave; `inside` names them as they enter."""

    def __init__(self, most):
        self.room = FifoSemaphore(most)
        self.inside = []
        self.leave = {}
        self.tasks = {}

    def start(self, name, pixels):
        self.leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._visit(name, pixels))

    async def _visit(self, name, pixels):
        async with self.room.hold(pixels):
            self.inside.append(name)
            await self.leave[name].wait()


def test_who_finds_too_little_waits_and_nobody_overtakes():
    async def scenario():
        visitors = Visitors(10)
        for name, pixels in (("a", 6), ("b", 6), ("c", 1)):
            visitors.start(name, pixels)
            await turns()
        assert (visitors.inside, visitors.room.free) == (["a"], 4)
        visitors.leave["a"].set()
        await turns()
        assert (visitors.inside, visitors.room.free) == (["a", "b", "c"], 3)
        for event in visitors.leave.values():
            event.set()
        await turns()
        assert visitors.room.free == 10

    asyncio.run(scenario())


def test_more_than_there_is_takes_all():
    async def scenario():
        room = FifoSemaphore(10)
        async with room.hold(1000):
            assert room.free == 0
        assert room.free == 10

    asyncio.run(scenario())


def test_a_fault_inside_gives_the_room_back():
    async def scenario():
        room = FifoSemaphore(10)
        with pytest.raises(ValueError, match="inside"):
            async with room.hold(5):
                raise ValueError("inside")
        return room.free

    assert asyncio.run(scenario()) == 10


def test_one_that_gives_up_lets_those_behind_it_in():
    async def scenario():
        visitors = Visitors(10)
        for name, pixels in (("a", 6), ("b", 10), ("c", 4)):
            visitors.start(name, pixels)
            await turns()
        assert visitors.inside == ["a"]
        visitors.tasks["b"].cancel()
        await turns()
        assert visitors.inside == ["a", "c"]
        for event in visitors.leave.values():
            event.set()
        await turns()
        assert visitors.room.free == 10

    asyncio.run(scenario())


def test_one_that_is_cancelled_as_its_turn_comes_gives_it_back():
    async def scenario():
        visitors = Visitors(10)
        visitors.start("a", 10)
        await turns()
        visitors.start("b", 10)
        visitors.start("c", 10)
        await turns()
        visitors.tasks["a"].cancel()
        await asyncio.sleep(0)  # a has left, b has been let in and does not know it yet
        visitors.tasks["b"].cancel()
        await turns()
        assert visitors.inside == ["a", "c"]
        visitors.leave["c"].set()
        await turns()
        assert visitors.room.free == 10

    asyncio.run(scenario())


STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "leave", "cancel"]), st.integers(0, 7), st.integers(1, 12)),
    max_size=30,
)


@given(STEPS)
def test_whatever_happens_all_room_comes_back(steps):
    async def scenario():
        visitors = Visitors(10)
        for number, (what, which, pixels) in enumerate(steps):
            names = list(visitors.tasks)
            if what == "start":
                visitors.start(number, pixels)
            elif names and what == "leave":
                visitors.leave[names[which % len(names)]].set()
            elif names:
                visitors.tasks[names[which % len(names)]].cancel()
            await turns(number % 3)
            assert visitors.room.free >= 0
        for event in visitors.leave.values():
            event.set()
        await asyncio.gather(*visitors.tasks.values(), return_exceptions=True)
        assert visitors.room.free == 10

    asyncio.run(scenario())


def test_room_granted_to_a_caller_in_the_moment_it_goes_is_passed_on():
    async def main():
        room = FifoSemaphore(1)
        await room.acquire()
        waiting = asyncio.create_task(room.acquire())
        await asyncio.sleep(0)
        room.release()  # granted, but the waiting task has not run yet
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        await asyncio.wait_for(room.acquire(), 5)

    asyncio.run(main())


def test_more_than_may_wait_are_refused():
    async def scenario():
        semaphore = FifoSemaphore(2, max_waiting=1, full=lambda: RuntimeError("full"))
        await semaphore.acquire(2)
        waiting = asyncio.create_task(semaphore.acquire())
        await turns()
        with pytest.raises(RuntimeError, match="full"):
            await semaphore.acquire()
        assert (semaphore.waiting, semaphore.free) == (1, 0)
        semaphore.release(2)
        await waiting
        assert (semaphore.waiting, semaphore.free) == (0, 1)

    asyncio.run(scenario())


def test_a_bound_on_those_who_wait_needs_its_error():
    with pytest.raises(ValueError, match="both"):
        FifoSemaphore(1, max_waiting=1)


def test_places_go_between_threads_in_order():
    """Every thread has a loop of its own."""
    semaphore = FifoSemaphore(1)
    asyncio.run(semaphore.acquire())
    order = []

    async def visit(number):
        async with semaphore.hold():
            order.append(number)

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=asyncio.run, args=(visit(number),)))
        threads[-1].start()
        while semaphore.waiting <= number:
            time.sleep(0.001)
    semaphore.release()
    for thread in threads:
        thread.join(20)
    assert order == list(range(8))
    assert (semaphore.free, semaphore.waiting) == (1, 0)
