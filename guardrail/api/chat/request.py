"""A chat completion request as clients send it, to a chat and its pictures.

Strict about everything through which a picture or another medium could reach the model, because
what is not recognised here would not be guarded: messages and content parts hold known fields
only. Of the request's other fields `parameters.py` says which are passed on.

Pictures are taken from messages of every role and guarded alike. A model that accepts them in
some roles only refuses the others itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.chat.parameters import chat_parameters, streaming
from guardrail.api.incoming import Incoming
from guardrail.api.shapes import (
    ANYTHING,
    OBJECTS,
    TEXT,
    ImageCollector,
    Shape,
    any_of,
    check_fields,
    invalid_field,
    list_of,
    object_at,
    object_schema,
    one_of,
    read_elsewhere,
)
from guardrail.api.strict_json import parse_object
from guardrail.errors import RequestError
from guardrail.types import Chat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.images.codec import ImageLimits
    from guardrail.types import Json

__all__ = ["MESSAGES", "incoming_chat", "model_at", "read_chat"]

_ROLES = ("assistant", "developer", "function", "system", "tool", "user")
_MAY_BE_EMPTY = ("assistant", "function")
_URL: Mapping[str, Json] = {"type": "string", "format": "uri"}
_IMAGE_FIELDS: Mapping[str, Shape] = {"url": read_elsewhere(_URL), "detail": TEXT}
_PARTS: Mapping[str, Mapping[str, Shape]] = {
    kind: {"type": one_of(kind), kind: shape, "cache_control": ANYTHING}
    for kind, shape in (
        ("text", TEXT),
        ("refusal", TEXT),
        ("image_url", read_elsewhere(any_of(_URL, object_schema(_IMAGE_FIELDS, ("url",))))),
    )
}
_CONTENT = any_of(
    TEXT.schema,
    list_of(
        any_of(*(object_schema(fields, ("type", kind)) for kind, fields in _PARTS.items())),
        least=1,
    ),
)
_MESSAGE_FIELDS: Mapping[str, Shape] = {
    "role": one_of(*_ROLES),
    "content": read_elsewhere(_CONTENT),
    "name": TEXT,
    "refusal": TEXT,
    "tool_calls": OBJECTS,
    "tool_call_id": TEXT,
    "function_call": ANYTHING,
    # What providers add to their answers and clients send back with the history, all of it text.
    **dict.fromkeys(
        (
            *("reasoning", "reasoning_content", "reasoning_details", "thinking_blocks"),
            *("annotations", "provider_specific_fields", "cache_control", "prefix", "partial"),
        ),
        ANYTHING,
    ),
}
MESSAGES = list_of(
    {
        **object_schema(_MESSAGE_FIELDS, ("role",)),
        **any_of(
            {"properties": {"role": {"enum": list(_MAY_BE_EMPTY)}}},
            {"required": ["content"], "properties": {"content": {"not": {"type": "null"}}}},
        ),
    },
    least=1,
)
"""The JSON Schema of a chat's messages, made of the tables that they are read by."""


def read_chat(raw: bytes, *, max_images: int, limits: ImageLimits) -> Incoming:
    """Reads a request body; slow for a large one.

    Raises:
        RequestError: names the field at fault and what to do, and quotes no content.
    """
    return incoming_chat(parse_object(raw), max_images=max_images, limits=limits)


def incoming_chat(body: Mapping[str, Json], *, max_images: int, limits: ImageLimits) -> Incoming:
    """The same for a body that is parsed already."""
    found = ImageCollector(max_images)
    stream, include_usage = streaming(body)
    chat = Chat(
        model=model_at(body.get("model")),
        messages=_messages(body.get("messages"), found),
        parameters=chat_parameters(body),
        pictures=len(found.urls),
    )
    return Incoming(chat, found.sources(limits), stream, include_usage)


# The request itself


def model_at(value: Json) -> str:
    if not isinstance(value, str) or not value.strip():
        raise invalid_field("model", "must name a model as text; GET /v1/models lists them")
    return value


# Messages


def _messages(value: Json, found: ImageCollector) -> tuple[Mapping[str, Json], ...]:
    if not isinstance(value, list) or not value:
        raise invalid_field("messages", "must be a list of at least one message")
    return tuple(_message(item, f"messages[{i}]", found) for i, item in enumerate(value))


def _message(value: Json, at: str, found: ImageCollector) -> Mapping[str, Json]:
    message = object_at(value, at)
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise invalid_field(f"{at}.role", f"must be one of {', '.join(_ROLES)}")
    check_fields(message, _MESSAGE_FIELDS, at)
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": _parts(content, f"{at}.content", found)}
    if not isinstance(content, str) and not (content is None and role in _MAY_BE_EMPTY):
        raise invalid_field(f"{at}.content", "must be text or a list of content parts")
    return message


def _parts(parts: list[Json], at: str, found: ImageCollector) -> list[Json]:
    if not parts:
        raise invalid_field(at, "must hold at least one content part")
    return [_part(part, f"{at}[{i}]", found) for i, part in enumerate(parts)]


def _part(value: Json, at: str, found: ImageCollector) -> Mapping[str, Json]:
    part = object_at(value, at)
    kind = part.get("type")
    if kind == "image_url":
        return _image_part(part, at, found)
    if not isinstance(kind, str) or kind not in _PARTS:
        raise RequestError(
            f"{at}.type: only text and image_url parts can be guarded; send the others as text or "
            "as pictures, or leave them out",
            param=f"{at}.type",
            code="unsupported_content_part",
        )
    check_fields(part, _PARTS[kind], at)
    if not isinstance(part.get(kind), str):
        raise invalid_field(f"{at}.{kind}", "must be text")
    return part


def _image_part(part: Mapping[str, Json], at: str, found: ImageCollector) -> Mapping[str, Json]:
    check_fields(part, _PARTS["image_url"], at)
    at = f"{at}.image_url"
    given = part.get("image_url")
    image = object_at({"url": given} if isinstance(given, str) else given, at)
    check_fields(image, _IMAGE_FIELDS, at)
    url = image.get("url")
    if not isinstance(url, str):
        raise invalid_field(f"{at}.url", "must be a URL as text, 'data:image/png;base64,...'")
    return {**part, "image_url": {**image, "url": found.add(url, f"{at}.url")}}
