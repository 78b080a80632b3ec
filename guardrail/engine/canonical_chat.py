"""The one form of a chat that is sent to models, and the digest of that form and the pictures.

Two requests that ask a model for the same thing are one request: the same digest, one remembered
verdict, one series of attempts. So every way of leaving a field unset (left out, null, empty, or
at a default that no server lets its operator change) has one form, and bookkeeping that cannot
change an answer is not sent at all. What is sent is in the digest, so nothing reaches the model
without making another request of it, and nothing is dropped that a model could heed:

    {"n": 1, "stop": null, "temperature": 1.0, "metadata": {"a": "b"}, "top_k": 40}
    {"top_k": 40, "temperature": 1, "tools": []}        # the same: temperature 1, top_k 40

A sampling default such as `temperature: 1` is not taken out: servers in front of open models start
from the model's own defaults, so that saying 1 and saying nothing ask for different things.
Nothing is joined, trimmed or reordered inside texts, lists and schemas, as models see those.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import RequestError
from guardrail.images.digest import pixels_digest
from guardrail.message_form import TEXT_PARTS
from guardrail.offload import CANONICAL_CHAT, chat_size, offload
from guardrail.types import Chat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.images.codec import Picture
    from guardrail.types import Json

__all__ = [
    "NOT_SENT",
    "CanonicalChat",
    "canonical_chat",
    "canonical_chat_offloaded",
    "canonical_text_offloaded",
    "request_digest",
]

NOT_SENT = frozenset(
    # How the answer travels, and where it is kept: all of that is decided here.
    {"store", "stream", "stream_options"}
    # Labels, and names of the call for logs and bills of the client's own.
    | {"litellm_call_id", "litellm_metadata", "litellm_session_id", "litellm_trace_id"}
    | {"metadata", "request_id"}
    # Where a server looks for the beginning of a prompt that it has read before.
    | {"cache_salt", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}
    # The draws are the guard's: a seed that all variants shared would tie them to each other.
    | {"seed"}
    # How long the client waits, and its place in a server's queue.
    | {"priority", "timeout"}
)
"""Fields of a request that cannot change the answer and hence never reach a model."""

_DEFAULTS: Mapping[str, Json] = {
    # Set by the form of the API itself, the same on every server.
    "logprobs": False,
    "n": 1,
    "response_format": {"type": "text"},
    "service_tier": "auto",
    "top_logprobs": 0,
}
_FALSE_IS_ABSENT = frozenset({"partial", "prefix"})  # marks of an answer to be continued
_NAMED_SCHEMAS = ("custom", "function", "json_schema")  # a name, a description and a schema
_LISTS, _MAPPINGS = (list, tuple), (dict, Mapping)  # made once, see `offload`
_MAY_BE_EMPTY = (str, list, dict)
_LARGEST_EXACT = 1e21  # from here on JSON writers differ on the digits of a whole number
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True)  # made once
_DIGEST_LABEL = b"guardrail/request/1"


@dataclass(frozen=True, slots=True)
class CanonicalChat(Chat):
    """A chat in canonical form; made by `canonical_chat` only."""


def canonical_chat(chat: Chat) -> CanonicalChat:
    """The chat as it is sent and digested; of one that is canonical already, itself.

    Parameters stand in the order of their names.

    Raises:
        RequestError: it is nested too deeply.
    """
    if isinstance(chat, CanonicalChat):
        return chat
    try:
        return CanonicalChat(
            model=chat.model,
            messages=tuple(_canonical_message(message) for message in chat.messages),
            parameters=_canonical_parameters(
                {k: v for k, v in chat.parameters.items() if k not in NOT_SENT}
            ),
            pictures=chat.pictures,
        )
    except RecursionError:
        raise RequestError("the request is nested too deeply; flatten it") from None


async def canonical_chat_offloaded(chat: Chat) -> CanonicalChat:
    """The same; of a long chat made in a thread, so that other requests do not wait for it."""
    if isinstance(chat, CanonicalChat):
        return chat
    size = chat_size(*chat.messages, chat.parameters)
    return await offload(CANONICAL_CHAT, size, canonical_chat, chat)


async def canonical_text_offloaded(chat: Chat) -> tuple[CanonicalChat, bytes]:
    """The same of a chat without pictures, and its `request_digest`, measured and made at once."""
    size = chat_size(*chat.messages, chat.parameters)
    return await offload(CANONICAL_CHAT, size, _canonical_text, chat)


def _canonical_text(chat: Chat) -> tuple[CanonicalChat, bytes]:
    asked = canonical_chat(chat)
    return asked, request_digest(asked, ())


def request_digest(chat: Chat, pictures: Sequence[Picture]) -> bytes:
    """SHA-256 over the canonical chat and the decoded pixels; 32 bytes.

    The same digest means that a model is asked for the same thing. Names inside schemas and other
    nested values count in the order in which they were sent, since a model sees them in that order.

    Raises:
        RequestError: the chat is nested too deeply.
    """
    asked = canonical_chat(chat)
    words = [asked.model, asked.messages, asked.parameters]
    text = _ENCODER.encode(words)
    digest = hashlib.sha256(_DIGEST_LABEL)
    digest.update(len(text).to_bytes(8, "big"))
    digest.update(text.encode())
    digest.update(pixels_digest(pictures))
    return digest.digest()


def _canonical_parameters(given: Mapping[str, Json]) -> dict[str, Json]:
    values = {name: _canonical_value(given[name]) for name in sorted(given)}
    for name in ("functions", "tools"):
        if isinstance(values.get(name), list):
            values[name] = [_drop_nulls_but_in_schemas(item) for item in values[name]]
    if "response_format" in values:
        values["response_format"] = _drop_nulls_but_in_schemas(values["response_format"])
    return {
        name: value
        for name, value in values.items()
        if not _is_empty(value) and not _is_same(value, _DEFAULTS.get(name))
    }


def _drop_nulls_but_in_schemas(item: Json) -> Json:
    """A tool or a response format without its nulls; schemas, where null means much, as given."""
    if not isinstance(item, dict):
        return item
    return {
        name: _drop_nulls(value) if name in _NAMED_SCHEMAS else value
        for name, value in _drop_nulls(item).items()
    }


def _canonical_message(message: Mapping[str, Json]) -> Mapping[str, Json]:
    """Role and content first, the content always there: null where nothing is said."""
    content = message.get("content")
    if isinstance(content, _LISTS):
        content = [_canonical_part(part) for part in content] or None
    others = {name: _canonical_value(message[name]) for name in sorted(message)}
    return {
        **({"role": message["role"]} if "role" in message else {}),
        "content": content,
        **{
            name: value
            for name, value in others.items()
            if name not in ("role", "content")
            and not _is_empty(value)
            and not (name in _FALSE_IS_ABSENT and value is False)
        },
    }


def _canonical_part(part: Json) -> Json:
    """A part of a content; a text stays, however short."""
    if not isinstance(part, Mapping):
        return _canonical_value(part)
    fields = {name: _canonical_value(part[name]) for name in sorted(part)}
    image = fields.get("image_url")
    if isinstance(image, dict):
        fields["image_url"] = {
            name: value
            for name, value in image.items()
            if not _is_empty(value) and not (name == "detail" and value == "auto")
        }
    texts = TEXT_PARTS.get(str(fields.get("type")), ())
    return {name: value for name, value in fields.items() if name in texts or not _is_empty(value)}


def _canonical_value(value: Json) -> Json:
    """A JSON value in plain containers, its numbers in one form: 1.0 is 1, and -0.0 is 0."""
    if isinstance(value, str):
        return value
    if isinstance(value, _MAPPINGS):
        return {name: _canonical_value(item) for name, item in value.items()}
    if isinstance(value, _LISTS):
        return [_canonical_value(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_EXACT:
        return int(value)
    return value


def _drop_nulls(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    return {name: item for name, item in value.items() if item is not None}


def _is_empty(value: Json) -> bool:
    return value is None or (not value and isinstance(value, _MAY_BE_EMPTY))


def _is_same(value: Json, default: Json) -> bool:
    """Equal and of one type: true is not 1."""
    return default is not None and type(value) is type(default) and value == default
