"""Tools and the choice among them, to a chat's functions.

Only a client's own tools, with their schemas, can be carried over: what others bring to the model,
or run at the provider, would not be seen here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from guardrail.api.messages.input import kind_of
from guardrail.api.shapes import (
    ANYTHING,
    FLAG,
    OBJECT,
    TEXT,
    Shape,
    any_of,
    check_fields,
    invalid_field,
    list_of,
    object_at,
    object_schema,
    one_of,
    refused_field,
    text_at,
)
from guardrail.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = ["TOOLS", "TOOL_CHOICE", "read_tool_choice", "read_tools"]

_PLAIN_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")
_OWN = "custom"


def _only(*values: Json, why: str) -> Shape:
    """A field that may say what is so in any case."""

    def check(value: Json, at: str) -> None:
        if value not in values:
            raise refused_field(at, why)

    return Shape({"enum": list(values)}, check)


_TOOL_FIELDS: Mapping[str, Shape] = {
    "type": one_of(_OWN),
    "name": TEXT,
    "description": TEXT,
    "input_schema": OBJECT,
    "strict": FLAG,
    "cache_control": ANYTHING,
    "eager_input_streaming": FLAG,
    "defer_loading": _only(False, why="all tools are told at once here; leave it out"),
    "allowed_callers": _only(
        ["direct"], [], why="only the model itself calls tools here; leave it out"
    ),
}
_NOT_CARRIED = ("cache_control", "eager_input_streaming")
_CHOICES: Mapping[str, str] = {"auto": "auto", "any": "required", "none": "none"}
_CHOICE_FIELDS: Mapping[str, Shape] = {
    "type": one_of(*_CHOICES, "tool"),
    "name": TEXT,
    "disable_parallel_tool_use": FLAG,
}
TOOLS = list_of(object_schema(_TOOL_FIELDS, ("name", "input_schema")))
"""The JSON Schema of `tools`."""

TOOL_CHOICE = any_of(
    object_schema({**_CHOICE_FIELDS, "type": one_of(*_CHOICES)}, ("type",)),
    object_schema({**_CHOICE_FIELDS, "type": one_of("tool")}, ("type", "name")),
)
"""The JSON Schema of `tool_choice`."""


def read_tools(value: Json, withheld: set[str]) -> list[Json] | None:
    """The functions; names of what they lose are added to `withheld`. Raises RequestError."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise invalid_field("tools", "must be a list of tools")
    return [_tool(tool, f"tools[{i}]", withheld) for i, tool in enumerate(value)] or None


def _tool(value: Json, at: str, withheld: set[str]) -> dict[str, Json]:
    tool = object_at(value, at)
    kind = kind_of(tool)
    if tool.get("type") is not None and kind != _OWN:
        named = f" ('{kind}')" if _PLAIN_KIND.fullmatch(kind) else ""
        raise RequestError(
            f"{at}.type: only tools with a schema of your own can be guarded, not those of a type"
            f"{named} that the provider defines or runs; what they bring to the model would not "
            "be seen here",
            param=f"{at}.type",
            code="unsupported_tool",
        )
    check_fields(tool, _TOOL_FIELDS, at)
    withheld.update(
        name if name == "cache_control" else f"tools.{name}"
        for name in _NOT_CARRIED
        if tool.get(name)
    )
    function = {
        "name": text_at(tool.get("name"), f"{at}.name"),
        "description": tool.get("description"),
        "parameters": object_at(tool.get("input_schema"), f"{at}.input_schema"),
        "strict": tool.get("strict"),
    }
    said = {name: part for name, part in function.items() if part is not None}
    return {"type": "function", "function": said}


def read_tool_choice(value: Json) -> tuple[Json, bool | None]:
    """A chat's `tool_choice` and `parallel_tool_calls`; None for what is not said."""
    if value is None:
        return None, None
    at = "tool_choice"
    choice = object_at(value, at)
    check_fields(choice, _CHOICE_FIELDS, at)
    kind = kind_of(choice)
    parallel = False if choice.get("disable_parallel_tool_use") else None
    if kind == "tool":
        name = text_at(choice.get("name"), f"{at}.name")
        return {"type": "function", "function": {"name": name}}, parallel
    if kind not in _CHOICES:
        raise invalid_field(f"{at}.type", f"must be one of {', '.join(_CHOICES)}, tool")
    return _CHOICES[kind], parallel
