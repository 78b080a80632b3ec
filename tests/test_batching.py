"""The worker that local models share: batches, groups, faults, room, cancellation, closing."""

import asyncio
import gc
import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.batching import ThreadBatcher


class FullError(Exception):
    pass


class ClosedError(Exception):
    pass


class FailedError(Exception):
    pass


class Bench:
    """Work that waits for a permit, so that tests decide when a batch runs and what it does."""

    def __init__(self, *, held=False, result=lambda items: [item * 10 for item in items]):
        self.batches = []
        self.wanted_after = []
        self.started = threading.Semaphore(0)
        self.permit = threading.Semaphore(0)
        self.held = held
        self.result = result
        self.threads = set()

    def work(self, batch):
        self.threads.add(threading.get_ident())
        self.batches.append(batch.items)
        self.started.release()
        if self.held:
            self.permit.acquire()
        self.wanted_after.append(batch.wanted())
        return self.result(batch.items)

    async def until_started(self):
        assert await asyncio.to_thread(self.started.acquire, timeout=20)


def worker(bench, *, max_batch=4, max_queue=100, group=lambda _: 0, full=FullError, **options):
    return ThreadBatcher(
        bench.work,
        **options,
        group=group,
        max_batch=max_batch,
        max_queue=max_queue,
        name="bench",
        full=full,
        closed=ClosedError,
        failed=lambda error: FailedError(f"{type(error).__name__}: {error}"),
    )


async def queued(w, items):
    """Tasks whose items stand in the queue by the time this returns."""
    tasks = [asyncio.ensure_future(w.run(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def behind_one(bench, w, items):
    """A first item in work, the others waiting behind it."""
    (first,) = await queued(w, [0])
    await bench.until_started()
    return first, await queued(w, items)


def test_every_caller_gets_its_own_result_in_any_number():
    async def main():
        bench = Bench()
        w = worker(bench)
        results = await asyncio.gather(*(w.run(i) for i in range(50)))
        assert results == [10 * i for i in range(50)]
        assert sorted(i for batch in bench.batches for i in batch) == list(range(50))
        assert await w.aclose()
        assert len(bench.threads) == 1
        assert threading.get_ident() not in bench.threads

    asyncio.run(main())


def test_what_comes_during_a_batch_makes_the_next_ones_in_order():
    async def main():
        bench = Bench(held=True)
        w = worker(bench, max_batch=3)
        first, rest = await behind_one(bench, w, range(1, 8))
        for _ in range(4):
            bench.permit.release()
        await asyncio.gather(first, *rest)
        assert bench.batches == [(0,), (1, 2, 3), (4, 5, 6), (7,)]
        await w.aclose()

    asyncio.run(main())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 5))
def test_batches_are_pure_and_bounded_and_no_group_starves(groups, max_batch):
    """Whatever stands in the queue: the head's group is served first, so all are served."""

    async def main():
        bench = Bench(held=True, result=list)
        w = worker(bench, max_batch=max_batch, group=lambda item: item and item[1])
        first, rest = await behind_one(bench, w, list(enumerate(groups)))
        for _ in range(len(groups) + 1):
            bench.permit.release()
        assert await asyncio.gather(*rest) == list(enumerate(groups))
        await first
        waiting = list(enumerate(groups))
        for batch in bench.batches[1:]:
            assert batch == tuple([i for i in waiting if i[1] == waiting[0][1]][:max_batch])
            waiting = [item for item in waiting if item not in batch]
        assert not waiting
        await w.aclose()

    asyncio.run(main())


def test_a_fault_reaches_all_of_its_batch_and_nobody_else():
    def result(items):
        if 3 in items:
            raise ValueError("broken")
        return list(items)

    async def main():
        bench = Bench(held=True, result=result)
        w = worker(bench, max_batch=2)
        first, rest = await behind_one(bench, w, [1, 2, 3, 4, 5, 6])
        for _ in range(4):
            bench.permit.release()
        results = await asyncio.gather(first, *rest, return_exceptions=True)
        assert [r for r in results if not isinstance(r, Exception)] == [0, 1, 2, 5, 6]
        faults = [r for r in results if isinstance(r, Exception)]
        assert [str(f) for f in faults] == ["ValueError: broken"] * 2
        assert faults[0] is not faults[1]
        bench.permit.release()
        assert await w.run(7) == 7
        await w.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    "fault", [StopIteration(), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError()]
)
def test_no_fault_can_kill_the_thread_or_leave_a_caller_waiting(fault):
    """A StopIteration cannot even be put into an asyncio future: the caller would wait for ever."""

    def result(items):
        if items == (1,):
            raise fault
        return list(items)

    async def main():
        w = worker(Bench(result=result))
        with pytest.raises(FailedError, match=type(fault).__name__):
            await asyncio.wait_for(w.run(1), 20)
        assert await asyncio.wait_for(w.run(2), 20) == 2
        await w.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_results_is_a_fault_for_all(count):
    async def main():
        bench = Bench(held=True, result=lambda items: ["x"] * (count if len(items) == 2 else 1))
        w = worker(bench)
        first, rest = await behind_one(bench, w, [1, 2])
        bench.permit.release()
        bench.permit.release()
        assert await first == "x"
        for task in rest:
            with pytest.raises(FailedError, match=f"{count} results for 2 items"):
                await task
        await w.aclose()

    asyncio.run(main())


def test_a_full_queue_refuses_and_takes_again_when_there_is_room():
    async def main():
        bench = Bench(held=True)
        w = worker(bench, max_queue=2)
        first, rest = await behind_one(bench, w, [1, 2])
        with pytest.raises(FullError):
            await w.run(3)
        bench.permit.release()
        bench.permit.release()
        assert await asyncio.gather(first, *rest) == [0, 10, 20]
        bench.permit.release()
        assert await w.run(4) == 40
        await w.aclose()

    asyncio.run(main())


def test_callers_that_left_hold_no_place_in_the_queue():
    async def main():
        bench = Bench(held=True)
        w = worker(bench, max_queue=2)
        first, rest = await behind_one(bench, w, [1, 2])
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        again = await queued(w, [3, 4])
        for _ in range(2):
            bench.permit.release()
        assert await asyncio.gather(first, *again) == [0, 30, 40]
        assert bench.batches == [(0,), (3, 4)]
        await w.aclose()

    asyncio.run(main())


def test_a_batch_is_wanted_until_its_last_caller_leaves():
    async def main():
        bench = Bench(held=True)
        w = worker(bench)
        (hold,) = await queued(w, [0])
        await bench.until_started()
        one, two = await queued(w, [1, 2])
        bench.permit.release()
        await bench.until_started()
        one.cancel()
        await asyncio.sleep(0)
        bench.permit.release()
        assert await two == 20
        (three,) = await queued(w, [3])
        await bench.until_started()
        three.cancel()
        with pytest.raises(asyncio.CancelledError):
            await three
        bench.permit.release()
        await hold
        assert await w.aclose()
        assert bench.wanted_after == [True, True, False]

    asyncio.run(main())


def test_closing_refuses_what_waits_and_finishes_what_runs():
    async def main():
        bench = Bench(held=True)
        w = worker(bench)
        first, rest = await behind_one(bench, w, [1, 2])
        closing = asyncio.ensure_future(w.aclose())
        for task in rest:
            with pytest.raises(ClosedError):
                await task
        with pytest.raises(ClosedError):
            await w.run(3)
        assert not closing.done()
        bench.permit.release()
        assert await first == 0
        assert await closing
        assert await w.aclose()  # a second time is no fault
        assert bench.batches == [(0,)]

    asyncio.run(main())


def test_closing_gives_up_on_work_that_hangs():
    async def main():
        bench = Bench(held=True)
        w = worker(bench)
        (stuck,) = await queued(w, [1])
        await bench.until_started()
        assert not await w.aclose(timeout_s=0.01)
        bench.permit.release()
        assert await stuck == 10
        assert await w.aclose()

    asyncio.run(main())


def test_closing_an_unused_worker_starts_no_thread():
    async def main():
        before = threading.active_count()
        assert await worker(Bench()).aclose()
        assert threading.active_count() == before

    asyncio.run(main())


def test_without_a_refusal_callers_wait_for_room_in_order():
    async def main():
        bench = Bench(held=True)
        w = worker(bench, max_batch=1, max_queue=2, full=None)
        first, rest = await behind_one(bench, w, range(1, 9))
        assert len(w._jobs) == 2
        for _ in range(9):
            bench.permit.release()
        assert await asyncio.gather(first, *rest) == [10 * i for i in range(9)]
        assert bench.batches == [(i,) for i in range(9)]
        assert w._room._free == 2
        await w.aclose()

    asyncio.run(main())


def test_closing_refuses_those_who_wait_for_room_at_once():
    """Nobody has to wait for a deadline of his own."""

    async def main():
        bench = Bench(held=True)
        w = worker(bench, max_batch=1, max_queue=2, full=None)
        first, rest = await behind_one(bench, w, range(1, 9))
        closing = asyncio.ensure_future(w.aclose())
        results = await asyncio.wait_for(asyncio.gather(*rest, return_exceptions=True), 20)
        assert [type(result) for result in results] == [ClosedError] * 8
        bench.permit.release()
        assert await first == 0
        assert await closing

    asyncio.run(main())


def test_many_items_of_one_caller_are_answered_together_and_leave_together():
    async def main():
        bench = Bench(held=True)
        w = worker(bench, max_queue=2, full=None)
        many = asyncio.ensure_future(w.run_all(range(5)))
        await bench.until_started()
        for _ in range(5):
            bench.permit.release()
        assert await many == [0, 10, 20, 30, 40]
        assert await w.run_all([]) == []
        await w.aclose()
        held = Bench(held=True)
        w = worker(held, max_batch=1, max_queue=3, full=None)
        many = asyncio.ensure_future(w.run_all(range(9)))
        await held.until_started()
        many.cancel()
        await asyncio.gather(many, return_exceptions=True)
        assert not w._jobs
        assert w._room._free == 3
        held.permit.release()
        await w.aclose()
        assert held.batches == [(0,)]

    asyncio.run(main())


def test_equal_items_count_once_where_the_work_does_them_at_once():
    async def main():
        bench = Bench(held=True)
        w = worker(bench, max_batch=2, merge_equal=True)
        first, rest = await behind_one(bench, w, [1, 1, 2, 1, 3, 3])
        for _ in range(3):
            bench.permit.release()
        assert await asyncio.gather(*rest) == [10, 10, 20, 10, 30, 30]
        await first
        assert bench.batches == [(0,), (1, 1, 2, 1), (3, 3)]
        await w.aclose()

    asyncio.run(main())


def test_an_unfull_batch_waits_for_company_and_no_longer():
    async def main():
        bench = Bench()
        w = worker(bench, max_batch=2, max_wait_s=60.0)
        assert await asyncio.gather(w.run(1), w.run(2)) == [10, 20]
        (alone,) = await queued(w, [3])
        await asyncio.sleep(0.02)
        assert not alone.done()
        await w.aclose()
        with pytest.raises(ClosedError):
            await alone
        assert bench.batches == [(1, 2)]
        short = Bench()
        w = worker(short, max_batch=2, max_wait_s=0.01)
        assert await w.run(4) == 40
        await w.aclose()

    asyncio.run(main())


def test_callers_on_several_event_loops_share_the_thread():
    bench = Bench()
    w = worker(bench)
    results = Counter()

    def caller(base):
        async def main():
            return await asyncio.gather(*(w.run(base + i) for i in range(20)))

        results.update(asyncio.run(main()))

    threads = [threading.Thread(target=caller, args=(100 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == Counter(10 * (100 * k + i) for k in range(4) for i in range(20))
    assert len(bench.threads) == 1
    assert asyncio.run(w.aclose())


def test_nothing_is_left_behind_unretrieved():
    """Cancelled and failed calls must not end in `exception was never retrieved` at collection."""
    complaints = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, c: complaints.append(c))
        bench = Bench(held=True, result=lambda _: 1 / 0)
        w = worker(bench)
        first, rest = await behind_one(bench, w, [1, 2, 3])
        rest[0].cancel()
        first.cancel()
        await asyncio.sleep(0)
        for _ in range(3):
            bench.permit.release()
        await asyncio.gather(first, *rest, return_exceptions=True)
        await w.aclose()
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert complaints == []
