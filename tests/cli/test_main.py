"""The command as a whole: what it lists, what it imports, how it fails and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic_core import SchemaError

import guardrail.cli as cli
from guardrail.errors import CertificationError, ConfigError, RequestError, UpstreamError
from guardrail.images.encode import encode_image
from guardrail.version import __version__


def run(*arguments, before="", **options):
    """The command as a process, after some words of preparation."""
    program = f"{before}\nfrom guardrail.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120, **options,
    )  # fmt: skip


def commands():
    """Every module that defines a command; `policy_test` and its like are parts of `policy`."""
    folder = Path(cli.__file__).parent
    heads = ("\n@click.command(", "\n@click.group(")
    found = {file.stem for file in folder.glob("*.py")
             if any(head in file.read_text() for head in heads)}  # fmt: skip
    alone = {name for name in found - {"__init__"} if not is_part_of_a_group(name)}
    return {name.replace("_", "-") for name in alone}


def is_part_of_a_group(name):
    """Whether a file holds a command of a group, which it names first: `policy_test.py`."""
    group, _, command = name.partition("_")
    held = cli._cli.get_command(None, group) if command else None
    return command in getattr(held, "commands", {})


def test_every_command_is_listed_with_its_own_help():
    assert set(cli._COMMANDS) == commands()
    done = run("--help")
    assert done.returncode == 0
    for name, line in cli._COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert line in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_a_help_and_an_option_help_text(name):
    from click.testing import CliRunner

    result = CliRunner().invoke(cli._cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: guardrail {name}")


def test_the_version_is_the_packages():
    assert run("--version").stdout == f"guardrail, version {__version__}\n"
    assert run("-h").returncode == 0


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "guardrail", "--version"], capture_output=True, text=True, check=True
    )
    assert __version__ in done.stdout


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["check"], ["demo", "--tries", "0"], ["--what"]]
)
def test_a_wrong_call_says_how_to_call(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert "Traceback" not in done.stderr


def ends_with(error, monkeypatch, capsys):
    """Exit code and standard error of a command that raises."""

    def fail(**_):
        raise error

    monkeypatch.setattr(cli._cli, "main", fail)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("must be above 0", file="p.yaml", line=3, field="alpha"),
        RequestError("no picture"),
        UpstreamError("gone"),
        CertificationError("does not hold"),
    ],
)
def test_an_error_is_one_line(error, monkeypatch, capsys):
    assert ends_with(error, monkeypatch, capsys) == (2, f"guardrail: {error}\n")


def test_an_interrupt_is_quiet(monkeypatch, capsys):
    assert ends_with(KeyboardInterrupt(), monkeypatch, capsys) == (130, "\ninterrupted\n")


def test_so_is_one_that_a_library_made_its_own_error_of(monkeypatch, capsys):
    """pydantic's core, for one that came while it looked into a class, and the class is gone."""
    error = SchemaError('Error building "enum" validator:\n  KeyboardInterrupt: ')
    assert ends_with(error, monkeypatch, capsys) == (130, "\ninterrupted\n")
    with pytest.raises(SchemaError):
        ends_with(SchemaError("Error building"), monkeypatch, capsys)


def test_a_missing_package_names_the_extra(monkeypatch, capsys):
    code, told = ends_with(ModuleNotFoundError("x", name="openai"), monkeypatch, capsys)
    assert code == 2
    assert "'openai'" in told
    assert "pip install 'certified-guardrail[demo]'" in told


def test_a_missing_module_of_our_own_is_a_fault_to_be_seen(monkeypatch, capsys):
    with pytest.raises(ModuleNotFoundError):
        ends_with(ModuleNotFoundError("x", name="guardrail.gone"), monkeypatch, capsys)


def test_a_fault_of_the_system_names_the_file(monkeypatch, capsys):
    error = PermissionError(13, "Permission denied", "/a/file")
    assert ends_with(error, monkeypatch, capsys) == (2, "guardrail: /a/file: Permission denied\n")


@pytest.mark.parametrize(
    ("arguments", "package"),
    [
        (["attack", "x.png"], "torch"),
        pytest.param(["attack", "x.png"], "transformers", marks=pytest.mark.nightly),
    ],
)
def test_without_the_local_extra_the_remedy_is_named(arguments, package, tmp_path, noise_picture):
    (tmp_path / "x.png").write_bytes(encode_image(noise_picture(), "png"))
    done = run(*arguments, before=f"import sys; sys.modules['{package}'] = None", cwd=tmp_path,
               env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])})  # fmt: skip
    assert done.returncode == 2
    assert package in done.stderr or "torch and transformers" in done.stderr
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_early_is_no_fault():
    program = "from guardrail.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "policy", "schema"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(60) == 1  # click's own way
    assert told == ""


def until(file, seconds=60):
    """Waits until a process has written the file."""
    end = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.nightly
def test_ctrl_c_in_the_middle_of_an_attack_leaves_no_trace(tiny_llava, noise_picture, tmp_path):
    (tmp_path / "x.png").write_bytes(encode_image(noise_picture(96, 96), "png"))
    mark = tmp_path / "working"
    program = (
        "import pathlib, sys\n"
        "import guardrail.attack.pgd as pgd\n"
        "step = pgd._direction\n"
        "def marked(*args):\n"
        f"    pathlib.Path({str(mark)!r}).touch()\n"
        "    return step(*args)\n"
        "pgd._direction = marked\n"
        "from guardrail.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "attack", "x.png", "--attack", "l2",
         "--upstream", f"transformers:{tiny_llava}", "--steps", "1000000"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])},
    )  # fmt: skip
    until(mark)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.endswith("interrupted\n")
    assert "Traceback" not in err
    assert not list(tmp_path.glob("*.attacked.png"))


def test_the_schema_is_json_on_standard_output():
    done = run("policy", "schema")
    assert json.loads(done.stdout)["title"] == "Policy"
    assert done.stderr == ""
