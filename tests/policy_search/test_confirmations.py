"""How often the confirmation half was looked at."""

import pytest

from guardrail.errors import ConfigError
from guardrail.policy_search.confirmations import ConfirmationLog


def test_searches_are_counted_and_the_same_one_keeps_its_number(tmp_path):
    path = tmp_path / "c.jsonl"
    with ConfirmationLog(path, 0) as log:
        assert log.number("a") == 1
        assert log.number("b") == 1  # neither has looked
        log.write("a")
        assert (log.number("a"), log.number("b")) == (1, 2)
    with ConfirmationLog(path, 0) as log:
        log.write("a")
        log.write("b")
        assert [log.number(one) for one in "abc"] == [1, 2, 3]
    assert len(path.read_text().splitlines()) == 2


def test_another_seed_and_another_file_are_refused(tmp_path):
    path = tmp_path / "c.jsonl"
    with ConfirmationLog(path, 3) as log:
        log.write("a")
        with pytest.raises(ConfigError, match="another process is writing"):
            ConfirmationLog(path, 3)
    with pytest.raises(ConfigError, match="cut by --seed 3"):
        ConfirmationLog(path, 4)
    path.write_text('{"type":"draws"}\n')
    with pytest.raises(ConfigError, match="not a line that 'guardrail tune' writes"):
        ConfirmationLog(path, 3)
