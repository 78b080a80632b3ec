"""The distribution's name, in every text that tells what to install, and strangers beside it."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import guardrail
from guardrail.distribution import DISTRIBUTION, find_stranger, install_command

PACKAGE = Path(guardrail.__file__).parent
# An extra or a pin of a distribution that is called `guardrail` alone, and an order to install it.
MISNAMED = r"(?<![\w.-])guardrail(\[[a-z,]+\]|==)|pip install ['\"]?guardrail\b(?!\.)"


def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.fixture
def stranger(tmp_path):
    """A folder in which another distribution named `guardrail` is installed."""
    folder = tmp_path / "guardrail-0.1.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: guardrail\nVersion: 0.1.1\n")
    return tmp_path


def test_the_project_has_the_name_that_messages_use(repository):
    assert project(repository)["name"] == DISTRIBUTION
    assert set(project(repository)["scripts"]) == {"guardrail"}


def test_every_command_names_an_extra_that_there_is(repository):
    extras = set(project(repository)["optional-dependencies"])
    texts = [file.read_text() for file in PACKAGE.rglob("*.py")]
    named = {name for text in texts for name in re.findall(r"install_command\(['\"](\w+)", text)}
    named |= {
        name for text in texts for name in re.findall(r"require\([^)]*extra=['\"](\w+)", text)
    }
    named |= {name for text in texts for name in re.findall(r"EXTRA = ['\"](\w+)", text)}
    assert named >= {"demo", "detoxify", "embedding", "litellm", "local", "parquet", "sign"}
    assert named <= extras
    assert install_command("local") == "run: pip install 'certified-guardrail[local]'"


def test_no_text_installs_a_strangers_package(repository):
    folders = ("guardrail", "docs", "integrations", "benchmarks", "policies")
    files = [
        file for folder in folders for file in (repository / folder).rglob("*")
        if file.suffix in {".md", ".py", ".toml", ".yaml", ".txt"}
        and not {".environments", "tests"} & set(file.parts)
    ]  # fmt: skip
    assert len(files) > 200
    found = [
        f"{file.relative_to(repository)}: {match[0]}"
        for file in [*files, repository / "pyproject.toml", repository / "Makefile"]
        for match in re.finditer(MISNAMED, _without_python_indexing(file))
    ]
    assert found == []


def _without_python_indexing(file):
    """`answer.guardrail[...]` and `guardrail["reason"]` are no extras."""
    return re.sub(r"guardrail\[['\"]", "", file.read_text())


@pytest.mark.parametrize(
    "text",
    ["pip install guardrail\n", "pip install 'guardrail[local]'", '"guardrail==0.1.0"',
     "`guardrail[fast]`", '"guardrail[demo,detoxify]"'],
)  # fmt: skip
def test_wrong_names_are_seen(text):
    assert re.search(MISNAMED, text)
    assert not re.search(MISNAMED, text.replace("guardrail", DISTRIBUTION))


ASK_A_SERVER = {"osprey"}
"""Adapters that need a running server and nothing of the package."""


def test_adapters_are_named_after_it_and_want_its_version(repository):
    version = project(repository)["version"]
    files = sorted((repository / "integrations").glob("*/pyproject.toml"))
    assert len(files) >= 5
    for file in files:
        adapter = tomllib.loads(file.read_text())["project"]
        assert adapter["name"] == f"{DISTRIBUTION}-{file.parent.name.replace('_', '-')}"
        readme = (file.parent / "README.md").read_text()
        assert readme.startswith(f"# {adapter['name']}\n")
        assert f"pip install . ./integrations/{file.parent.name}" in readme.replace("'", "")
        needs_it = f"{DISTRIBUTION}=={version}" in adapter["dependencies"]
        assert needs_it is (file.parent.name not in ASK_A_SERVER)


def test_nothing_is_said_where_no_stranger_is(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_stranger() is None


def test_a_stranger_is_named_with_the_remedy(monkeypatch, stranger):
    monkeypatch.setattr(sys, "path", [str(stranger)])
    told = find_stranger()
    assert "'guardrail' (0.1.1)" in told
    assert "removing it alone would break this one" in told
    assert f"pip uninstall guardrail {DISTRIBUTION}" in told


def test_a_stranger_that_was_installed_later_has_replaced_our_files(monkeypatch, stranger):
    monkeypatch.setattr(sys, "path", [str(stranger)])
    monkeypatch.setitem(sys.modules, "guardrail", ModuleType("guardrail"))
    assert "it has replaced files of this one" in find_stranger()


def test_a_command_names_a_stranger_once_and_goes_on(stranger):
    done = _run(stranger, "policy", "schema")
    assert done.returncode == 0
    assert done.stdout.startswith("{")
    assert done.stderr.count("'guardrail' (0.1.1)") == 1
    assert len(done.stderr.splitlines()) == 1
    assert _run(stranger, "--help").stderr == ""


def _run(folder, *arguments):
    path = os.pathsep.join([str(folder), str(PACKAGE.parent)])
    return subprocess.run(
        [sys.executable, "-m", "guardrail", *arguments],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
