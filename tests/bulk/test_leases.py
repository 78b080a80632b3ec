"""One holder at a time has a content; whoever waits goes on when it is freed or its holder lost."""

import asyncio

import pytest

from guardrail.bulk.leases import LeaseTable


@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_content_is_lent_to_one_holder_at_a_time(all_of_them):
    async def run():
        table = LeaseTable()
        await table.take("a", "first")
        await table.take("a", "first")  # is its own already
        await table.take("b", "second")
        waiting = [asyncio.create_task(table.take("a", name)) for name in ("second", "third")]
        await asyncio.sleep(0)
        table.free("a", "second")  # which does not have it
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        if all_of_them:
            table.free_all("first")
        else:
            table.free("a", "first")
        await waiting[0]
        assert not waiting[1].done()
        table.free_all("second")
        await waiting[1]

    asyncio.run(run())
