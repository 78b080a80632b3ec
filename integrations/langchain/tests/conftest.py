"""Guards of the scenarios' policy, whose decisions a test can look up."""

import pytest

from guardrail import Guard
from guardrail.testing.journal import MemoryJournal
from guardrail.testing.setting import KEY, scenario_policy


@pytest.fixture
def journal():
    return MemoryJournal()


@pytest.fixture
def guard(journal):
    with Guard(scenario_policy(), key=KEY, records=journal) as made:
        yield made
