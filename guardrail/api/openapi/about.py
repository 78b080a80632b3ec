"""What the OpenAPI document says of bodies: for readers only, nothing is validated by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = ["ABOUT", "JSON_ANSWER", "LISTED", "body"]

ABOUT = (
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
_FAULTS: Mapping[str, Json] = {
    "4XX": ("The request is at fault, or blocked in the style `error`.", _ERROR),
    "5XX": ("The model, the oracle or the guard failed; nothing passed.", _ERROR),
}
JSON_ANSWER = "application/json"
_STREAM = "text/event-stream"


def body(
    properties: Mapping[str, str | Mapping[str, Json]],
    *,
    required: tuple[str, ...],
    example: Json,
    answer: str,
    streams: bool = True,
    more: bool = False,
) -> dict[str, Json]:
    """The `openapi_extra` of a route.

    Args:
        properties: each field's description, or its schema.
        required: fields that must be there.
        example: a body that works.
        answer: what a 200 holds.
        streams: whether the answer may come as events.
        more: whether fields that are not named here are passed on.
    """
    schema: dict[str, Json] = {
        "type": "object",
        "required": list(required),
        "properties": {
            name: {"description": told} if isinstance(told, str) else dict(told)
            for name, told in properties.items()
        },
        "additionalProperties": more,
    }
    media: dict[str, Json] = {JSON_ANSWER: {"schema": {"type": "object"}}}
    if streams:
        media[_STREAM] = {"schema": {"type": "string"}}
    faults = {
        status: {"description": told, "content": {JSON_ANSWER: {"schema": shape}}}
        for status, (told, shape) in _FAULTS.items()
    }
    return {
        "requestBody": {
            "required": True,
            "content": {JSON_ANSWER: {"schema": schema, "example": example}},
        },
        "responses": {"200": {"description": answer, "content": media}, **faults},
    }


LISTED: dict[str, Json] = {"responses": {"200": {"description": "As OpenAI lists models."}}}
