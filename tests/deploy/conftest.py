"""What the files under deploy/ say, read once."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = [DEPLOY / "Dockerfile", DEPLOY / "Dockerfile.full"]


def read_dockerfile(file):
    """(instruction, the rest of its logical line) in order."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def argument_of(file, instruction):
    """The last such instruction's argument, as JSON where it is an array."""
    found = [rest for name, rest in read_dockerfile(file) if name == instruction][-1]
    return json.loads(found) if found.startswith("[") else found


def yaml_documents():
    """(file, document) of every YAML file."""
    files = sorted([*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.yml")])
    return [(file, document) for file in files for document in yaml.safe_load_all(file.read_text())]


def read_lock(file):
    """The version by the package's name, and how many hashes each has."""
    versions, hashes = {}, {}
    for line in file.read_text().splitlines():
        found = re.match(r"([a-z0-9._-]+)==([^ ;\\]+)", line)
        if found:
            name = found[1]
            versions[name] = found[2]
        elif line.strip().startswith("--hash=sha256:"):
            hashes[name] = hashes.get(name, 0) + 1
    return versions, hashes


def make_variable(name):
    """The words of a variable of the Makefile."""
    found = re.search(rf"^{name} := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    words = shlex.split(found[1])
    return [w for word in words for w in (make_variable(word[2:-1]) if word[0] == "$" else [word])]


@pytest.fixture(scope="session")
def files():
    """The helpers of this file."""
    return sys.modules[__name__]
