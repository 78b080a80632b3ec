"""What the tests of the wire share."""

import asyncio

import pytest


@pytest.fixture
def run():
    return asyncio.run
