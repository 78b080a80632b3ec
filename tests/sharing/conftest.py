"""Ways to the Redis server of a test, each as a process of the guard has it."""

import asyncio
import sys
from contextlib import asynccontextmanager

import pytest

from guardrail.images.keys import NoiseKey
from guardrail.sharing.connection import SharedRedis

KEY = NoiseKey(bytes(range(32)))


@asynccontextmanager
async def shared(server, count=1, *, key=KEY, timeout_s=2.0):
    """As many connections as there are processes."""
    opened = [SharedRedis(server.url, key, timeout_s=timeout_s) for _ in range(count)]
    try:
        yield opened[0] if count == 1 else opened
    finally:
        for one in opened:
            await one.aclose()


def run(work):
    return asyncio.run(work)


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return sys.modules[__name__]
