"""What of a policy a draft may not change: whatever names code, files, addresses or secrets.

Whoever may write policies in a browser does not by that run code on the server, read its files, or
send the keys in its environment to an address of their own. Such fields are changed in the file,
by who may write there. They are found by what is free to be written, so that a field that nobody
has thought of is held.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigError
from guardrail.oracles.registry import builtin_kinds, find_options
from guardrail.policy.fields import schema_tree
from guardrail.policy.shipped import shipped_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.policy.document import Document
    from guardrail.policy.fields import SchemaTree

__all__ = ["FREE_TEXTS", "find_held", "oracle_words"]

FREE_TEXTS = frozenset({"rubric", "harmless_label"})
"""Fields of oracles that take any text, and do nothing with it but compare or say it."""

_PLACES = ("recall",)
_WHY = (
    "this names code, a file, an address, a model or a secret, and is changed in the file on the "
    "server only; put back what stands there"
)


def find_held(draft: Document, current: Document) -> Iterator[ConfigError]:
    """One error for each field of a draft that it may not change.

    Nothing that a policy names is imported or read for it.

    Args:
        draft: what somebody wrote.
        current: the file that it is to replace.
    """
    new = draft.content if isinstance(draft.content, dict) else {}
    old = current.content if isinstance(current.content, dict) else {}
    if new.get("extends") != old.get("extends") and new.get("extends") not in (
        None, *shipped_names(),
    ):  # fmt: skip
        yield _held(draft, ("extends",))
    for name in _PLACES:
        if new.get(name) is not None and new[name] != old.get(name):
            yield _held(draft, (name,))
    known = dict(_texts(old.get("oracle"), ("oracle",)))
    for place, text in _texts(new.get("oracle"), ("oracle",)):
        if known.get(place) != text and not _is_free(place, text):
            yield _held(draft, place)


def _is_free(place: tuple[str | int, ...], text: str) -> bool:
    name = next(str(part) for part in reversed(place) if isinstance(part, str))
    if name == "kind":
        return text in builtin_kinds()
    return name in FREE_TEXTS or text in oracle_words().get(name, frozenset())


def _texts(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text below a place; whatever is no text, number or truth value counts as one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, (*place, str(name)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*place, number))
    elif value is not None and not isinstance(value, bool | int | float):
        yield place, str(value)


def _held(document: Document, place: tuple[str | int, ...]) -> ConfigError:
    line = document.find_line(place)
    field = ".".join(map(str, place))
    return ConfigError(_WHY, file=document.file, line=line, field=field)


@cache
def oracle_words() -> Mapping[str, frozenset[str]]:
    """By the names of fields of the oracles of this package: the fixed words that they take."""
    found: dict[str, set[str]] = {}
    for kind in builtin_kinds():
        tree = schema_tree(find_options(kind))
        _gather(tree, tree.schema, found, 0)
    return {name: frozenset(words) for name, words in found.items()}


_DEEPEST = 8


def _gather(
    tree: SchemaTree, entry: dict[str, Any], found: dict[str, set[str]], depth: int, name: str = ""
) -> None:
    if depth > _DEEPEST:
        return
    for form in tree.alternatives(entry):
        for word in (*form.get("enum", ()), form.get("const")):
            if isinstance(word, str) and name:
                found.setdefault(name, set()).add(word)
        for inner_name, inner in form.get("properties", {}).items():
            _gather(tree, inner, found, depth + 1, inner_name)
        if isinstance(form.get("items"), dict):
            _gather(tree, form["items"], found, depth + 1, name)
