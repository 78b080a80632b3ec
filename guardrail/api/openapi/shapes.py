"""What messages, parts and items look like, as JSON Schemas for the OpenAPI document.

For readers and for generators of requests; what is taken is decided by the readers alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = ["FLAG", "ITEMS", "MESSAGES", "MODEL", "OBJECT", "OBJECTS", "TEXT", "TEXTS", "WHOLE"]

TEXT: Mapping[str, Json] = {"type": "string"}
FLAG: Mapping[str, Json] = {"type": "boolean"}
OBJECT: Mapping[str, Json] = {"type": "object"}
WHOLE: Mapping[str, Json] = {"type": "integer", "minimum": 1}
MODEL: Mapping[str, Json] = {"type": "string", "pattern": r"\S"}
_URL: Mapping[str, Json] = {"type": "string", "format": "uri"}


def _list(items: Mapping[str, Json], *, least: int = 0) -> dict[str, Json]:
    return {"type": "array", "items": dict(items), "minItems": least}


def _object(*needed: str, more: Mapping[str, Mapping[str, Json]] | None = None) -> dict[str, Json]:
    """An object of texts under the needed names, but for those that `more` describes."""
    properties = {**dict.fromkeys(needed, TEXT), **(more or {})}
    return {
        "type": "object",
        "required": list(needed),
        "properties": properties,
        "additionalProperties": False,
    }


def _kind(name: str) -> dict[str, Mapping[str, Json]]:
    return {"type": {"const": name}}


def _either(*shapes: Mapping[str, Json]) -> dict[str, Json]:
    return {"anyOf": list(shapes)}


TEXTS: Mapping[str, Json] = _list(TEXT)
OBJECTS: Mapping[str, Json] = _list(OBJECT)

_PARTS = _list(
    _either(
        _object("type", "text", more=_kind("text")),
        _object(
            "type",
            "image_url",
            more={**_kind("image_url"), "image_url": _object("url", more={"url": _URL})},
        ),
    ),
    least=1,
)
_MESSAGE: Mapping[str, Json] = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": _either(TEXT, _PARTS),
        "name": TEXT,
        "tool_calls": OBJECTS,
        "tool_call_id": TEXT,
    },
    "additionalProperties": False,
}
MESSAGES: Mapping[str, Json] = _list(_MESSAGE, least=1)

_INPUT_PARTS = _list(
    _either(
        _object("type", "text", more=_kind("input_text")),
        _object("type", "image_url", more={**_kind("input_image"), "image_url": _URL}),
    ),
    least=1,
)
_INPUT_CONTENT = _either(TEXT, _INPUT_PARTS)
ITEMS: Mapping[str, Json] = _either(
    TEXT,
    _list(
        _either(
            _object(
                "role",
                "content",
                more={
                    **_kind("message"),
                    "role": {"enum": ["user", "assistant", "system", "developer"]},
                    "content": _INPUT_CONTENT,
                },
            ),
            _object("type", "call_id", "name", "arguments", more=_kind("function_call")),
            _object(
                "type",
                "call_id",
                "output",
                more={**_kind("function_call_output"), "output": _INPUT_CONTENT},
            ),
        ),
        least=1,
    ),
)
