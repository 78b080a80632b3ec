"""What fields hold: one table for the readers, which check by it, and for the OpenAPI document.

A field that is left out and one that is null are the same, so every field that is not required may
be null in the document, and so may one that is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from guardrail.api.fields import invalid_field, join_path, refused_field

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from guardrail.types import Json

    Fields: TypeAlias = Mapping[str, "Shape"]

__all__ = [
    "ANYTHING",
    "FLAG",
    "LIST",
    "OBJECT",
    "OBJECTS",
    "TEXT",
    "TEXTS",
    "Shape",
    "any_of",
    "check_fields",
    "list_of",
    "object_schema",
    "one_of",
    "read_elsewhere",
]

_NULL: Mapping[str, Json] = {"type": "null"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What one field holds.

    Attributes:
        schema: as JSON Schema; says no more than what `check` refuses.
        check: called with a value that is not null and its path. Raises RequestError.
    """

    schema: Mapping[str, Json]
    check: Callable[[Json, str], None]


def check_fields(value: Mapping[str, Json], fields: Fields, at: str) -> None:
    """Refuses fields that are not in the table, or hold something else. Raises RequestError."""
    for name, content in value.items():
        if content is None:
            continue
        if name not in fields:
            raise refused_field(
                join_path(at, name), "is not a field that can be guarded; leave it out"
            )
        fields[name].check(content, join_path(at, name))


def object_schema(
    fields: Fields, required: Collection[str] = (), *, open_to_more: bool = False
) -> dict[str, Json]:
    """The JSON Schema of an object that `check_fields` takes, or that may hold more."""
    properties = {
        name: dict(shape.schema) if name in required else any_of(shape.schema, _NULL)
        for name, shape in fields.items()
    }
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": True if open_to_more else dict(_NULL),
    }


def any_of(*schemas: Mapping[str, Json]) -> dict[str, Json]:
    """The JSON Schema of what one of these takes."""
    if any(not schema for schema in schemas):
        return {}  # one of them takes everything
    return {"anyOf": [dict(schema) for schema in schemas]}


def list_of(items: Mapping[str, Json], *, least: int = 0) -> dict[str, Json]:
    """The JSON Schema of a list."""
    return {"type": "array", "items": dict(items), **({"minItems": least} if least else {})}


def read_elsewhere(schema: Mapping[str, Json]) -> Shape:
    """A field that its reader checks as it reads it."""
    return Shape(schema, lambda _value, _at: None)


def one_of(*values: str) -> Shape:
    """One of these words."""

    def check(value: Json, at: str) -> None:
        if value not in values:
            raise invalid_field(at, f"must be one of {', '.join(values)}")

    return Shape({"enum": list(values)}, check)


def _typed(kind: type, schema_type: str, expected: str) -> Shape:
    def check(value: Json, at: str) -> None:
        if not isinstance(value, kind):
            raise invalid_field(at, f"must be {expected}")

    return Shape({"type": schema_type}, check)


ANYTHING = read_elsewhere({})
TEXT = _typed(str, "string", "text")
FLAG = _typed(bool, "boolean", "true or false")
OBJECT = _typed(dict, "object", "an object")


def _list(item: Shape, expected: str) -> Shape:
    def check(value: Json, at: str) -> None:
        if not isinstance(value, list):
            raise invalid_field(at, f"must be {expected}")
        for index, content in enumerate(value):
            item.check(content, f"{at}[{index}]")

    return Shape(list_of(item.schema), check)


LIST = _list(ANYTHING, "a list")
OBJECTS = _list(OBJECT, "a list of objects")
TEXTS = _list(TEXT, "a list of texts")
