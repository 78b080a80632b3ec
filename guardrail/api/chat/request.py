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
from guardrail.api.items import recall_nothing
from guardrail.api.request_rules import AS_BY_DEFAULT, LABELS, PICTURE_LABELS, RequestRules
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
from guardrail.errors import RequestError
from guardrail.message_form import (
    MESSAGE_FIELDS,
    PART_EXTRAS,
    TEXT_PARTS,
    Form,
    fits,
    is_text_part,
)
from guardrail.types import Chat

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from guardrail.api.items import Recall
    from guardrail.images.codec import ImageLimits
    from guardrail.types import Json

__all__ = ["MESSAGES", "incoming_chat", "model_at", "read_chat"]

_ROLES = ("assistant", "developer", "function", "system", "tool", "user")
_MAY_BE_EMPTY = ("assistant", "function")
_LABEL_FIELDS: Mapping[str, Shape] = dict.fromkeys(sorted(LABELS), ANYTHING)
_PICTURE_LABEL_FIELDS: Mapping[str, Shape] = dict.fromkeys(sorted(PICTURE_LABELS), ANYTHING)
_URL: Mapping[str, Json] = {"type": "string", "format": "uri"}
_IMAGE_FIELDS: Mapping[str, Shape] = {"url": read_elsewhere(_URL), "detail": TEXT}
_IMAGE_SCHEMA = object_schema({**_IMAGE_FIELDS, **_PICTURE_LABEL_FIELDS}, ("url",))
_NESTED = {"type": "array", "items": {"type": "object"}}  # text parts inside a text part
_PARTS: Mapping[str, Mapping[str, Shape]] = {
    "image_url": {
        "type": one_of("image_url"),
        "image_url": read_elsewhere(any_of(_URL, _IMAGE_SCHEMA)),
        "cache_control": ANYTHING,
    },
    **{
        kind: {
            "type": one_of(kind),
            **{name: read_elsewhere(any_of(TEXT.schema, _NESTED)) for name in names},
            **dict.fromkeys(sorted(PART_EXTRAS), ANYTHING),
        }
        for kind, names in TEXT_PARTS.items()
    },
}
"""The fields of a content part; texts are what `message_form` says, the same as in answers."""


def _part_schema(kind: str, fields: Mapping[str, Shape]) -> dict[str, Json]:
    labels = _PICTURE_LABEL_FIELDS if kind == "image_url" else _LABEL_FIELDS
    return object_schema({**fields, **labels}, ("type",))


_CONTENT = any_of(
    TEXT.schema, list_of(any_of(*(_part_schema(kind, fields) for kind, fields in _PARTS.items())))
)


def _check_free(value: Json, at: str, form: Form = Form.FREE) -> None:
    if not fits(form, value):
        raise invalid_field(
            at,
            "holds a picture or another medium, which would not be guarded here; send pictures as "
            "parts of messages",
        )


def _check_objects(value: Json, at: str) -> None:
    OBJECTS.check(value, at)
    _check_free(value, at, Form.OBJECTS)


_SHAPES: Mapping[Form, Shape] = {
    Form.TEXT: TEXT,
    Form.CONTENT: read_elsewhere(_CONTENT),
    Form.OBJECTS: Shape(OBJECTS.schema, _check_objects),
    Form.FREE: Shape(ANYTHING.schema, _check_free),
}
_MESSAGE_FIELDS: Mapping[str, Shape] = {
    **{name: _SHAPES[form] for name, form in MESSAGE_FIELDS.items()},
    "role": one_of(*_ROLES),
    "tool_call_id": TEXT,
    **dict.fromkeys(("cache_control", "prefix", "partial"), ANYTHING),
}
MESSAGES = list_of(
    {
        **object_schema({**_MESSAGE_FIELDS, **_LABEL_FIELDS}, ("role",)),
        "additionalProperties": {"enum": [None, False, 0, "", [], {}]},  # what says nothing
        **any_of(
            {"properties": {"role": {"enum": list(_MAY_BE_EMPTY)}}},
            {
                "required": ["content"],
                "properties": {"content": {"not": {"type": "null"}, "minItems": 1}},
            },
        ),
    },
    least=1,
)
"""The JSON Schema of a chat's messages, made of the tables that they are read by."""


def read_chat(
    body: Mapping[str, Json],
    *,
    max_images: int,
    limits: ImageLimits,
    rules: RequestRules = AS_BY_DEFAULT,
    recall: Recall = recall_nothing,  # noqa: ARG001 (chats hold whole messages)
) -> Incoming:
    """Reads a request body.

    Args:
        body: as it was parsed.
        max_images: most pictures.
        limits: of each picture.
        rules: what else the policy says of reading.
        recall: not used: a chat holds whole messages.

    Raises:
        RequestError: names the field at fault and what to do, and quotes no content.
    """
    return incoming_chat(body, max_images=max_images, limits=limits, rules=rules)


def incoming_chat(
    body: Mapping[str, Json],
    *,
    max_images: int,
    limits: ImageLimits,
    rules: RequestRules = AS_BY_DEFAULT,
) -> Incoming:
    """The same for a body that is parsed already."""
    found = ImageCollector(max_images, rules)
    stream, include_usage = streaming(body)
    chat = Chat(
        model=model_at(body.get("model")),
        messages=found.drop_older(_messages(body.get("messages"), found)),
        parameters=chat_parameters(body, rules.allowed),
        pictures=len(found.urls),
        left_out=found.left_out,
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
    message = found.drop_labels(message, _labels(message), at)
    # Of fields that are not known, what is empty or false says nothing, and is not sent.
    message = {
        name: value
        for name, value in message.items()
        if value or value is None or name in _MESSAGE_FIELDS
    }
    check_fields(message, _MESSAGE_FIELDS, at)
    content = message.get("content")
    if isinstance(content, list):
        if not content and role not in _MAY_BE_EMPTY:
            raise invalid_field(f"{at}.content", "must hold at least one content part")
        return {**message, "content": _parts(content, f"{at}.content", found, role)}
    if not isinstance(content, str) and not (content is None and role in _MAY_BE_EMPTY):
        raise invalid_field(f"{at}.content", "must be text or a list of content parts")
    return message


def _labels(message: Mapping[str, Json]) -> Set[str]:
    """What is left out of a message. Of an answer nothing that its provider may want back."""
    if message["role"] != "assistant":
        return LABELS
    return LABELS - {name for name in _MESSAGE_FIELDS if isinstance(message.get(name), str)}


def _parts(parts: list[Json], at: str, found: ImageCollector, role: str) -> list[Json]:
    labels = LABELS - PART_EXTRAS if role == "assistant" else LABELS
    return [_part(part, f"{at}[{i}]", found, labels) for i, part in enumerate(parts)]


def _part(value: Json, at: str, found: ImageCollector, labels: Set[str]) -> Mapping[str, Json]:
    part = object_at(value, at)
    kind = part.get("type")
    if kind == "image_url":
        return _image_part(part, at, found)
    if not isinstance(kind, str) or kind not in TEXT_PARTS:
        raise RequestError(
            f"{at}.type: only text and image_url parts can be guarded; send the others as text or "
            "as pictures, or leave them out",
            param=f"{at}.type",
            code="unsupported_content_part",
        )
    part = found.drop_labels(part, labels, at)
    check_fields(part, _PARTS[kind], at)
    if not is_text_part(part):
        raise invalid_field(f"{at}.{TEXT_PARTS[kind][0]}", "must be text, and nothing but text")
    return part


def _image_part(part: Mapping[str, Json], at: str, found: ImageCollector) -> Mapping[str, Json]:
    part = found.drop_labels(part, PICTURE_LABELS, at)
    check_fields(part, _PARTS["image_url"], at)
    at = f"{at}.image_url"
    given = part.get("image_url")
    image = object_at({"url": given} if isinstance(given, str) else given, at)
    image = found.drop_labels(image, PICTURE_LABELS, at)
    check_fields(image, _IMAGE_FIELDS, at)
    url = image.get("url")
    if not isinstance(url, str):
        raise invalid_field(f"{at}.url", "must be a URL as text, 'data:image/png;base64,...'")
    return {**part, "image_url": {**image, "url": found.add(url, f"{at}.url")}}
