"""`guardrail noise-key`: what it makes and says, and that it says no secret."""

import json
import stat

import pytest
from click.testing import CliRunner

from guardrail.cli import noise_key
from guardrail.errors import ConfigError
from guardrail.key_files import load_or_create_keyring


def call(*arguments):
    return CliRunner().invoke(noise_key.command, [str(one) for one in arguments])


def test_a_key_is_made_rotated_and_listed_and_never_shown(tmp_path):
    file = tmp_path / "noise.key"
    said = [call("create", file), call("rotate", file), call("rotate", file, "--json")]
    said += [call("list", file), call("list", file, "--json")]
    assert [result.exit_code for result in said] == [0] * 5
    keys = load_or_create_keyring(file).keys
    ids = [key.key_id for key in keys]
    told = "".join(result.output for result in said)
    assert all(key.secret.hex() not in told for key in keys)
    assert json.loads(said[2].stdout) == {"current": ids[0], "retired": ids[1:]}
    assert json.loads(said[4].stdout) == json.loads(said[2].stdout)
    assert said[3].stdout.splitlines() == [
        f"{ids[0]}  draws", f"{ids[1]}  for replay", f"{ids[2]}  for replay",
    ]  # fmt: skip
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ids[2] in said[0].stdout
    assert ids[1] in said[1].stdout


@pytest.mark.parametrize(("action", "told"), [("rotate", "no noise key"), ("list", "no noise key")])
def test_what_is_not_there_is_told_and_not_made(tmp_path, action, told):
    result = call(action, tmp_path / "noise.key")
    assert isinstance(result.exception, ConfigError)
    assert told in str(result.exception)
    assert not (tmp_path / "noise.key").exists()


def test_a_file_that_is_there_is_left_as_it_is(tmp_path):
    file = tmp_path / "noise.key"
    call("create", file)
    before = file.read_bytes()
    result = call("create", file)
    assert isinstance(result.exception, ConfigError)
    assert "already" in str(result.exception)
    assert file.read_bytes() == before
