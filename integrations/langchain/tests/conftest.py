"""Guards of the scenarios' policy, whose decisions a test can look up."""

import pytest

from guardrail import Guard
from guardrail.testing.attempts import numbered_attempts
from guardrail.testing.journal import MemoryJournal
from guardrail.testing.setting import KEY, scenario_policy


@pytest.fixture
def journal():
    return MemoryJournal()


@pytest.fixture(autouse=True)
def known_noise():
    """Models here answer by the picture's digest, so a verdict must not hang on chance."""
    with numbered_attempts():
        yield


@pytest.fixture
def guard(journal):
    with Guard(scenario_policy(), key=KEY, records=journal) as made:
        yield made
