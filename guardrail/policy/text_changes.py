"""Changes fields in the text of a policy, and leaves every other character as it is."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import yaml

from guardrail.errors import ConfigError
from guardrail.printable import show_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["change_text"]

_WIDTH = 98
_GOES_ON = "#   "
"""Begins every line of a comment but its first, so that its end can be found again."""
_CANNOT = "this field cannot be changed where it stands; write it in the editor"


def change_text(text: str, changes: Mapping[str, tuple[Any, str]]) -> str:
    """The text with other values, each with a comment above its line.

    The comment of an earlier change of the same field gives way; all others stay.

    A field that the text does not have is added to its section. A text in JSON is written anew,
    without comments. The caller compares what came of it with what it wished.

    Args:
        text: of a policy, YAML or JSON.
        changes: value and comment, by places such as `smoothing.radius`.

    Raises:
        ConfigError: the text is none of a mapping, or a field stands where it cannot be changed.
    """
    if text.lstrip("\ufeff \t\r\n").startswith("{") and _is_json(text):
        return _change_json(text, changes)
    line_end = "\r\n" if "\r\n" in text else "\n"
    for place, (value, comment) in changes.items():
        text = _change(text, place, json.dumps(value), f"{place}: {comment}", line_end)
    return text


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _change_json(text: str, changes: Mapping[str, tuple[Any, str]]) -> str:
    content = json.loads(text)
    for place, (value, _) in changes.items():
        *sections, name = place.split(".")
        section = content
        for part in sections:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise ConfigError(_CANNOT, field=place)
        section[name] = value
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _change(text: str, place: str, value: str, comment: str, line_end: str) -> str:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(_CANNOT, field=place) from error
    above: int | None = None  # the comment goes above the innermost field that has its own line
    parts = place.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(_CANNOT, field=place)
        pair = next((pair for pair in node.value if pair[0].value == part), None)
        if pair is None:
            return _add(text, node, parts[depth:], value, comment, line_end, above)
        if not node.flow_style:
            above = _line_start(text, pair[0].start_mark.index)
        node = pair[1]
    if not isinstance(node, yaml.ScalarNode) or above is None:
        raise ConfigError(_CANNOT, field=place)
    start, end = node.start_mark.index, node.end_mark.index
    gap = " " if start and text[start - 1] == ":" else ""
    changed = text[:start] + gap + value + text[end:]
    return _comment_at(changed, above, comment, line_end)


def _add(
    text: str,
    node: yaml.MappingNode,
    parts: Sequence[str],
    value: str,
    comment: str,
    line_end: str,
    above: int | None,
) -> str:
    """A field that is not there yet, with those of its sections that are not there either."""
    if node.flow_style:
        start = node.start_mark.index
        if text[start] != "{" or above is None:
            raise ConfigError(_CANNOT, field=".".join(parts))
        inner = f"{parts[-1]}: {value}"
        for part in reversed(parts[:-1]):
            inner = f"{part}: {{{inner}}}"
        more = ", " if node.value else ""
        added = f"{text[: start + 1]}{inner}{more}{text[start + 1 :]}"
        return _comment_at(added, above, comment, line_end)
    at = _line_start(text, node.value[0][0].start_mark.index)
    column = node.value[0][0].start_mark.column
    if text[at : at + column].strip():
        raise ConfigError(_CANNOT, field=".".join(parts))
    if above is None:  # a new section stands at the end of the whole
        at = node.end_mark.index
        if at and text[at - 1] not in "\r\n":
            text = text[:at] + line_end + text[at:]
            at += len(line_end)
    lines = [f"{' ' * (column + 2 * depth)}{part}:" for depth, part in enumerate(parts)]
    lines[-1] += f" {value}"
    lines[-1:-1] = _wrap(comment, " " * (column + 2 * (len(parts) - 1)))
    return text[:at] + "".join(line + line_end for line in lines) + text[at:]


def _comment_at(text: str, at: int, comment: str, line_end: str) -> str:
    indent = text[at : at + len(text[at:]) - len(text[at:].lstrip(" "))]
    place = comment.partition(":")[0]
    above = _drop_comment(text[:at].splitlines(keepends=True), f"{indent}# {place}: ")
    return above + "".join(line + line_end for line in _wrap(comment, indent)) + text[at:]


def _drop_comment(lines: list[str], beginning: str) -> str:
    """The lines without the comment that begins so, where one stands at their end."""
    first = len(lines)
    while first and lines[first - 1].lstrip(" ").startswith("#"):
        first -= 1
        if lines[first].startswith(beginning):
            after = first + 1
            while after < len(lines) and lines[after].lstrip(" ").startswith(_GOES_ON):
                after += 1
            return "".join([*lines[:first], *lines[after:]])
    return "".join(lines)


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _wrap(comment: str, indent: str) -> list[str]:
    return textwrap.wrap(
        show_text(comment),
        _WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}{_GOES_ON}",
    )
