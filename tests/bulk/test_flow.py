"""A stream of work: so much at a time, nothing lost, nothing left behind."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.bulk.flow import read_in_thread, work_through


async def collect(stream):
    return [one for batch in [batch async for batch in stream] for one in batch]


@given(count=st.integers(0, 40), most=st.integers(1, 9), piece=st.integers(1, 7))
def test_every_item_is_worked_on_once_and_never_too_many_at_a_time(count, most, piece):
    running = peak = 0

    async def work(item):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return item

    async def run():
        return await collect(
            work_through(read_in_thread(iter(range(count)), piece), work, most=most)
        )

    assert sorted(asyncio.run(run())) == list(range(count))
    assert peak <= most


def test_no_item_is_taken_before_there_is_room_for_it():
    taken = []

    async def items():
        for item in range(100):
            taken.append(item)
            yield item

    async def run():
        gate = asyncio.Event()
        stream = work_through(items(), lambda _: gate.wait(), most=3)
        first = asyncio.ensure_future(anext(stream))
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(taken) == 3
        gate.set()
        assert (await first)[0] is True
        await stream.aclose()

    asyncio.run(run())


def test_what_is_done_comes_while_the_source_keeps_others_waiting():
    async def items():
        yield 1
        await asyncio.Event().wait()

    async def work(item):
        return item

    async def run():
        stream = work_through(items(), work, most=4)
        assert await asyncio.wait_for(anext(stream), 60) == [1]
        await stream.aclose()

    asyncio.run(run())


def test_a_fault_ends_the_others_and_is_raised():
    ended = []

    async def items():
        for item in range(4):
            yield item

    async def work(item):
        if item == 2:
            raise KeyError(item)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item)

    async def run():
        async for _ in work_through(items(), work, most=4):
            pass

    with pytest.raises(KeyError):
        asyncio.run(run())
    assert {0, 1} <= set(ended)
