"""The way to Redis: a task that waits for it can be ended at any moment."""

import asyncio


def test_a_task_that_is_cancelled_ends(kit, redis_server):
    async def ask_for_ever(way):
        while True:
            await way.run("return 1", [], [])

    async def scene():
        async with kit.shared(redis_server) as way:
            for number in range(150):
                task = asyncio.create_task(ask_for_ever(way))
                await asyncio.sleep(0.0002 * (number % 15))
                task.cancel()
                done, _ = await asyncio.wait({task}, timeout=10)
                assert done, f"the {number}th went on"
                assert task.cancelled()

    kit.run(scene())
