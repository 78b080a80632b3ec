"""The OpenAPI document, made of the tables that requests are read by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from guardrail.types import Json

__all__ = [
    "ANTHROPIC_ERROR",
    "KEY_SECURITY",
    "describe_operation",
    "describe_plain",
    "make_document",
]

_JSON = "application/json"
_STREAM = "text/event-stream"
_ABOUT = (
    "Certified content moderation between a client and a vision-language model. Every route that "
    "can carry a picture or an answer is guarded; every other one is refused."
)
_ERROR: Mapping[str, Json] = {
    "type": "object",
    "description": "OpenAI's error body.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_SCHEMES: Mapping[str, Json] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of this server, as OpenAI's clients send it.",
    },
    "x_api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
KEY_SECURITY: tuple[Mapping[str, Json], ...] = tuple({name: []} for name in _SCHEMES)
"""What an operation says that takes a key, in either of two headers."""

ANTHROPIC_ERROR: Mapping[str, Json] = {
    "type": "object",
    "description": "Anthropic's error body.",
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "details": {
                    "type": "object",
                    "properties": {
                        "error_code": {"type": ["string", "null"]},
                        "param": {"type": ["string", "null"]},
                    },
                },
            },
        },
        "request_id": {"type": "string"},
    },
}
_FAULTS: Mapping[str, str] = {
    "401": "No API key, or one that may not be used; only where the server takes keys.",
    "429": "The key's limits are reached; `Retry-After` says for how long.",
    "4XX": "The request is at fault, or blocked in the style `error`.",
    "5XX": "The model, the oracle or the guard failed; nothing passed.",
}


def make_document(operations: Mapping[tuple[str, str], Mapping[str, Json]]) -> dict[str, Json]:
    """The document of these operations, by their path and their method in lower case."""
    paths: dict[str, dict[str, Json]] = {}
    for (path, method), operation in operations.items():
        paths.setdefault(path, {})[method] = dict(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "guardrail", "description": _ABOUT, "version": __version__},
        "paths": paths,
        "components": {"securitySchemes": _SCHEMES},
    }


def describe_operation(
    summary: str,
    fields: Mapping[str, Mapping[str, Json]],
    words: Mapping[str, str],
    *,
    required: Collection[str],
    example: Json,
    answer: str,
    streams: bool = True,
    open_to_more: bool = False,
    condition: Mapping[str, Json] | None = None,
    error: Mapping[str, Json] = _ERROR,
) -> dict[str, Json]:
    """The operation of a guarded route.

    Args:
        summary: one line.
        fields: each field's JSON Schema, as its reader checks it.
        words: each field's description.
        required: fields that must be there; all others may be null.
        example: a body that works.
        answer: what a 200 holds.
        streams: whether the answer may come as events.
        open_to_more: whether fields that are not named here are passed on.
        condition: what else the schema of the body says.
        error: the schema of errors.
    """
    null = {"type": "null"}
    schema: dict[str, Json] = {
        "type": "object",
        "required": list(required),
        "properties": {
            name: {"description": words[name], **_nullable(shape, name not in required)}
            for name, shape in fields.items()
        },
        "additionalProperties": True if open_to_more else null,
        **(condition or {}),
    }
    media: dict[str, Json] = {_JSON: {"schema": {"type": "object"}}}
    if streams:
        media[_STREAM] = {"schema": {"type": "string"}}
    faults = {
        status: {"description": told, "content": {_JSON: {"schema": error}}}
        for status, told in _FAULTS.items()
    }
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": schema, "example": example}},
        },
        "responses": {"200": {"description": answer, "content": media}, **faults},
    }


def describe_plain(summary: str, answer: str, parameters: Collection[str] = ()) -> dict[str, Json]:
    """The operation of a route without a body.

    Args:
        summary: one line.
        answer: what a 200 holds.
        parameters: names in its path.
    """
    operation: dict[str, Json] = {
        "summary": summary,
        "responses": {"200": {"description": answer, "content": {_JSON: {"schema": {}}}}},
    }
    if parameters:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in parameters
        ]
    return operation


def _nullable(schema: Mapping[str, Json], may_be_null: bool) -> dict[str, Json]:
    if not may_be_null or not schema:
        return dict(schema)
    return {"anyOf": [dict(schema), {"type": "null"}]}
