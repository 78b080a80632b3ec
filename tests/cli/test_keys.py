"""`guardrail keys`: from a new key to a revoked one, in a file and in a database."""

import re

import click
import pytest
from click.testing import CliRunner

from guardrail.cli.keys import command
from guardrail.errors import GuardrailError
from guardrail.keys.authenticator import Authenticator
from guardrail.keys.opening import open_key_store
from guardrail.keys.pepper import read_pepper
from guardrail.keys.secret import is_secret

LIMITS = ("--requests-per-minute", 60, "--calls-per-minute", 5000, "--max-concurrency", 4,
          "--usd-per-day", 12.5)  # fmt: skip


@pytest.fixture(params=["keys.yaml", "keys.db"])
def place(request, tmp_path):
    return tmp_path / request.param


@pytest.fixture
def keys(place):
    """Runs the command; (what it prints, what it says)."""

    def run(*arguments, fails=False, **environment):
        words = [*map(str, arguments), "--keys", str(place)]
        result = CliRunner().invoke(command, words, env=environment, catch_exceptions=True)
        if not fails:
            assert result.exit_code == 0, (result.output, result.exception)
        return result

    return run


def create(keys, *options):
    """(id, secret)."""
    result = keys("create", "--name", "chat page", "--tenant", "acme", *options)
    secret = result.stdout.strip()
    assert is_secret(secret)
    found = re.search(r"key_[0-9a-f]{16}", result.stderr)
    assert found
    return found[0], secret


def find(place, secret):
    with_pepper = read_pepper(place.with_name(f"{place.name}.pepper"))
    served = Authenticator(open_key_store(str(place)), with_pepper)
    try:
        return served.find(secret)
    finally:
        served.close()


def test_a_key_from_its_making_to_its_end(keys, place):
    key_id, secret = create(keys, *LIMITS, "--scope", "client", "--scope", "admin",
                            "--expires", "90d", "--policy", "strict")  # fmt: skip
    key = find(place, secret)
    assert (key.id, key.name, key.tenant, key.policy) == (key_id, "chat page", "acme", "strict")
    assert sorted(key.scopes) == ["admin", "client"]
    assert (key.expires - key.created).days == 90

    shown = keys("show", key_id).stdout
    assert re.search(r"usd_per_day +12\.5", shown)
    assert "valid" in shown
    listed = keys("list").stdout
    assert "chat page" in listed

    other = keys("rotate", key_id).stdout.strip()
    assert find(place, other).id == find(place, secret).id == key_id
    last = keys("rotate", key_id, "--grace", "0m").stdout.strip()
    assert [find(place, one) is None for one in (secret, other, last)] == [True, True, False]

    assert "revoked" in keys("revoke", key_id).stdout
    assert find(place, last) is None
    assert "revoked" in keys("show", key_id).stdout
    assert isinstance(keys("rotate", key_id, fails=True).exception, GuardrailError)

    written = b"".join(file.read_bytes() for file in place.parent.iterdir())
    for one in (secret, other, last):
        assert one.encode() not in written
        assert one not in shown + listed


def test_secrets_and_files_are_private(keys, place):
    create(keys)
    modes = {file.name: file.stat().st_mode & 0o077 for file in place.parent.iterdir()}
    assert modes.pop(f"{place.name}.pepper") == 0
    assert set(modes.values()) == {0}


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--usd-per-day", "0"], "usd_per_day"), (["--requests-per-minute", "-1"], "above 0"),
     (["--expires", "soon"], "90d"), (["--scope", "root"], "root")],
)  # fmt: skip
def test_mistakes_make_no_key(keys, place, options, told):
    result = keys("create", "--name", "n", "--tenant", "t", *options, fails=True)
    assert result.exit_code != 0
    assert told in f"{result.output}{result.exception}"
    assert not place.exists() or open_key_store(str(place)).read() == ()


def test_what_is_not_there(keys):
    create(keys)
    for words in (["show", "key_0"], ["revoke", "key_0"], ["rotate", "key_0"]):
        error = keys(*words, fails=True).exception
        assert isinstance(error, GuardrailError)
        assert "guardrail keys list" in str(error)


def test_the_place_by_the_environment(tmp_path):
    place = tmp_path / "keys.yaml"
    held = tmp_path / "secret"
    held.write_text(f"{place}\n")
    words = ["create", "--name", "n", "--tenant", "t"]
    for name, value in (("GUARDRAIL_KEYS", place), ("GUARDRAIL_KEYS_FILE", held)):
        result = CliRunner().invoke(command, words, env={name: str(value)})
        assert result.exit_code == 0, result.output
    assert len(open_key_store(str(place)).read()) == 2
    result = CliRunner().invoke(command, words, env={})
    assert isinstance(result.exception, SystemExit | click.UsageError)
    assert "--keys" in result.output
