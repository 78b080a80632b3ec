"""A chat completion request as clients send it, to a chat and its pictures.

Strict about everything through which a picture or another medium could reach the model, because
what is not recognised here would not be guarded: messages and content parts hold known fields
only. Unknown fields of the request itself are passed on unchanged, unless they steer the call.

Pictures are taken from messages of every role and guarded alike. A model that accepts them in
some roles only refuses the others itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.errors import RequestError
from guardrail.images.codec import decode_image, parse_data_url
from guardrail.server.strict_json import parse_object
from guardrail.types import Chat, image_placeholder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from guardrail.images.codec import ImageLimits, Picture
    from guardrail.types import Json

__all__ = ["Incoming", "read_chat"]

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
_OWN_FIELDS = frozenset({"model", "messages", "stream", "stream_options"})
_STEERING = frozenset(
    # Gateways and SDKs take these from the request and send the call elsewhere, replace its
    # content behind the guard, or switch guards on and off.
    {"api_base", "api_key", "base_url", "custom_llm_provider", "extra_body", "extra_headers"}
    | {"extra_query", "fallbacks", "guardrails", "mock_response", "model_list"}
    # Media outside the messages.
    | {"attachments", "file_ids", "files", "image", "image_url", "images", "video", "videos"}
)
_DATA_URL = re.compile(
    r"\s*data:[^,]{0,256};base64\s*,|\s*data:(image|audio|video)/", re.IGNORECASE
)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request, read. `include_usage` is `stream_options.include_usage`."""

    chat: Chat
    pictures: tuple[Picture, ...] = ()
    stream: bool = False
    include_usage: bool = False


@dataclass(slots=True)
class _Found:
    """The pictures met so far, as (URL, JSON path)."""

    most: int
    urls: list[tuple[str, str]] = field(default_factory=list)

    def add(self, url: str, at: str) -> str:
        if len(self.urls) == self.most:
            raise RequestError(
                f"{at}: more than {self.most} pictures in one request; send fewer",
                param=at,
                code="too_many_images",
            )
        self.urls.append((url, at))
        return image_placeholder(len(self.urls) - 1)


def read_chat(raw: bytes, *, max_images: int, limits: ImageLimits) -> Incoming:
    """Reads a request body and decodes its pictures; slow for large ones.

    Raises:
        RequestError: names the field at fault and what to do, and quotes no content.
    """
    body = parse_object(raw)
    found = _Found(max_images)
    stream, include_usage = _streaming(body)
    chat = Chat(
        model=_model(body.get("model")),
        messages=_messages(body.get("messages"), found),
        parameters=_parameters(body),
        pictures=len(found.urls),
    )
    pictures = tuple(_picture(url, at, limits) for url, at in found.urls)
    return Incoming(chat, pictures, stream, include_usage)


def _picture(url: str, at: str, limits: ImageLimits) -> Picture:
    media_type, data = parse_data_url(url, limits=limits, param=at)
    return decode_image(data, declared_media_type=media_type, limits=limits, param=at)


# The request itself


def _model(value: Json) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong("model", "must name a model as text; GET /v1/models lists them")
    return value


def _streaming(body: Mapping[str, Json]) -> tuple[bool, bool]:
    stream = _flag(body.get("stream"), "stream")
    options = body.get("stream_options")
    if options is None:
        return stream, False
    if not isinstance(options, dict):
        raise _wrong("stream_options", "must be an object")
    if not stream:
        raise _wrong("stream_options", "belongs to streams only; leave it out or set stream")
    return stream, _flag(options.get("include_usage"), "stream_options.include_usage")


def _flag(value: Json, at: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise _wrong(at, "must be true or false")
    return bool(value)


def _parameters(body: Mapping[str, Json]) -> dict[str, Json]:
    parameters = {name: value for name, value in body.items() if name not in _OWN_FIELDS}
    _check_n(parameters.get("n"))
    for name, value in parameters.items():
        if name in _STEERING and value is not None:
            raise _refused(name, "is not taken from requests; leave it out")
        if any(_DATA_URL.match(text) for text in _strings(value)):
            raise _refused(
                _joined("", name),
                "holds a data URL, which would not be guarded here; send pictures as image_url "
                "parts of messages",
            )
    return parameters


def _check_n(value: Json) -> None:
    if value is None or (value == 1 and type(value) is int):
        return
    if type(value) is not int:
        raise _wrong("n", "must be 1")
    raise RequestError(
        "n: only one choice is guarded per request; leave n out or set it to 1",
        param="n",
        code="unsupported_value",
    )


def _strings(value: Json) -> Iterator[str]:
    """Every text value inside, without recursion."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict | list):
            left.extend(item.values() if isinstance(item, dict) else item)


# Messages


def _messages(value: Json, found: _Found) -> tuple[Mapping[str, Json], ...]:
    if not isinstance(value, list) or not value:
        raise _wrong("messages", "must be a list of at least one message")
    return tuple(_message(item, f"messages[{i}]", found) for i, item in enumerate(value))


def _message(value: Json, at: str, found: _Found) -> Mapping[str, Json]:
    message = _object(value, at)
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _wrong(f"{at}.role", f"must be one of {', '.join(sorted(_ROLES))}")
    _check_fields(message, _MESSAGE_FIELDS, at)
    for name in _TEXT_FIELDS:
        if not isinstance(message.get(name), str | None):
            raise _wrong(f"{at}.{name}", "must be text")
    _check_tool_calls(message.get("tool_calls"), f"{at}.tool_calls")
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": _parts(content, f"{at}.content", found)}
    if not isinstance(content, str) and not (content is None and role in _MAY_BE_EMPTY):
        raise _wrong(f"{at}.content", "must be text or a list of content parts")
    return message


def _check_tool_calls(value: Json, at: str) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        raise _wrong(at, "must be a list of tool calls")
    for i, call in enumerate(value):
        _object(call, f"{at}[{i}]")


def _parts(parts: list[Json], at: str, found: _Found) -> list[Json]:
    if not parts:
        raise _wrong(at, "must hold at least one content part")
    return [_part(part, f"{at}[{i}]", found) for i, part in enumerate(parts)]


def _part(value: Json, at: str, found: _Found) -> Mapping[str, Json]:
    part = _object(value, at)
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
    _check_fields(part, {"type", kind, "cache_control"}, at)
    if not isinstance(part.get(kind), str):
        raise _wrong(f"{at}.{kind}", "must be text")
    return part


def _image_part(part: Mapping[str, Json], at: str, found: _Found) -> Mapping[str, Json]:
    _check_fields(part, {"type", "image_url", "cache_control"}, at)
    at = f"{at}.image_url"
    given = part.get("image_url")
    image = _object({"url": given} if isinstance(given, str) else given, at)
    _check_fields(image, _IMAGE_FIELDS, at)
    if not isinstance(image.get("detail"), str | None):
        raise _wrong(f"{at}.detail", "must be text")
    url = image.get("url")
    if not isinstance(url, str):
        raise _wrong(f"{at}.url", "must be a data URL, 'data:image/png;base64,...'")
    return {**part, "image_url": {**image, "url": found.add(url, f"{at}.url")}}


# Faults


def _object(value: Json, at: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise _wrong(at, "must be an object")
    return value


def _check_fields(value: Mapping[str, Json], known: Collection[str], at: str) -> None:
    for name, content in value.items():
        if name not in known and content is not None:
            raise _refused(_joined(at, name), "is not a field that can be guarded; leave it out")


def _joined(at: str, name: str) -> str:
    """The path of a field whose name the client chose; odd names are not repeated."""
    plain = name if _PLAIN_NAME.fullmatch(name) else "?"
    return f"{at}.{plain}" if at else plain


def _wrong(at: str, what: str) -> RequestError:
    return RequestError(f"{at}: {what}", param=at, code="invalid_value")


def _refused(at: str, what: str) -> RequestError:
    return RequestError(f"{at}: {what}", param=at, code="unsupported_parameter")
