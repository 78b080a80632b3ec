"""What a model in this process understands of a chat request, and what it must refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import UpstreamError
from guardrail.types import image_placeholder

if TYPE_CHECKING:
    from collections.abc import Hashable

    from guardrail.types import Chat, Json

__all__ = ["LocalRequest", "read_request"]

_LONGEST = 8192
_DONE = frozenset({"max_tokens", "max_completion_tokens", "temperature", "top_p", "stop"})
# These say nothing about the answer's text, so leaving them aside changes nothing.
_NO_EFFECT = frozenset({
    "metadata", "parallel_tool_calls", "prediction", "prompt_cache_key", "safety_identifier",
    "seed", "service_tier", "store", "stream", "stream_options", "user",
})  # fmt: skip
# What everything else may be set to: the values that ask for nothing.
_NEUTRAL: dict[str, tuple[Json, ...]] = {
    "n": (1,),
    "repetition_penalty": (1,),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
_ASKS_NOTHING: tuple[Json, ...] = (None, [], {}, 0, False)
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_TOOL_FIELDS = ("tool_calls", "function_call", "audio")


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """Messages for a chat template and the sampling settings, where None is the model's own.

    Attributes:
        messages: a list of roles and parts, as JSON.
        pictures: which of the chat's pictures stands at each place, in reading order.
        max_tokens: most tokens of the answer.
        temperature: 0 always takes the likeliest token.
        top_p: share of the probability that is sampled from.
        stop: texts that end the answer and are cut off with what follows.
    """

    messages: str
    pictures: tuple[int, ...]
    max_tokens: int
    temperature: float | None
    top_p: float | None
    stop: tuple[str, ...]

    @property
    def group(self) -> Hashable:
        """Requests of one group differ in pictures and seed only and can share a batch."""
        return self


def read_request(chat: Chat, default_max_tokens: int) -> LocalRequest:
    """Reads a chat.

    Raises:
        UpstreamError: status 400; a field is wrong, or asks for what a local model cannot do:
            nothing that may change the answer is dropped silently.
    """
    parameters = chat.parameters
    for name, value in parameters.items():
        if not _can_do(name, value):
            raise _bad(f"the local model cannot do '{name}'; leave it out")
    pictures: list[int] = []
    messages = [_message(message, chat.pictures, pictures) for message in chat.messages]
    if set(pictures) != set(range(chat.pictures)):
        raise _bad("every picture of the request must stand in one of its messages")
    return LocalRequest(
        messages=json.dumps(messages),
        pictures=tuple(pictures),
        max_tokens=_max_tokens(parameters, default_max_tokens),
        temperature=_number(parameters, "temperature", 2.0),
        top_p=_number(parameters, "top_p", 1.0),
        stop=_stops(parameters.get("stop")),
    )


def _can_do(name: str, value: Json) -> bool:
    known = name in _DONE or name in _NO_EFFECT
    return known or value in _ASKS_NOTHING or value in _NEUTRAL.get(name, ())


def _message(message: Mapping[str, Json], count: int, pictures: list[int]) -> dict[str, Json]:
    """The form that chat templates of transformers read: a role and a list of parts."""
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES or any(message.get(name) for name in _TOOL_FIELDS):
        raise _bad("the local model reads system, user and assistant messages without tools only")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if content is not None and not isinstance(content, list):
        raise _bad("a message's content must be a text or a list of parts")
    return {"role": _ROLES[role], "content": [_part(p, count, pictures) for p in content or []]}


def _part(part: Json, count: int, pictures: list[int]) -> Json:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "image_url":
        pictures.append(_picture_index(part, count))
        return {"type": "image"}
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    raise _bad("the local model reads parts of type 'text' and 'image_url' only")


def _picture_index(part: Mapping[str, Json], count: int) -> int:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else None
    for index in range(count):
        if url == image_placeholder(index):
            return index
    raise _bad("the local model reads pictures that came with the request only")


def _max_tokens(parameters: Mapping[str, Json], default: int) -> int:
    """The smaller one where both names are given."""
    asked = [parameters.get(name) for name in ("max_tokens", "max_completion_tokens")]
    given = [value for value in asked if value is not None]
    for value in given:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LONGEST:
            raise _bad(f"max_tokens must be a whole number from 1 to {_LONGEST}")
    return min(given, default=default)


def _number(parameters: Mapping[str, Json], name: str, most: float) -> float | None:
    value = parameters.get(name)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0.0 <= value <= most:
        raise _bad(f"{name} must be a number from 0 to {most:g}")
    return float(value)


def _stops(value: Json) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(stops, list) or not all(isinstance(s, str) and s for s in stops):
        raise _bad("stop must be a text or a list of texts, none of them empty")
    return tuple(stops)


def _bad(message: str) -> UpstreamError:
    return UpstreamError(message, status=400, code="unsupported_value")
