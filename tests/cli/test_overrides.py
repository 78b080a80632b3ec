"""`guardrail overrides`: entries by the ids of records, with who and why."""

import json
import re

import pytest
from click.testing import CliRunner

from guardrail.cli import exit_code, overrides, records
from tests.console.test_decision import keep
from tests.records.conftest import HARM

COMMANDS = {"overrides": overrides.command, "records": records.command}
ENTRY = re.compile(r"override ([0-9a-f]{16}): ")


def cli(command, *arguments):
    """The command's result, errors as `guardrail` tells them."""
    runner = CliRunner()
    result = runner.invoke(COMMANDS[command], [*map(str, arguments)])
    if result.exception is None or isinstance(result.exception, SystemExit):
        return result

    def fail():
        raise result.exception

    result.exit_code, result.output_bytes = exit_code(fail), str(result.exception).encode()
    return result


def test_an_entry_from_its_making_to_its_end(database_url):
    (record_id,) = keep(database_url, (HARM,))
    place = ("--records", database_url)
    made = cli("overrides", "add", record_id, *place, "--note", "seen", "--by", "Dana")
    assert made.exit_code == 0, made.output
    (name,) = ENTRY.findall(made.output)
    assert f"the request of record {record_id} is let through until" in made.output
    listed = cli("overrides", "list", *place, "--json")
    (entry,) = map(json.loads, listed.output.splitlines())
    (step,) = entry["steps"]
    assert (step["by"], step["note"], step["state"]) == ("Dana", "seen", "active")
    removed = cli("overrides", "remove", name, *place, "--note", "over", "--by", "Eve")
    assert removed.output == f"override {name}: removed\n"
    table = cli("overrides", "list", *place, "--record", record_id).output
    assert name in table
    assert "Eve" in table
    verified = cli("records", "verify", *place)
    assert verified.exit_code == 0, verified.output
    assert "2 steps of overrides" in verified.output


def test_what_cannot_be_said_is_told(sqlite_url):
    (record_id,) = keep(sqlite_url, (HARM,))
    place = ("--records", sqlite_url)
    nothing = cli("overrides", "add", "nothing", *place, "--note", "x")
    assert nothing.exit_code == 2
    assert "there is no record 'nothing'" in nothing.output
    late = cli("overrides", "add", record_id, *place, "--note", "x", "--days", "1000")
    assert late.exit_code == 2
    assert "days" in late.output
    gone = cli("overrides", "remove", "nothing", *place, "--note", "x")
    assert gone.exit_code == 2


@pytest.mark.parametrize("stop", [False, True])
def test_only_what_lets_through_must_end(sqlite_url, stop):
    (record_id,) = keep(sqlite_url, (HARM,))
    flags = ["--stop"] if stop else []
    made = cli("overrides", "add", record_id, "--records", sqlite_url, "--note", "x", *flags)
    assert ("without an end" in made.output) is stop
