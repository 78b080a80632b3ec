"""Gathered calls: who shares one, who waits, and that nobody waits for ever."""

import asyncio

import pytest

from guardrail.oracles.moderation.async_batcher import AsyncBatcher


class Service:
    """Doubles numbers, once its gate is open; keeps what it was asked."""

    def __init__(self, **options):
        self.asked, self.limiter = [], asyncio.Event()
        self.cancelled = 0
        self.batcher = AsyncBatcher(
            self.work,
            fits=options.pop("fits", lambda taken, _: len(taken) < 4),
            max_parallel=options.pop("max_parallel", 1),
        )

    async def work(self, items):
        self.asked.append(list(items))
        try:
            await self.limiter.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [ValueError(item) if item < 0 else 2 * item for item in items]


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_is_there_at_the_same_time_shares_a_call():
    async def run():
        service = Service()
        service.limiter.set()
        found = await asyncio.gather(*(service.batcher.run(n) for n in range(6)))
        return found, service.asked

    assert asyncio.run(run()) == ([0, 2, 4, 6, 8, 10], [[0, 1, 2, 3], [4, 5]])


def test_while_all_places_are_taken_the_next_call_gathers():
    async def run():
        service = Service()
        first = asyncio.create_task(service.batcher.run(1))
        await turns()
        later = []
        for number in (2, 3):
            later.append(asyncio.create_task(service.batcher.run(number)))
            await turns()
        service.limiter.set()
        return await asyncio.gather(first, *later), service.asked

    assert asyncio.run(run()) == ([2, 4, 6], [[1], [2, 3]])


def test_as_many_calls_as_allowed_are_in_flight():
    async def run():
        service = Service(max_parallel=2, fits=lambda *_: False)
        tasks = [asyncio.create_task(service.batcher.run(n)) for n in range(3)]
        await turns(20)
        before = [*service.asked]
        service.limiter.set()
        return before, await asyncio.gather(*tasks)

    assert asyncio.run(run()) == ([[0], [1]], [0, 2, 4])


def test_an_error_reaches_its_own_caller_alone():
    async def run():
        service = Service()
        service.limiter.set()
        runs = (service.batcher.run(n) for n in (1, -1, 2))
        return await asyncio.gather(*runs, return_exceptions=True)

    first, error, second = asyncio.run(run())
    assert (first, second) == (2, 4)
    assert isinstance(error, ValueError)


def test_who_leaves_takes_its_item_along_and_the_last_one_the_call():
    async def run():
        service = Service()
        tasks = [asyncio.create_task(service.batcher.run(n)) for n in (1, 2)]
        await turns()
        waiting = asyncio.create_task(service.batcher.run(3))
        await turns()
        waiting.cancel()
        tasks[0].cancel()
        await turns()
        assert service.cancelled == 0
        tasks[1].cancel()
        await turns()
        assert service.cancelled == 1
        service.limiter.set()
        return await service.batcher.run(4), service.asked

    assert asyncio.run(run()) == (8, [[1, 2], [4]])


def test_work_that_crashes_leaves_nobody_waiting():
    async def crash(items):
        raise RuntimeError(items)

    async def run():
        batcher = AsyncBatcher(crash, fits=lambda *_: True, max_parallel=1)
        return await asyncio.gather(batcher.run(1), batcher.run(2), return_exceptions=True)

    assert all(isinstance(found, asyncio.CancelledError) for found in asyncio.run(run()))


def test_closing_ends_the_calls_and_the_wait():
    async def run():
        service = Service(fits=lambda *_: False)
        tasks = [asyncio.create_task(service.batcher.run(n)) for n in (1, 2)]
        await turns()
        await service.batcher.aclose()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return found, service.cancelled

    found, cancelled = asyncio.run(run())
    assert [type(one) for one in found] == [asyncio.CancelledError] * 2
    assert cancelled == 1


@pytest.mark.parametrize("count", [1, 3])
def test_it_can_be_used_on_one_loop_after_another(count):

    async def work(items):
        return [item + 1 for item in items]

    batcher = AsyncBatcher(work, fits=lambda *_: True, max_parallel=1)

    async def run():
        return await asyncio.gather(*(batcher.run(n) for n in range(count)))

    assert [asyncio.run(run()) for _ in range(2)] == [list(range(1, count + 1))] * 2
