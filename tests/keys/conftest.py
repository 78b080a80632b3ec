"""The helpers that tests of keys share."""

import pytest

from tests import keybook


@pytest.fixture(scope="session")
def kit():
    """The helpers of tests/keybook.py."""
    return keybook
