"""What import-linter cannot see: packages that touch no file, no process and no network."""

import ast
from pathlib import Path

import pytest

import guardrail

PACKAGE = Path(guardrail.__file__).parent
OUTSIDE = {"asyncio", "http", "multiprocessing", "os", "pathlib", "shutil", "socket",
           "ssl", "subprocess", "tempfile", "urllib"}  # fmt: skip


def imported(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def find_open_calls(file):
    return [
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "open"
    ]


@pytest.mark.parametrize("package", ["images", "stats"])
def test_pictures_and_statistics_touch_nothing_outside(package):
    files = sorted((PACKAGE / package).rglob("*.py"))
    assert files
    found = {(file.name, name.partition(".")[0]) for file in files for name in imported(file)}
    assert not {entry for entry in found if entry[1] in OUTSIDE}
    assert not [file.name for file in files if find_open_calls(file)]
