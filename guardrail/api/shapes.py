"""What fields hold: one table for the readers, which check by it, and for the OpenAPI document.

A field that is left out and one that is null are the same, so every field that is not required may
be null in the document, and so may one that is not known. Faults name their field, and pictures are
taken out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from guardrail.api.pictures.loader import source_at
from guardrail.api.request_rules import RequestRules
from guardrail.errors import RequestError
from guardrail.policy.steering import STEERING_FIELDS
from guardrail.types import LeftOut, image_placeholder, placeholder_index

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from guardrail.types import Json

    Fields: TypeAlias = Mapping[str, "Shape"]
    from collections.abc import Iterator, Mapping

    from guardrail.api.pictures.loader import Source
    from guardrail.images.codec import ImageLimits

__all__ = [
    "ANYTHING",
    "FLAG",
    "LIST",
    "OBJECT",
    "OBJECTS",
    "TEXT",
    "TEXTS",
    "ImageCollector",
    "Shape",
    "any_of",
    "check_fields",
    "check_parameters",
    "flag",
    "invalid_field",
    "join_path",
    "list_of",
    "object_at",
    "object_schema",
    "one_of",
    "read_elsewhere",
    "refused_field",
    "strings",
    "text_at",
]

_STEERING = frozenset(
    # Gateways and SDKs take these from the request and send the call elsewhere, replace its
    # content behind the guard, or switch guards on and off.
    {"api_base", "api_key", "base_url", "custom_llm_provider", "extra_body", "extra_headers"}
    | {"extra_query", "guardrails", "mock_response", "model_list"}
    # One answer is drawn for each variant: whether a call is repeated is decided here.
    | {"num_retries", "max_retries", "retry_policy"}
    # Media outside the messages.
    | {"attachments", "file_ids", "files", "image", "image_url", "images", "video", "videos"}
)
_SHARED = frozenset(
    # What makes one call depend on another: caches of answers, and state that a provider keeps.
    # Caches of prompts (`prompt_cache_key`, `cache_salt`, `cache_prompt`) keep no answers.
    {"cache", "caching", "cache_key", "cache_ttl", "semantic_cache", "use_cache", "ttl"}
    | {"previous_response_id", "previous_interaction_id", "conversation", "conversation_id"}
    | {"session", "session_id", "thread", "thread_id", "chat_id", "container"}
    | {"cached_content", "cachedContent", "context", "background", "batch"}
)
_DATA_URL = re.compile(
    r"\s*data:[^,]{0,256};\s*base64\s*,|\s*data:(image|audio|video)/", re.IGNORECASE
)
_SENT_AS_TEXT = frozenset({"tools", "functions", "response_format"})
"""Fields that a model is shown as text, as their schemas are."""
_SCHEMA_WORDS = frozenset(
    # Texts of a schema that explain or give examples; a data URL among them is no picture, as it is
    # none in the text of a message.
    {"title", "description", "$comment", "pattern", "default", "const", "enum"}
    | {"example", "examples"}
)
_CARRIERS = frozenset({"extra_body", "extra_headers", "extra_query"})
"""Steering fields that are nothing but what they hold: an empty one steers nothing."""
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")


_INDEX = re.compile(r"\[\d+\]")
_LEFT_OUT_WORDS = "[an earlier picture was left out here]"


@dataclass(slots=True)
class ImageCollector:
    """The pictures met so far, as (URL, JSON path), of which `most` are allowed; and the labels."""

    most: int
    rules: RequestRules = field(default_factory=RequestRules)
    urls: list[tuple[str, str]] = field(default_factory=list)
    _labels: dict[str, None] = field(default_factory=dict)
    _older: int = 0

    @property
    def left_out(self) -> LeftOut:
        return LeftOut(tuple(self._labels), self._older)

    def add(self, url: str, at: str) -> str:
        """The placeholder of one more picture. Raises RequestError."""
        if self.rules.last_images is None and len(self.urls) == self.most:
            raise self._too_many(at)
        self.urls.append((url, at))
        return image_placeholder(len(self.urls) - 1)

    def drop_labels(
        self, fields: Mapping[str, Json], labels: Collection[str], at: str
    ) -> Mapping[str, Json]:
        """The fields without these labels; all of them where the policy refuses labels."""
        dropped = {name for name, value in fields.items() if name in labels and value is not None}
        if not dropped or not self.rules.drop_labels:
            return fields
        self._labels |= dict.fromkeys(_INDEX.sub("", f"{at}.{n}") for n in sorted(dropped))
        return {name: value for name, value in fields.items() if name not in dropped}

    def drop_older(self, messages: Sequence[Mapping[str, Json]]) -> tuple[Mapping[str, Json], ...]:
        """The messages with as many pictures as the policy sends on, the older ones replaced.

        Pictures of the present turn, behind the last answer, all stay: one that is left out of the
        question itself would be another question. For example `last 2`, P a picture, A an answer:

            P A P P A P  ->  . A . P A P

        Raises:
            RequestError: too many are left.
        """
        if self.rules.last_images is not None:
            answered = max(
                (i for i, m in enumerate(messages) if m["role"] == "assistant"), default=-1
            )
            present = sum(1 for message in messages[answered + 1 :] for _ in _pictures(message))
            kept = min(max(self.rules.last_images, present), len(self.urls))
            self._older = len(self.urls) - kept
            messages = [_without_older(message, self._older) for message in messages]
            del self.urls[: self._older]
        if len(self.urls) > self.most:
            raise self._too_many(self.urls[self.most][1])
        return tuple(messages)

    def sources(self, limits: ImageLimits) -> list[Source]:
        """All of them, in order, nothing fetched or decoded yet. Raises RequestError."""
        strict = self.rules.strict_types
        return [source_at(url, at, limits, strict_types=strict) for url, at in self.urls]

    def _too_many(self, at: str) -> RequestError:
        return RequestError(
            f"{at}: more than {self.most} pictures in one request; send fewer, or set "
            "advanced.limits.max_images in the policy of this server higher, or images.history to "
            "'last N'",
            param=at,
            code="too_many_images",
        )


def _pictures(message: Mapping[str, Json]) -> Iterator[int]:
    """The numbers of a message's pictures."""
    content = message.get("content")
    for part in content if isinstance(content, list) else []:
        if part["type"] == "image_url":
            yield placeholder_index(part["image_url"]["url"])


def _without_older(message: Mapping[str, Json], older: int) -> Mapping[str, Json]:
    """The message without the first pictures of the request, the others numbered anew."""
    if not older or not any(True for _ in _pictures(message)):
        return message
    return {**message, "content": [_renumber(part, older) for part in message["content"]]}


def _renumber(part: Mapping[str, Json], older: int) -> Mapping[str, Json]:
    if part["type"] != "image_url":
        return part
    index = placeholder_index(part["image_url"]["url"]) - older
    if index < 0:
        return {"type": "text", "text": _LEFT_OUT_WORDS}
    return {**part, "image_url": {**part["image_url"], "url": image_placeholder(index)}}


def check_parameters(parameters: Mapping[str, Json], allowed: Collection[str] = ()) -> None:
    """Refuses what would steer the call or bring a picture past the guard.

    Args:
        parameters: the fields of the request.
        allowed: those of `STEERING_FIELDS` that the policy lets through.

    Raises:
        RequestError: names the field.
    """
    for name, value in parameters.items():
        if value is None or value in ("", []):
            continue  # asks for nothing; an empty object may ask for something's defaults
        if name in _CARRIERS and value == {}:
            continue
        if name in STEERING_FIELDS and name not in allowed and value is not False:
            raise refused_field(
                name, f"{STEERING_FIELDS[name]}, or allow it by advanced.requests.allow"
            )
        if name in _STEERING:
            raise refused_field(name, "is not taken from requests; leave it out")
        if name in _SHARED:
            raise refused_field(
                name,
                "would tie the calls about one request together, which must be independent of "
                "each other; leave it out",
            )
        explained = _SCHEMA_WORDS if name in _SENT_AS_TEXT else frozenset()
        if any(_DATA_URL.match(text) for text in strings(value, besides=explained)):
            raise refused_field(
                join_path("", name),
                "holds a data URL, which would not be guarded here; send pictures as parts of "
                "messages",
            )


def strings(value: Json, *, besides: Collection[str] = ()) -> Iterator[str]:
    """Every text value inside, without recursion.

    `besides`: names of fields whose texts, and lists of texts, are left aside; objects in them are
    not, since a schema may well describe a property of such a name.
    """
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            left.extend(item)
        elif isinstance(item, dict):
            left.extend(one for name, one in item.items() if name not in besides)
            left.extend(one for name in besides for one in _objects(item.get(name)))


def _objects(value: Json) -> list[Json]:
    """The value, or its items, without texts."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict | list)]


def flag(value: Json, at: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise invalid_field(at, "must be true or false")
    return bool(value)


def text_at(value: Json, at: str) -> str:
    if not isinstance(value, str):
        raise invalid_field(at, "must be text")
    return value


def object_at(value: Json, at: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise invalid_field(at, "must be an object")
    return value


def join_path(at: str, name: str) -> str:
    """The path of a field whose name the client chose; odd names are not repeated."""
    plain = name if _PLAIN_NAME.fullmatch(name) else "?"
    return f"{at}.{plain}" if at else plain


def invalid_field(at: str, what: str) -> RequestError:
    return RequestError(f"{at}: {what}", param=at, code="invalid_value")


def refused_field(at: str, what: str) -> RequestError:
    return RequestError(f"{at}: {what}", param=at, code="unsupported_parameter")


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
    """A field that holds one of these words."""

    def check(value: Json, at: str) -> None:
        if value not in values:
            raise invalid_field(at, f"must be one of {', '.join(values)}")

    return Shape({"enum": list(values)}, check)


def _of_type(kind: type, schema_type: str, expected: str) -> Shape:
    def check(value: Json, at: str) -> None:
        if not isinstance(value, kind):
            raise invalid_field(at, f"must be {expected}")

    return Shape({"type": schema_type}, check)


ANYTHING = read_elsewhere({})
TEXT = _of_type(str, "string", "text")
FLAG = _of_type(bool, "boolean", "true or false")
OBJECT = _of_type(dict, "object", "an object")


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
