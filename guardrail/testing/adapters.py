"""The rules that hold for every adapter to a framework, checked on its text."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import guardrail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

__all__ = ["check_adapter"]

_MOST_LINES = 150
_DECIDING = frozenset(
    {"Action", "Outcome", "Reason", "Verdict", "harmless", "harmful", "threshold", "would_block"}
)
"""Words that an adapter needs only if it judges by itself."""


def check_adapter(package: ModuleType) -> None:
    """Asserts that a package stays thin, uses public names only and decides nothing.

    Raises:
        AssertionError: says which file breaks which rule.
    """
    files = sorted(Path(str(package.__file__)).parent.rglob("*.py"))
    assert files, "the package has no files"
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= _MOST_LINES, f"{file.name}: over {_MOST_LINES} lines"
        for found in _names(ast.parse(text)):
            assert found not in _DECIDING, f"{file.name}: '{found}' decides; the engine does that"
        for name in _list_imports(ast.parse(text)):
            assert name in guardrail.__all__, f"{file.name}: guardrail.{name} is not public"


def _list_imports(tree: ast.Module) -> Iterator[str]:
    """What is imported from guardrail and below, by the name after `guardrail.`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            head, _, rest = node.module.partition(".")
            if head == "guardrail":
                yield from [rest] if rest else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                head, _, rest = alias.name.partition(".")
                if head == "guardrail" and rest:
                    yield rest


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
