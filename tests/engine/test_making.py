"""Variants are made off the event loop, in few threads, in the order in which they are asked."""

import asyncio
import os
import threading

import pytest

from guardrail.engine.making import made


def test_what_is_made_comes_back_from_another_thread():
    name, total = asyncio.run(made(lambda a, b: (threading.current_thread().name, a + b), 2, 3))
    assert name.startswith("guardrail-variants")
    assert total == 5


def test_no_more_threads_than_processors():
    async def many():
        return await asyncio.gather(*(made(threading.get_ident) for _ in range(200)))

    assert len(set(asyncio.run(many()))) <= min(os.cpu_count() or 1, 8)


def test_faults_come_back():
    with pytest.raises(ZeroDivisionError):
        asyncio.run(made(lambda: 1 // 0))


def test_what_nobody_waits_for_is_not_begun():
    gate, begun = threading.Event(), []

    async def cancelled():
        busy = [asyncio.create_task(made(gate.wait, 20)) for _ in range(8)]
        waiting = asyncio.create_task(made(begun.append, 1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        gate.set()
        await asyncio.gather(*busy)
        await made(int)

    asyncio.run(cancelled())
    assert begun == []
