"""Whoever waits for a decision owns it: leaving in any way stops it."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect

from guardrail.server.watch import wait_for_client


async def endless():
    await asyncio.Event().wait()


async def stubborn(left):
    """Takes a while to stop, as a decision with calls in flight does."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.02)
        left.append(True)


def client(*messages):
    """A `receive` that brings these messages and then nothing."""
    left = list(messages)

    async def receive():
        if left:
            return {"type": left.pop(0)}
        return await asyncio.Event().wait()

    return receive


def test_a_decision_that_falls(run):
    async def scenario():
        task = asyncio.create_task(asyncio.sleep(0.01, "verdict"))
        return await wait_for_client(task, client()), task.result()

    assert run(scenario()) == (True, "verdict")


def test_a_decision_that_takes_longer_goes_on(run):
    async def scenario():
        task = asyncio.create_task(endless())
        first = await wait_for_client(task, client("http.request"), timeout_s=0.01)
        alive = not task.done()
        task.cancel()
        return first, alive

    assert run(scenario()) == (False, True)


def test_a_verdict_and_a_farewell_at_once_is_a_verdict(run):
    async def scenario():
        task = asyncio.create_task(asyncio.sleep(0, "verdict"))
        await asyncio.sleep(0.01)
        return await wait_for_client(task, client("http.disconnect"))

    assert run(scenario())


def test_a_client_that_leaves_waits_until_all_has_stopped(run):
    async def scenario():
        left = []
        task = asyncio.create_task(stubborn(left))
        with pytest.raises(ClientDisconnect):
            await wait_for_client(task, client("http.request", "http.disconnect"))
        return task.cancelled(), left

    assert run(scenario()) == (True, [True])


def test_a_stopped_server_stops_the_decision(run):
    async def scenario():
        left = []
        task = asyncio.create_task(stubborn(left))
        waiting = asyncio.create_task(wait_for_client(task, client()))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return task.cancelled(), left

    assert run(scenario()) == (True, [True])
