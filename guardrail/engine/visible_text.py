r"""What of an answer is put before the oracle: every text that a client could read or act on.

An answer is a JSON message of which this package knows only a part, and a model or a gateway may
add fields. So everything is read as text, but for what is known to say nothing:

    {"role": "assistant",                       no text: a name of OpenAI's form, an identifier
     "content": "Here is the file.",            text: its value
     "tool_calls": [{
       "id": "call_1", "type": "function",      no text: identifiers
       "function": {
         "name": "write",                       text: its value
         "arguments": "{\"p\": \"r\\u006d\"}"   text: its value; as it is JSON with escapes, also
       }}],                                     every name and value in it, "p" and "rm"
     "mood": "grim"}                            text: name and value, as the field is unknown,
                                                which is also reported as not scanned

The oracle sees these texts one a line, in this order, and after them what is hidden in codes such
as base64 (`decode_payloads.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from guardrail.engine.decode_payloads import decode_payloads
from guardrail.offload import EXTRACT_TEXT, offload, text_size

if TYPE_CHECKING:
    from guardrail.types import Answer, Json

__all__ = ["AnswerText", "extract_text", "read_answer"]

Pairs: TypeAlias = tuple[tuple[str, "Json"], ...]

_READABLE_PARTS = ("text", "output_text", "refusal", "thinking", "reasoning", "summary_text")
"""Types of content parts that are text; others, such as pictures, cannot be scanned."""

_UNREADABLE_FIELDS = ("audio", "images", "image", "video")
"""Fields that hold more than text."""

_MESSAGE_FIELDS = frozenset(
    {"role", "content", "refusal", "tool_calls", "function_call", "annotations", "name", "id"}
    | {"reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks"}
    | {"provider_specific_fields", *_UNREADABLE_FIELDS}
)
"""All fields of a message that are known; any other one is reported as not scanned."""

_STRUCTURE = _MESSAGE_FIELDS | frozenset(
    {"type", "index", "function", "custom", "arguments", "input", "text", "output_text"}
    | {"summary_text", "summary", "signature", "format", "url", "title", "url_citation"}
    | {"start_index", "end_index"}
)
"""Names of OpenAI's own form, at any depth: they say nothing. Any other name is read as text."""

_IDENTIFIERS = frozenset(
    {"role", "type", "id", "object", "format", "provider", "service_tier", "severity"}
    | {"system_fingerprint", "stop_reason", "native_finish_reason"}
    | {"matched_stop", "weight_version"}
)
"""Fields whose value, if it is one plain word, is the provider's and not the model's."""

_PLAIN_WORD = re.compile(r"[\w.:-]{1,80}")

_FREE_FIELDS = frozenset({"arguments", "input"})
"""Inside these the model chooses every name and every value: nothing is structure."""

_SEALED_FIELDS = frozenset(
    {"signature", "encrypted_content", "thought_signature", "thought_signatures"}
)
"""A provider's encrypted proof of its own reasoning, which no reader decodes."""

_SEALED_TYPES = frozenset({"redacted_thinking", "reasoning.encrypted"})
"""Objects of these types hold such a proof as `data`."""

_SEAL = re.compile(r"[\w+/=-]{40,}", re.ASCII)
_MOST_DECODINGS = 4  # JSON inside JSON inside a text, and so on


@dataclass(frozen=True, slots=True)
class AnswerText:
    """What an answer says.

    Attributes:
        text: the text to judge.
        unscanned: the names of the parts that no text oracle can read.
        refused: whether it is nothing but the provider's own refusal or content filter.
    """

    text: str
    unscanned: tuple[str, ...]
    refused: bool

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing at all."""
        return not (self.text.strip() or self.unscanned or self.refused)


def extract_text(answer: Answer) -> AnswerText:
    """All texts of the message, in its order, and of what is passed on beside it.

    Content in several parts comes first as a client joins it. JSON inside a text is decoded as
    well, so that neither escapes nor a key that stands twice can hide words; so are base64 and
    similar codes.
    """
    message = {name: value for name, value in answer.message.items() if value}
    refusal = message.pop("refusal", None)
    joined = [answer.text] if isinstance(message.get("content"), list) else []
    spoken = [text for text in (*joined, *_find_texts(message, keys=True)) if text.strip()]
    refusals = [text for text in _find_texts(refusal, keys=True) if text.strip()]
    filtered = answer.finish_reason == "content_filter"
    extra = [*_find_texts(answer.extra, keys=False)] if spoken or refusals else []
    text = "\n".join((*spoken, *refusals, *extra))
    payloads = decode_payloads(text)
    return AnswerText(
        text="\n".join((text, *payloads.texts)),
        unscanned=(*_find_unscanned(answer), *(("encoded text",) if payloads.unread else ())),
        refused=not spoken and (bool(refusals) or filtered),
    )


async def read_answer(answer: Answer) -> AnswerText:
    """What `extract_text` returns; of a long answer from a thread."""
    return await offload(
        EXTRACT_TEXT, text_size(answer.message, answer.extra), extract_text, answer
    )


def _find_texts(value: Json, *, keys: bool) -> Iterator[str]:
    """Every text inside a JSON value, in order and without recursion; JSON in it is decoded.

    Args:
        value: the JSON value.
        keys: whether names that are not structure are texts.
    """
    # Each item with how often a text around it was decoded, and whether it is the model's own.
    left: list[tuple[Json, int, bool]] = [(value, 0, False)]
    while left:
        item, decodings, free = left.pop()
        inside: list[tuple[Json, int, bool]] = []
        if isinstance(item, str):
            yield item
            if decodings < _MOST_DECODINGS and (decoded := _decode_json(item)) is not None:
                inside = [(decoded, decodings + 1, True)]
        elif isinstance(item, Mapping) and free:
            inside = [(part, decodings, True) for pair in item.items() for part in pair]
        elif isinstance(item, Mapping):
            for name, part in item.items():
                if _may_be_sealed(name, item) and _is_seal(part):
                    continue
                if keys and name not in _STRUCTURE:
                    inside.append((name, decodings, False))
                if not _is_identifier(name, part):
                    inside.append((part, decodings, name in _FREE_FIELDS))
        elif isinstance(item, list | tuple):
            inside = [(part, decodings, free) for part in item]
        left += reversed(inside)


def _is_identifier(name: str, value: Json) -> bool:
    return name in _IDENTIFIERS and isinstance(value, str) and bool(_PLAIN_WORD.fullmatch(value))


def _may_be_sealed(name: str, fields: Mapping[str, Json]) -> bool:
    of_sealed_type = name == "data" and str(fields.get("type")) in _SEALED_TYPES
    return name in _SEALED_FIELDS or of_sealed_type


def _is_seal(value: Json) -> bool:
    """Whether it is one long token, or several, in which no word can be read."""
    return all(
        isinstance(part, str) and _SEAL.fullmatch(part) and not decode_payloads(part).texts
        for part in (value if isinstance(value, list) else [value])
    )


def _decode_json(text: str) -> Pairs | list[Json] | str | None:
    r"""The value of a text that is JSON with escapes in it; None where it says all by itself.

    An object becomes its pairs, so that none is lost where a key stands twice:

        {"a": "b"}               -> None: its words can be read directly
        {"a": "\u0062", "a": 1}  -> (("a", "b"), ("a", 1))
    """
    if "\\" not in text or text.lstrip()[:1] not in ("{", "[", '"'):
        return None
    try:
        value: Json = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    return value  # type: ignore[no-any-return]  # JSON that starts so is one of these


def _find_unscanned(answer: Answer) -> Iterator[str]:
    """Names of parts that hold more than text, or that are not known."""
    for fields in (answer.message, answer.extra):
        yield from (name for name in _UNREADABLE_FIELDS if fields.get(name))
    content = answer.message.get("content")
    for part in content if isinstance(content, list) else []:
        if isinstance(part, Mapping) and part.get("type") not in _READABLE_PARTS:
            yield "content part"
    for name, value in answer.message.items():
        if name not in _MESSAGE_FIELDS and value:
            yield str(name)[:40]
