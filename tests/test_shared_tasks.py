"""Work that several wait for: done once, ended when nobody waits, and never left behind."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from guardrail.errors import UpstreamError
from guardrail.shared_tasks import SharedTasks


class Work:
    """Work that ends when it is told to, and counts what happens to it."""

    def __init__(self, result="done"):
        self.result = result
        self.begun = self.ended = self.cancelled = self.closed = 0
        self.may_end = asyncio.Event()

    def begin(self, held):
        held.callback(self._close)
        self.begun += 1
        return self._run()

    def _close(self):
        self.closed += 1

    async def _run(self):
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # it takes a moment to end
            self.cancelled += 1
            raise
        self.ended += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def wait_for(tasks, work, key="key"):
    async with tasks.join(key, work.begin) as shared:
        return await shared.result()


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


def test_it_is_done_once_for_all_that_wait():
    async def scene():
        tasks, work = SharedTasks(), Work()
        waiting = [asyncio.create_task(wait_for(tasks, work)) for _ in range(1000)]
        await turn()
        assert len(tasks) == 1
        assert work.closed == 0
        work.may_end.set()
        assert await asyncio.gather(*waiting) == ["done"] * 1000
        assert (work.begun, work.ended, work.closed, len(tasks)) == (1, 1, 1, 0)

    asyncio.run(scene())


def test_other_keys_are_other_work_and_later_work_is_new():
    async def scene():
        tasks, work = SharedTasks(), Work()
        work.may_end.set()
        await asyncio.gather(wait_for(tasks, work, "a"), wait_for(tasks, work, "b"))
        await wait_for(tasks, work, "a")
        assert (work.begun, work.closed) == (3, 3)

    asyncio.run(scene())


def test_it_goes_on_when_the_first_one_leaves():
    async def scene():
        tasks, work = SharedTasks(), Work()
        first, second = (asyncio.create_task(wait_for(tasks, work)) for _ in range(2))
        await turn()
        first.cancel()
        await asyncio.wait({first})
        assert first.cancelled()
        assert (work.cancelled, work.closed) == (0, 0)
        work.may_end.set()
        assert await second == "done"
        assert (work.begun, work.ended, work.closed) == (1, 1, 1)

    asyncio.run(scene())


def test_the_last_one_to_leave_ends_it_and_waits_until_it_has_ended():
    async def scene():
        tasks, work = SharedTasks(), Work()
        waiting = [asyncio.create_task(wait_for(tasks, work)) for _ in range(3)]
        await turn()
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert all(task.cancelled() for task in waiting)
        assert (work.cancelled, work.closed, len(tasks)) == (1, 1, 0)

    asyncio.run(scene())


def test_who_comes_while_it_is_being_ended_begins_anew():
    async def scene():
        tasks, work = SharedTasks(), Work()
        first = asyncio.create_task(wait_for(tasks, work))
        await turn()
        first.cancel()
        await asyncio.sleep(0)
        second = asyncio.create_task(wait_for(tasks, work))
        await turn()
        work.may_end.set()
        assert await second == "done"
        assert (work.begun, work.cancelled, work.ended) == (2, 1, 1)

    asyncio.run(scene())


def test_what_is_cancelled_before_it_ran_lets_go_of_what_it_held():
    async def scene():
        tasks, work = SharedTasks(), Work()
        async with tasks.join("key", work.begin):
            pass  # gone before the loop came to it
        assert (work.begun, work.closed, work.cancelled, len(tasks)) == (1, 1, 0, 0)

    asyncio.run(scene())


def test_all_are_told_what_went_wrong():
    async def scene():
        tasks, work = SharedTasks(), Work(ValueError("wrong"))
        work.may_end.set()
        results = await asyncio.gather(
            *(wait_for(tasks, work) for _ in range(3)), return_exceptions=True
        )
        assert [type(one) for one in results] == [ValueError] * 3
        assert work.begun == 1

    asyncio.run(scene())


def test_nobody_is_told_of_what_went_wrong_after_all_have_left(caplog):
    async def scene():
        tasks, work = SharedTasks(), Work(ValueError("wrong"))
        async with tasks.join("key", work.begin) as shared:
            work.may_end.set()
            await asyncio.wait({shared.task})
        assert work.closed == 1

    asyncio.run(scene())
    assert not caplog.records


def test_shutting_down_ends_all_of_it():
    async def scene():
        tasks, work = SharedTasks(), Work()
        waiting = [asyncio.create_task(wait_for(tasks, work, key)) for key in "ab"]
        await turn()
        await tasks.aclose()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in results] == [UpstreamError] * 2
        assert {one.status for one in results} == {503}
        assert (work.cancelled, work.closed) == (2, 2)
        await tasks.aclose()

    asyncio.run(scene())


def test_a_stack_that_was_handed_over_is_closed_by_it():
    async def scene():
        tasks, work, closed = SharedTasks(), Work(), []

        def begin(kept):
            stack = AsyncExitStack()
            stack.callback(closed.append, True)
            kept.push_async_exit(stack)
            return work.begin(kept)

        async with tasks.join("key", begin) as shared:
            work.may_end.set()
            await shared.result()
            assert not closed
        assert closed == [True]

    asyncio.run(scene())


@pytest.mark.parametrize("leave", range(6))
def test_whoever_leaves_whenever_nothing_is_left_behind(leave):
    async def scene():
        tasks, work = SharedTasks(), Work()
        waiting = [asyncio.create_task(wait_for(tasks, work)) for _ in range(4)]
        for step in range(6):
            await asyncio.sleep(0)
            if step == leave:
                for task in waiting[:2]:
                    task.cancel()
            if step == 3:
                work.may_end.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert results[2:] == ["done"] * 2
        assert (work.begun, work.closed, len(tasks)) == (1, 1, 0)

    asyncio.run(scene())
