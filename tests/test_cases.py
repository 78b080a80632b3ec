"""docs/cases.md: every row names tests that exist, how many members they try, and true messages."""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cases.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)((?:::\w+)+)`")
CODE = re.compile(r"`([^`]+)`")
SPEAKING = ("api", "server", "upstreams", "images", "engine", "policy")
"""The packages whose messages clients see."""


def tables():
    """The tables of the page: lists of rows, each a list of cells, without the head."""
    found = []
    for block in re.split(r"\n\s*\n", PAGE.read_text()):
        lines = [line for line in block.strip().splitlines() if line.startswith("|")]
        if lines:
            found.append([re.split(r"(?<!\\)\|", line.strip("|")) for line in lines[2:]])
    return [[[cell.strip() for cell in row] for row in table] for table in found]


CASES, REFUSED = [row for table in tables()[:-1] for row in table], tables()[-1]


@cache
def module_of(path):
    """A file of tests, imported under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"cases_{path.replace('/', '_')[:-3]}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def members_of(path, name):
    """How many members a test tries: parameters, times examples that are drawn, or a table's."""
    module = module_of(str(ROOT / path))
    holders = [module]
    for part in name.strip(":").split("::"):
        holders.append(getattr(holders[-1], part))
    test = holders[-1]
    marks = [mark for holder in holders[1:] for mark in getattr(holder, "pytestmark", ())]
    members = 1
    for mark in marks:
        if mark.name == "parametrize":
            members *= len(list(mark.args[1]))
    if hasattr(test, "hypothesis"):
        drawn = getattr(test, "_hypothesis_internal_use_settings", None) or settings.default
        return members * drawn.max_examples
    return max(members, *(map(len, _tables_in(test, module))))


def _tables_in(test, module):
    """The tables of the module that the test goes through, and one of a single member."""
    yield [None]
    codes = [test.__code__]
    for code in codes:
        codes += [const for const in code.co_consts if hasattr(const, "co_names")]
        for name in code.co_names:
            value = getattr(module, name, None)
            if name.isupper() and isinstance(value, dict | list | tuple | set | frozenset):
                yield value


def test_the_page_is_linked():
    assert "docs/cases.md" in (ROOT / "README.md").read_text()
    assert "(cases.md)" in (ROOT / "docs" / "README.md").read_text()


@pytest.mark.parametrize("row", CASES, ids=lambda row: row[0][:60])
def test_a_case_names_tests_that_try_as_many_members(row):
    _, told, members, tests = row
    named = TEST.findall(tests)
    assert named
    assert TEST.sub("", tests).strip(" ,") == ""
    assert told
    assert 1 <= int(members.replace(",", "")) <= sum(members_of(*one) for one in named)


def test_there_are_cases_of_every_kind():
    assert len(tables()) >= 6
    assert len(CASES) >= 40
    assert len(REFUSED) >= 10


@cache
def spoken():
    """All texts of the package as one, places that are filled in written as `…`."""
    texts = []
    for path in (path for part in SPEAKING for path in (ROOT / "guardrail" / part).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", None) for part in node.values)
                texts.append("".join(p if isinstance(p, str) else "…" for p in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0][:60])
def test_what_is_not_supported_is_told_in_these_words(row):
    _, message, _, tests = row
    quoted = CODE.findall(message)
    assert quoted
    assert all(text in spoken() for text in quoted)
    assert all(members_of(*one) for one in TEST.findall(tests))
    assert TEST.search(tests)


def test_every_code_that_is_named_is_one_of_the_package():
    codes = {c for row in CASES for c in CODE.findall(row[1]) if re.fullmatch(r"[a-z]+_[a-z_]+", c)}
    assert len(codes) > 10
    assert {code for code in codes if code not in spoken()} == set()
