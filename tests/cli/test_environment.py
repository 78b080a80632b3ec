"""Every option of `serve` by the environment, secrets also by files."""

import signal

import click
import pytest
from click.testing import CliRunner

from guardrail.cli.environment import EnvironmentCommand, SecretOption, variable_of
from guardrail.cli.serve import command
from guardrail.errors import ConfigError
from guardrail.files import read_variable

OPTIONS = [option for option in command.params if isinstance(option, click.Option)]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.opts[-1])
def test_every_option_of_serve_has_a_variable_and_says_so(option, repository):
    name = variable_of(option)
    assert option.envvar == name
    help_text = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    page = (repository / "docs/serving.md").read_text()
    assert f"env var: {name}" in help_text
    assert f"`{name}`" in page
    if isinstance(option, SecretOption):
        assert f"`{name}_FILE`" in page


def probe():
    """A command that prints what it is given."""

    @click.command(cls=EnvironmentCommand)
    @click.option("--host", default="here")
    @click.option("--cors-origin", "origins", multiple=True)
    @click.option("--keep-content", is_flag=True)
    @click.option("--keys", cls=SecretOption)
    def echo(**values):
        click.echo(values)

    return echo


def ask(*words, **environment):
    result = CliRunner().invoke(probe(), words, env=environment)
    return result.output or str(result.exception)


def test_values_come_from_variables_and_the_command_line_wins():
    told = ask(GUARDRAIL_HOST="there", GUARDRAIL_CORS_ORIGIN="https://a https://b",
               GUARDRAIL_KEEP_CONTENT="1")  # fmt: skip
    assert "'host': 'there'" in told
    assert "'origins': ('https://a', 'https://b')" in told
    assert "'keep_content': True" in told
    assert "'host': 'x'" in ask("--host", "x", GUARDRAIL_HOST="there")


def test_secrets_come_from_files(tmp_path):
    file = tmp_path / "secret"
    file.write_text("sqlite:///keys.db\n")
    assert "'keys': 'sqlite:///keys.db'" in ask(GUARDRAIL_KEYS_FILE=str(file))
    assert "'keys': 'x'" in ask("--keys", "x", GUARDRAIL_KEYS_FILE=str(file))
    assert "'host': 'here'" in ask(GUARDRAIL_HOST_FILE=str(file))


@pytest.mark.parametrize("content", ["", "\n", "one\ntwo"])
def test_a_file_that_holds_no_secret(tmp_path, monkeypatch, content):
    file = tmp_path / "secret"
    file.write_text(content)
    monkeypatch.setenv("SOME_KEY_FILE", str(file))
    with pytest.raises(ConfigError, match="SOME_KEY_FILE names must hold one secret"):
        read_variable("SOME_KEY")


def test_two_sources_for_one_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_KEY_FILE", str(tmp_path / "no such"))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_variable("SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "secret-value")
    with pytest.raises(ConfigError, match="both set") as caught:
        read_variable("SOME_KEY")
    assert "secret-value" not in str(caught.value)


@pytest.mark.nightly
def test_serve_takes_keys_and_refuses_strangers(kit, policy, tmp_path):
    """By variables alone; then beyond this machine, without keys."""
    import os

    from guardrail.cli.keys import command as keys

    place = tmp_path / "keys.yaml"
    made = CliRunner().invoke(keys, ["create", "--name", "n", "--tenant", "t"],
                              env={"GUARDRAIL_KEYS": str(place)})  # fmt: skip
    assert made.exit_code == 0
    secret = made.stdout.strip()
    with kit.model_server([kit.CLEAN]) as model:
        variables = {
            "GUARDRAIL_UPSTREAM": f"openai_compatible:{model.base_url}",
            "GUARDRAIL_POLICY": str(policy),
            "GUARDRAIL_PORT": "0",
        }
        known = {**os.environ, **variables, "GUARDRAIL_KEYS": str(place)}
        process = kit.start("serve", env=known)
        url = process.stderr.readline().rpartition(" at ")[2].strip()
        import httpx

        with httpx.Client(trust_env=False, timeout=30) as client:
            answers = [
                client.get(f"{url}/models", headers=headers).status_code
                for headers in ({}, {"x-api-key": secret})
            ]
        told = "".join(process.stderr.readline() for _ in range(4))
        process.send_signal(signal.SIGTERM)
        out = kit.finish(process)[1]
        assert answers == [401, 200]
        assert "callers need an API key" in told
        assert secret not in out + told
        strangers = {**os.environ, **variables, "GUARDRAIL_HOST": "0.0.0.0"}  # noqa: S104 (refused)
        code, _, told = kit.finish(kit.start("serve", env=strangers))
        assert code == 2
        assert "--allow-anyone" in told
        anyone = {**strangers, "GUARDRAIL_ALLOW_ANYONE": "1"}
        process = kit.start("serve", env=anyone)
        lines = [process.stderr.readline() for _ in range(5)]
        process.send_signal(signal.SIGTERM)
        kit.finish(process)
        assert any(line.startswith("WARNING: no API keys") for line in lines), lines
