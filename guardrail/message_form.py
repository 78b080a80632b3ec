"""What an assistant's message may hold: one table for answers and for requests.

An answer that holds more than this is not wholly read by an oracle. What leaves as wholly read is
taken back in the history of the next request, since requests are read by the same table:

    {"role": "assistant", "reasoning_content": "It has whiskers.",
     "content": [{"type": "text", "text": "A cat."}]}      known, both ways
    {"role": "assistant", "content": "A cat.", "images": []}   known: an empty field says nothing
    {"role": "assistant", "content": "A cat.", "hologram": {}} known likewise
    {"role": "assistant", "content": [{"type": "sound"}]}      not known, either way
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.types import Json

__all__ = [
    "MEDIA_FIELDS",
    "MESSAGE_FIELDS",
    "PART_EXTRAS",
    "SEALED_FIELDS",
    "TEXT_PARTS",
    "Form",
    "find_unknown",
    "fits",
    "holds_media",
    "is_text_part",
    "part_texts",
]


class Form(Enum):
    """What a field of a message holds. `FREE` is any JSON in which there is no medium but text."""

    TEXT = auto()
    CONTENT = auto()
    OBJECTS = auto()
    FREE = auto()


SEALED_FIELDS = frozenset(
    {"signature", "encrypted_content", "thought_signature", "thought_signatures"}
    | {"thoughtSignature", "reasoning_opaque", "reasoning_signature"}
)
"""A provider's encrypted proof of its own reasoning, which it wants back and no reader decodes."""

MESSAGE_FIELDS: Mapping[str, Form] = {
    "role": Form.TEXT,
    "content": Form.CONTENT,
    "name": Form.TEXT,
    "id": Form.TEXT,
    "refusal": Form.TEXT,
    "tool_calls": Form.OBJECTS,
    "function_call": Form.FREE,
    **dict.fromkeys(
        (
            *("reasoning", "reasoning_content", "reasoning_text", "reasoning_details"),
            *("thinking", "thinking_blocks", "annotations", "provider_specific_fields"),
            *("extra_content", *sorted(SEALED_FIELDS)),
        ),
        Form.FREE,
    ),
}
"""Every field of an assistant's message that is text or says nothing."""

MEDIA_FIELDS = frozenset({"audio", "images", "image", "video"})
"""Fields that hold more than text, where they hold anything."""

TEXT_PARTS: Mapping[str, tuple[str, ...]] = {
    "text": ("text",),
    "output_text": ("text",),
    "refusal": ("refusal",),
    "thinking": ("thinking",),
    "reasoning": ("reasoning", "text", "summary"),
    "summary_text": ("text",),
}
"""Types of content parts that are text, and the fields that it stands in: one or several."""

PART_EXTRAS = frozenset(
    {"cache_control", "annotations", "citations", "logprobs", "extra_content", "id", "index"}
    | {"status", "closed", "format", *SEALED_FIELDS}
)
"""What such parts may hold beside it."""

_NESTED = frozenset({"thinking", "reasoning", "summary"})  # a text, or text parts
_MOST_NESTED = 4
_MEDIA_KEYS = MEDIA_FIELDS | frozenset(
    {"image_url", "imageUrl", "input_image", "output_image", "image_generation_call", "b64_json"}
    | {"audio_url", "input_audio", "output_audio", "video_url", "inline_data", "inlineData"}
    | {"file", "file_data", "input_file", "document"}
)
_WORDS_OF_CALLS = frozenset({"arguments", "input"})  # whatever they hold, the model wrote it
_DATA_URL = re.compile(
    r"\s*data:[^,]{0,256};\s*base64\s*,|\s*data:(image|audio|video)/", re.IGNORECASE
)


def fits(form: Form, value: Json) -> bool:
    """Whether a field's value is of its form, which null always is."""
    match form:
        case Form.CONTENT:
            is_parts = isinstance(value, list) and all(map(is_text_part, value))
            return value is None or isinstance(value, str) or is_parts
        case Form.TEXT:
            return value is None or isinstance(value, str)
        case Form.OBJECTS:
            is_list = isinstance(value, list) and all(isinstance(item, Mapping) for item in value)
            return value is None or (is_list and not holds_media(value, but=_WORDS_OF_CALLS))
        case Form.FREE:
            return not holds_media(value)
        case _:
            assert_never(form)


def find_unknown(message: Mapping[str, Json]) -> Iterator[str]:
    """The names of the fields of a message that are not as the table has them.

    `content part` stands for a part of the content. What is false, zero or empty says nothing.
    """
    for name, value in message.items():
        form = MESSAGE_FIELDS.get(name)
        if not value:
            continue
        if form is None:
            yield str(name)
        elif not fits(form, value):
            yield "content part" if form is Form.CONTENT and isinstance(value, list) else name


def is_text_part(part: Json, nested: int = 0) -> bool:
    """Whether a content part holds a text and nothing but known fields beside it."""
    if not isinstance(part, Mapping) or nested > _MOST_NESTED:
        return False
    names = TEXT_PARTS.get(str(part.get("type")), ())
    said = {name: value for name, value in part.items() if value is not None and name != "type"}
    texts = {name: value for name, value in said.items() if name in names}
    beside = {name: value for name, value in said.items() if name not in names}
    return (
        bool(texts)
        and all(_is_text(name, value, nested) for name, value in texts.items())
        and all(name in PART_EXTRAS and not holds_media(value) for name, value in beside.items())
    )


def _is_text(name: str, value: Json, nested: int) -> bool:
    if isinstance(value, list) and name in _NESTED:
        return all(is_text_part(part, nested + 1) for part in value)
    return isinstance(value, str)


def part_texts(part: Json, nested: int = 0) -> Iterator[str]:
    """The texts of a content part, those of parts inside it included."""
    if not isinstance(part, Mapping) or nested > _MOST_NESTED:
        return
    for name in TEXT_PARTS.get(str(part.get("type")), ()):
        value = part.get(name)
        if isinstance(value, str):
            yield value
        for inner in value if isinstance(value, list) else []:
            yield from part_texts(inner, nested + 1)


def holds_media(value: Json, *, but: frozenset[str] = frozenset()) -> bool:
    """Whether a picture, a sound, a film or a file may stand inside, but below these names.

    Without recursion.
    """
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            if _DATA_URL.match(item):
                return True
        elif isinstance(item, Mapping):
            if any(item.get(name) for name in _MEDIA_KEYS) or str(item.get("type")) in _MEDIA_KEYS:
                return True
            left += (inner for name, inner in item.items() if name not in but)
        elif isinstance(item, list | tuple):
            left += item
    return False
