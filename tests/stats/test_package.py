"""The floor as a whole: what it exports, what it imports, how it is written."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

import guardrail.stats as package

FOLDER = Path(package.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))
ALLOWED = {
    "__future__", "bisect", "collections", "dataclasses", "enum", "fractions", "functools",
    "guardrail", "hashlib", "itertools", "json", "math", "numpy", "scipy", "sys", "typing",
}  # fmt: skip


def test_exports_exist_and_are_sorted():
    # Constants, classes, functions, each by name: the linter's order.
    kinds = sorted(package.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert list(package.__all__) == kinds
    for name in package.__all__:
        assert hasattr(package, name)


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_are_pure(path):
    for name in imported(ast.parse(path.read_text())):
        assert name.partition(".")[0] in ALLOWED, name
        if name.startswith("guardrail"):
            assert name.startswith(("guardrail.stats", "guardrail.errors")), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_exported_names_of_every_file_are_sorted_and_defined(path):
    tree = ast.parse(path.read_text())
    exported = next(
        [ast.literal_eval(item) for item in node.value.elts]
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    assert len(set(exported)) == len(exported)
    defined = {getattr(node, "name", None) for node in tree.body} | {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    if path.name != "__init__.py":
        assert set(exported) <= defined


@pytest.mark.parametrize("name", package.__all__)
def test_public_names_have_docstrings(name):
    thing = getattr(package, name)
    assert inspect.getdoc(thing)


@pytest.mark.parametrize("name", package.__all__)
def test_public_classes_are_frozen_or_enumerations(name):
    thing = getattr(package, name)
    if inspect.isclass(thing) and not issubclass(thing, Enum):
        assert dataclasses.is_dataclass(thing)
        assert thing.__dataclass_params__.frozen


def test_importing_it_loads_no_heavy_package():
    code = (
        "import sys, guardrail.stats;"
        "print([m for m in ('torch', 'scipy.stats', 'scipy.interpolate', 'pydantic', 'httpx')"
        " if m in sys.modules])"
    )
    root = FOLDER.parents[1]
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert run.stdout.strip() == "[]"
