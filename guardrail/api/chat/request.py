"""A chat completion request as clients send it, to a chat and its pictures.

Strict about everything through which a picture or another medium could reach the model, because
what is not recognised here would not be guarded: messages and content parts hold known fields
only. Of the request's other fields `parameters.py` says which are passed on.

Pictures are taken from messages of every role and guarded alike. A model that accepts them in
some roles only refuses the others itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.api.chat.parameters import chat_parameters, streaming
from guardrail.api.fields import Found, check_fields, object_at, wrong
from guardrail.api.strict_json import parse_object
from guardrail.errors import RequestError
from guardrail.types import Chat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.pictures.loader import Source
    from guardrail.images.codec import ImageLimits
    from guardrail.types import Json

__all__ = ["Incoming", "incoming_chat", "model_at", "read_chat"]

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_MAY_BE_EMPTY = frozenset({"assistant", "function"})
_MESSAGE_FIELDS = frozenset(
    {"role", "content", "name", "refusal", "tool_calls", "tool_call_id", "function_call"}
    # What providers add to their answers and clients send back with the history, all of it text.
    | {"reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "annotations"}
    | {"provider_specific_fields", "cache_control", "prefix", "partial"}
)
_TEXT_FIELDS = ("name", "refusal", "tool_call_id")
_IMAGE_FIELDS = frozenset({"url", "detail"})


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request, read.

    `sources` are its pictures, in the order of their placeholders; whoever opens them empties the
    list, so that no encoded picture is kept while the decision lasts.
    `include_usage` is `stream_options.include_usage`; `echo` is what the answer repeats;
    `progress` asks for the counts while a stream is held.
    """

    chat: Chat
    sources: list[Source] = field(default_factory=list)
    stream: bool = False
    include_usage: bool = False
    echo: Mapping[str, Json] = field(default_factory=dict)
    progress: bool = False


def read_chat(raw: bytes, *, max_images: int, limits: ImageLimits) -> Incoming:
    """Reads a request body; slow for a large one.

    Raises:
        RequestError: names the field at fault and what to do, and quotes no content.
    """
    return incoming_chat(parse_object(raw), max_images=max_images, limits=limits)


def incoming_chat(body: Mapping[str, Json], *, max_images: int, limits: ImageLimits) -> Incoming:
    """The same for a body that is parsed already."""
    found = Found(max_images)
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
        raise wrong("model", "must name a model as text; GET /v1/models lists them")
    return value


# Messages


def _messages(value: Json, found: Found) -> tuple[Mapping[str, Json], ...]:
    if not isinstance(value, list) or not value:
        raise wrong("messages", "must be a list of at least one message")
    return tuple(_message(item, f"messages[{i}]", found) for i, item in enumerate(value))


def _message(value: Json, at: str, found: Found) -> Mapping[str, Json]:
    message = object_at(value, at)
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise wrong(f"{at}.role", f"must be one of {', '.join(sorted(_ROLES))}")
    check_fields(message, _MESSAGE_FIELDS, at)
    for name in _TEXT_FIELDS:
        if not isinstance(message.get(name), str | None):
            raise wrong(f"{at}.{name}", "must be text")
    _check_tool_calls(message.get("tool_calls"), f"{at}.tool_calls")
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": _parts(content, f"{at}.content", found)}
    if not isinstance(content, str) and not (content is None and role in _MAY_BE_EMPTY):
        raise wrong(f"{at}.content", "must be text or a list of content parts")
    return message


def _check_tool_calls(value: Json, at: str) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        raise wrong(at, "must be a list of tool calls")
    for i, call in enumerate(value):
        object_at(call, f"{at}[{i}]")


def _parts(parts: list[Json], at: str, found: Found) -> list[Json]:
    if not parts:
        raise wrong(at, "must hold at least one content part")
    return [_part(part, f"{at}[{i}]", found) for i, part in enumerate(parts)]


def _part(value: Json, at: str, found: Found) -> Mapping[str, Json]:
    part = object_at(value, at)
    kind = part.get("type")
    if kind == "image_url":
        return _image_part(part, at, found)
    if kind not in ("text", "refusal"):
        raise RequestError(
            f"{at}.type: only text and image_url parts can be guarded; send the others as text or "
            "as pictures, or leave them out",
            param=f"{at}.type",
            code="unsupported_content_part",
        )
    check_fields(part, {"type", kind, "cache_control"}, at)
    if not isinstance(part.get(kind), str):
        raise wrong(f"{at}.{kind}", "must be text")
    return part


def _image_part(part: Mapping[str, Json], at: str, found: Found) -> Mapping[str, Json]:
    check_fields(part, {"type", "image_url", "cache_control"}, at)
    at = f"{at}.image_url"
    given = part.get("image_url")
    image = object_at({"url": given} if isinstance(given, str) else given, at)
    check_fields(image, _IMAGE_FIELDS, at)
    if not isinstance(image.get("detail"), str | None):
        raise wrong(f"{at}.detail", "must be text")
    url = image.get("url")
    if not isinstance(url, str):
        raise wrong(f"{at}.url", "must be a URL as text, 'data:image/png;base64,...'")
    return {**part, "image_url": {**image, "url": found.add(url, f"{at}.url")}}
