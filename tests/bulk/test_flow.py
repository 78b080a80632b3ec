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


@given(
    kinds=st.lists(st.sampled_from(["good", "bad", "late"]), min_size=1, max_size=9),
    source_fails=st.booleans(),
)
def test_what_ended_well_comes_before_the_fault_of_another(kinds, source_fails):
    """Whatever of them raises, the stream included: all end in the same moment."""
    fails = source_fails or "bad" in kinds
    gate, there = asyncio.Event(), []

    async def wait_for_all():
        there.append(1)
        if len(there) == len(kinds) + 1:
            gate.set()
        await gate.wait()

    async def items():
        for item in enumerate(kinds):
            yield item
        await wait_for_all()
        if source_fails:
            raise KeyError("source")

    async def work(item):
        await wait_for_all()
        if item[1] == "bad":
            raise KeyError(item)
        if item[1] == "late":  # done already, and cannot be called back
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                return item
        return item

    async def run():
        found = []
        stream = work_through(items(), work, most=len(kinds) + 1)
        try:
            async for batch in stream:
                found += batch
        except KeyError:
            assert fails
        else:
            assert not fails
        return found

    found = asyncio.run(run())
    assert sorted(found) == [item for item in enumerate(kinds) if item[1] != "bad"]


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
