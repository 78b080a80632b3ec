"""Reads a list of words and patterns; a mistake in it is named by its line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from guardrail.errors import ConfigError
from guardrail.files import read_file
from guardrail.oracles.lexicon.scorer import Entry

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_lexicon"]

_LARGEST_BYTES = 4 * 1024 * 1024
_MOST_ENTRIES = 10_000
_LONGEST_TEXT = 500
_LONGEST_WORD = 64
_FIELDS = frozenset({"phrase", "pattern", "category", "weight", "languages", "notes"})


def read_lexicon(path: Path) -> list[Entry]:
    """The entries of a YAML file, in their order.

    Raises:
        ConfigError: the file cannot be read, is too large, or something in it is wrong.
    """
    file = str(path)
    root = _compose(read_file(path, "lexicon", max_bytes=_LARGEST_BYTES), file)
    fields = _fields(root, file)
    if set(fields) != {"version", "entries"} or _plain(fields["version"]) != 1:
        raise _wrong("a lexicon has two fields, 'version: 1' and 'entries'", file, root)
    listed = fields["entries"]
    if not isinstance(listed, yaml.SequenceNode) or not listed.value:
        raise _wrong("'entries' is a list of at least one entry", file, listed)
    if len(listed.value) > _MOST_ENTRIES:
        raise _wrong(f"a lexicon has at most {_MOST_ENTRIES} entries", file, listed)
    return [_entry(node, file) for node in listed.value]


def _compose(data: bytes, file: str) -> yaml.Node | None:
    try:
        return yaml.compose(data, Loader=_NoAliases)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "a value in it cannot be read"
        line = None if mark is None else mark.line + 1
        raise ConfigError(f"not valid YAML: {problem}", file=file, line=line) from error


class _NoAliases(yaml.SafeLoader):
    """A loader that refuses aliases, by which a small file could expand to a huge list."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # so in its stubs
            raise yaml.composer.ComposerError(
                None, None, "a lexicon takes no aliases", event.start_mark
            )
        return super().compose_node(parent, index)


def _entry(node: yaml.Node, file: str) -> Entry:
    fields = _fields(node, file)
    for name, value in fields.items():
        if name not in _FIELDS:
            raise _wrong(f"an entry has no such field; known are {_known_fields()}", file, value)
    if ("phrase" in fields) == ("pattern" in fields):
        raise _wrong("an entry has either 'phrase' or 'pattern'", file, node)
    kind = "phrase" if "phrase" in fields else "pattern"
    return Entry(
        text=_text(fields, kind, node, file, _LONGEST_TEXT),
        is_pattern=kind == "pattern",
        category=_text(fields, "category", node, file, _LONGEST_WORD),
        weight=_weight(fields, file),
        line=node.start_mark.line + 1,
    )


def _known_fields() -> str:
    return ", ".join(sorted(_FIELDS))


def _fields(node: yaml.Node | None, file: str) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong("must be a mapping of fields, such as 'category: weapons'", file, node)
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = str(key.value)
        if name in fields:
            raise _wrong(f"the field '{name[:40]}' is given twice here", file, key)
        fields[name] = value
    return fields


def _text(
    fields: dict[str, yaml.Node], name: str, entry: yaml.Node, file: str, longest: int
) -> str:
    value = _plain(fields.get(name))
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise _wrong(
            f"'{name}' is a text of 1 to {longest} characters; put quotes around a number or a "
            "word such as yes",
            file,
            fields.get(name, entry),
        )
    return value.strip() if name != "pattern" else value


def _weight(fields: dict[str, yaml.Node], file: str) -> float:
    value = _plain(fields["weight"]) if "weight" in fields else 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise _wrong("'weight' is a number above 0 and at most 1", file, fields.get("weight"))
    return float(value)


def _plain(node: yaml.Node | None) -> Any:
    """What a scalar stands for; None for everything else."""
    if not isinstance(node, yaml.ScalarNode):
        return None
    try:
        return _NoAliases("").construct_object(node)
    except (ValueError, yaml.YAMLError):
        return None


def _wrong(problem: str, file: str, node: yaml.Node | None) -> ConfigError:
    line = None if node is None else node.start_mark.line + 1
    return ConfigError(problem, file=file, line=line)
