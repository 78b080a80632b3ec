"""What of an answer is put before the oracle: every text that a client could read or act on."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from guardrail.engine.encoded import hidden

if TYPE_CHECKING:
    from guardrail.types import Answer, Json

__all__ = ["Judged", "judged", "judged_aside"]

Pairs: TypeAlias = tuple[tuple[str, "Json"], ...]

_READABLE_PARTS = ("text", "output_text", "refusal", "thinking", "reasoning", "summary_text")
_UNREADABLE_FIELDS = ("audio", "images", "image", "video")
_MESSAGE_FIELDS = frozenset(
    {"role", "content", "refusal", "tool_calls", "function_call", "annotations", "name", "id"}
    | {"reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks"}
    | {"provider_specific_fields", *_UNREADABLE_FIELDS}
)
# Keys of OpenAI's own form: they say nothing. Any other key in a message is read as text.
_STRUCTURE = _MESSAGE_FIELDS | frozenset(
    {"type", "index", "function", "custom", "arguments", "input", "text", "output_text"}
    | {"summary_text", "summary", "signature", "format", "url", "title", "url_citation"}
    | {"start_index", "end_index"}
)
# Fields whose value, if it is one plain token, is the provider's and not the model's.
_IDENTIFIERS = frozenset(
    {"role", "type", "id", "object", "format", "provider", "service_tier", "severity"}
    | {"system_fingerprint", "stop_reason", "native_finish_reason"}
    | {"matched_stop", "weight_version"}
)
_TOKEN = re.compile(r"[\w.:-]{1,80}")
# Inside these the model chooses every name and every value: nothing is structure.
_FREE = frozenset({"arguments", "input"})
# A provider's proof of its own reasoning, for the provider alone: no reader decodes it.
_SEALED = frozenset({"signature", "encrypted_content", "thought_signature", "thought_signatures"})
_SEALED_TYPES = frozenset({"redacted_thinking", "reasoning.encrypted"})
_SEAL = re.compile(r"[\w+/=-]{40,}", re.ASCII)
_DECODINGS = 4
_LONG = 20_000  # characters; the worst of so many take some 15 ms


@dataclass(frozen=True, slots=True)
class Judged:
    """The text to judge and the names of the parts that no text oracle can read.

    `refused` marks an answer that is nothing but the provider's own refusal or content filter,
    `empty` one that says nothing at all.
    """

    text: str
    unscanned: tuple[str, ...]
    refused: bool

    @property
    def empty(self) -> bool:
        return not (self.text.strip() or self.unscanned or self.refused)


def judged(answer: Answer) -> Judged:
    """All texts of the message, in its order, and of what is passed on beside it.

    Content in several parts comes first as a client joins it. JSON inside a text is decoded as
    well, so that neither escapes nor a key that stands twice can hide words; so are base64 and
    its like.
    """
    message = {name: value for name, value in answer.message.items() if value}
    refusal = message.pop("refusal", None)
    joined = [answer.text] if isinstance(message.get("content"), list) else []
    spoken = [text for text in (*joined, *_texts(message, keys=True)) if text.strip()]
    told = [text for text in _texts(refusal, keys=True) if text.strip()]
    filtered = answer.finish_reason == "content_filter"
    beside = [*_texts(answer.extra, keys=False)] if spoken or told else []
    text = "\n".join((*spoken, *told, *beside))
    codes = hidden(text)
    return Judged(
        text="\n".join((text, *codes.texts)),
        unscanned=(*_unscanned(answer), *(("encoded text",) if codes.unread else ())),
        refused=not spoken and (bool(told) or filtered),
    )


async def judged_aside(answer: Answer) -> Judged:
    """What `judged` says; of a long answer from a thread, so that nobody else waits for it."""
    if not _is_long([answer.message, answer.extra]):
        return judged(answer)
    return await asyncio.to_thread(judged, answer)


def _is_long(value: Json) -> bool:
    """Whether a JSON value holds more than a few pages; each part of it counts, empty or not."""
    left, size = [value], 0
    while left and size <= _LONG:
        item = left.pop()
        size += 1
        if isinstance(item, str):
            size += len(item)
        elif isinstance(item, Mapping):
            left += (part for pair in item.items() for part in pair)
        elif isinstance(item, list | tuple):
            left += item
    return size > _LONG


def _texts(value: Json, *, keys: bool) -> Iterator[str]:
    """Every text inside a JSON value, in order and without recursion; JSON in it is decoded."""
    left: list[tuple[Json, int, bool]] = [(value, 0, False)]
    while left:
        item, decoded, free = left.pop()
        inside: list[tuple[Json, int, bool]] = []
        if isinstance(item, str):
            yield item
            if decoded < _DECODINGS and (said := _decoded(item)) is not None:
                inside = [(said, decoded + 1, True)]
        elif isinstance(item, Mapping) and free:
            inside = [(part, decoded, True) for pair in item.items() for part in pair]
        elif isinstance(item, Mapping):
            for name, part in item.items():
                if _is_sealed(name, item) and _is_seal(part):
                    continue
                if keys and name not in _STRUCTURE:
                    inside.append((name, decoded, False))
                if not _is_identifier(name, part):
                    inside.append((part, decoded, name in _FREE))
        elif isinstance(item, list | tuple):
            inside = [(part, decoded, free) for part in item]
        left += reversed(inside)


def _is_identifier(name: str, value: Json) -> bool:
    return name in _IDENTIFIERS and isinstance(value, str) and bool(_TOKEN.fullmatch(value))


def _is_sealed(name: str, fields: Mapping[str, Json]) -> bool:
    return name in _SEALED or (name == "data" and str(fields.get("type")) in _SEALED_TYPES)


def _is_seal(value: Json) -> bool:
    """Whether it is one long token, or several, in which nobody could read a word."""
    return all(
        isinstance(part, str) and _SEAL.fullmatch(part) and not hidden(part).texts
        for part in (value if isinstance(value, list) else [value])
    )


def _decoded(text: str) -> Pairs | list[Json] | str | None:
    """What a text that is JSON says beyond its letters; None where it says no more.

    An object becomes its pairs: none is lost where a key stands twice.
    """
    if "\\" not in text or text.lstrip()[:1] not in ("{", "[", '"'):
        return None
    try:
        value: Json = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    return value  # type: ignore[no-any-return]  # JSON that starts so is one of these


def _unscanned(answer: Answer) -> Iterator[str]:
    """Names of parts that hold more than text, or that nothing here knows."""
    for fields in (answer.message, answer.extra):
        yield from (name for name in _UNREADABLE_FIELDS if fields.get(name))
    content = answer.message.get("content")
    for part in content if isinstance(content, list) else []:
        if isinstance(part, Mapping) and part.get("type") not in _READABLE_PARTS:
            yield "content part"
    for name, value in answer.message.items():
        if name not in _MESSAGE_FIELDS and value:
            yield str(name)[:40]
