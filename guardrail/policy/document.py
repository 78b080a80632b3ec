"""YAML and JSON files that people write: what they hold, and in which line."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from guardrail.errors import ConfigError
from guardrail.files import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "LARGEST_BYTES",
    "NOWHERE",
    "Document",
    "Source",
    "find_child",
    "parse_document",
    "parse_json_lines",
    "read_document",
]

_MISSING = object()
_UNREADABLE = "a value in it cannot be read"
_NO_TEXT = "it is not UTF-8 text, or has control characters in it; save it as UTF-8"
_MOST_VALUES = 100_000
LARGEST_BYTES = 1024 * 1024
"""Of a policy or another file that people write."""
_BOOL = "tag:yaml.org,2002:bool"
_YAML_1_2_BOOL = re.compile(r"^(true|True|TRUE|false|False|FALSE)$")
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_PLAIN_INT = re.compile(r"^(?:[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F_]+|0b[01_]+)$")
_YAML_1_2_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)[eE][-+]?[0-9]+"
    r"|[-+]?(?:[0-9][0-9_]*)?\.[0-9][0-9_]*|[-+]?[0-9][0-9_]*\."
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


@dataclass(frozen=True, slots=True)
class Document:
    """One file.

    Attributes:
        file: its name, for messages.
        content: what it holds.
        node: the same with its lines; None where they are not known.
        duplicates: one error for each key that a mapping names twice.
    """

    file: str
    content: Any
    node: yaml.Node | None
    duplicates: tuple[ConfigError, ...] = ()

    def find_line(self, place: Sequence[str | int]) -> int | None:
        """The line (from 1) of a field, or of the deepest section on the way that exists."""
        node = self.node
        line = None if node is None else node.start_mark.line + 1
        for part in place:
            found = _find_node(node, part)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line

    def has(self, place: Sequence[str | int]) -> bool:
        """Whether the field stands in this file."""
        value = self.content
        for part in place:
            value = find_child(value, part, missing=_MISSING)
        return value is not _MISSING


@dataclass(frozen=True, slots=True)
class Source:
    """Where a policy is written.

    Attributes:
        folder: where its relative paths start.
        documents: its file, the one that this file extends, and so on. Two policies that hold the
            same are equal, in whichever files they stand.
    """

    folder: Path
    documents: tuple[Document, ...] = field(default=(), compare=False, repr=False)

    def locate(self, place: Sequence[str | int]) -> tuple[str | None, int | None]:
        """File and line of a field: of the first file that has it, else of the policy's own."""
        if not self.documents:
            return None, None
        holder = next((d for d in self.documents if d.has(place)), self.documents[0])
        return holder.file, holder.find_line(place)

    def find_field(self, name: str) -> tuple[str | None, int | None]:
        """The same of a field that is written with dots, as in `limits.retries`."""
        return self.locate([int(part) if part.isdecimal() else part for part in name.split(".")])


NOWHERE = Source(Path())
"""The source of a policy that was made in Python."""


def find_child(value: Any, part: str | int, *, missing: Any = None) -> Any:
    """A field of a mapping or an item of a list; `missing` where there is none."""
    if isinstance(value, dict):
        return value.get(part, missing)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return missing


def read_document(file: Path, what: str) -> Document:
    """Reads and parses a file. Raises ConfigError."""
    data = read_file(file, what, max_bytes=LARGEST_BYTES)
    return parse_document(data, file=str(file))


def parse_document(data: bytes, *, file: str) -> Document:
    """The content of a text: JSON where the file's name ends in .json, else YAML.

    Raises:
        ConfigError: the text is not valid YAML or JSON.
    """
    return _parse_json(data, file) if file.lower().endswith(".json") else _parse_yaml(data, file)


def parse_json_lines(data: bytes, *, file: str, name: str) -> Document:
    """A JSON value in each line, as a list under `name`; blank lines are left out.

    Raises:
        ConfigError: a line is not valid JSON.
    """
    rows = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    for number, line in rows:
        try:
            # By itself: two halves of a value in two lines would be a whole one in the list.
            json.loads(line)
        except (ValueError, RecursionError) as error:
            problem = _NO_TEXT if isinstance(error, UnicodeError) else _UNREADABLE
            problem = getattr(error, "msg", problem)
            raise ConfigError(
                f"this is not valid JSON: {problem}", file=file, line=number
            ) from error
    numbers = {number for number, _ in rows}
    last = max(numbers, default=0)
    listed = b"\n".join(
        line + b"," * (number in numbers and number < last)
        for number, line in enumerate(data.split(b"\n"), 1)
    )
    return _parse_json(b"{%s: [%s]}" % (json.dumps(name).encode(), listed), file)


class _Loader(yaml.SafeLoader):
    """Reads numbers and words as YAML 1.2, and JSON Schema after it, understand them.

    YAML 1.1 takes `1e-3` for a text, as it wants a dot and a sign: `1.0e-3`; it takes `off`, `on`,
    `yes` and `no` for false and true, `010` for 8 and `3:00` for 180. Of the last two neither is
    what people mean, nor what others read: both are texts here, and so no number at all.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL, _INT, _FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, _YAML_1_2_BOOL, list("tTfF"))
_Loader.add_implicit_resolver(_INT, _PLAIN_INT, list("-+0123456789"))
_Loader.add_implicit_resolver(_FLOAT, _YAML_1_2_FLOAT, list("-+.0123456789"))


def _parse_yaml(data: bytes, file: str) -> Document:
    try:
        node, content = _load_yaml(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        problem = getattr(error, "problem", None) or _UNREADABLE
        if isinstance(error, UnicodeError | yaml.reader.ReaderError):
            problem = _NO_TEXT
        raise ConfigError(f"this is not valid YAML: {problem}", file=file, line=line) from error
    duplicates = tuple(
        _name_duplicate(key.value, file, key.start_mark.line + 1) for key in _find_duplicates(node)
    )
    return Document(file, content, node, duplicates)


def _load_yaml(data: bytes) -> tuple[yaml.Node | None, Any]:
    loader = _Loader(data)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        _count_values(node, {})
        return node, loader.construct_document(node)
    finally:
        loader.dispose()


def _count_values(node: yaml.Node, counts: dict[int, int]) -> int:
    """How many values a node is, aliases unfolded; 0 in `counts` while that is being asked.

    A few lines of aliases of aliases can stand for billions of values.

    Raises:
        MarkedYAMLError: they are too many, or never end.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in counts:
        counts[id(node)] = 0
        inner = chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        counts[id(node)] = 1 + sum(_count_values(one, counts) for one in inner)
    count = counts[id(node)]
    if not 0 < count <= _MOST_VALUES:
        what = f"aliases make more than {_MOST_VALUES} values of it" if count else "it holds itself"
        raise yaml.MarkedYAMLError(problem=f"{what}; write it out", problem_mark=node.start_mark)
    return count


def _find_duplicates(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Keys that a mapping names again: the first value would be lost silently."""
    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:  # an alias brings a node twice, or into itself
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        yield key
                    keys.add(key.value)
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)


def _parse_json(data: bytes, file: str) -> Document:
    twice: list[str] = []

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                twice.append(key)
            found[key] = value
        return found

    try:
        content = json.loads(data, object_pairs_hook=build, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        is_plain = type(error) is ValueError
        problem = str(error) if is_plain else getattr(error, "msg", _UNREADABLE)
        if isinstance(error, UnicodeError):
            problem = _NO_TEXT
        raise ConfigError(f"this is not valid JSON: {problem}", file=file, line=line) from error
    node = _find_json_lines(data)
    lines = {key.value: key.start_mark.line + 1 for key in _find_duplicates(node)}
    return Document(
        file, content, node, tuple(_name_duplicate(key, file, lines.get(key)) for key in twice)
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def _find_json_lines(data: bytes) -> yaml.Node | None:
    """The lines of JSON text, which nearly always is YAML as well; None where it is not.

    YAML takes no tabs between values. In JSON they stand nowhere else: a text has them escaped.
    """
    try:
        node: yaml.Node | None = yaml.compose(data.replace(b"\t", b" "), Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return node


def _name_duplicate(key: str, file: str, line: int | None) -> ConfigError:
    return ConfigError(f"the field '{key}' is given twice here; keep one", file=file, line=line)


def _find_node(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Where a field or an item starts, and its value."""
    if isinstance(node, yaml.MappingNode):
        return next(((k, v) for k, v in node.value if k.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None
