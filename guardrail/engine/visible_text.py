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

The whole answer is these texts one a line, in this order, and after them what is hidden in codes
such as base64 (`decode_payloads.py`). Beside it stand the texts of each field by itself, since harm
in a short field would be lost among the calm words of a long one:

    {"content": "Here it is.", "reasoning_content": "I plan it."}
    text    "Here it is.\nI plan it."
    fields  content: "Here it is.", reasoning_content: "I plan it."

A field's name is its path in words of OpenAI's form. All other names are the model's own words;
what stands below them is called `other field`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from guardrail.engine.decode_payloads import DecodedPayloads, decode_payloads
from guardrail.message_form import (
    MEDIA_FIELDS,
    MESSAGE_FIELDS,
    PART_EXTRAS,
    SEALED_FIELDS,
    find_unknown,
)
from guardrail.offload import EXTRACT_TEXT, offload, text_size

if TYPE_CHECKING:
    from guardrail.types import Answer, Json

__all__ = ["OTHER_FIELD", "AnswerText", "FieldText", "extract_text", "read_answer"]

Pairs: TypeAlias = tuple[tuple[str, "Json"], ...]
Texts: TypeAlias = Iterable[tuple[str, str]]
"""Pairs of a field's name and a text in it, in the order of the message."""

OTHER_FIELD = "other field"
"""What a field is called whose name is not one of OpenAI's form."""

_HIDDEN = "\0"
"""Behind it, in a path, stands what tells two such fields apart; it is not shown."""

_STRUCTURE = (
    MESSAGE_FIELDS.keys()
    | MEDIA_FIELDS
    | PART_EXTRAS
    | {"type", "function", "custom", "arguments", "input", "text", "output_text", "google"}
    | {"summary_text", "summary", "url", "title", "url_citation", "start_index", "end_index"}
)
"""Names of OpenAI's own form, at any depth: they say nothing. Any other name is read as text."""

_IDENTIFIERS = frozenset(
    {"role", "type", "id", "object", "format", "provider", "service_tier", "severity"}
    | {"system_fingerprint", "stop_reason", "native_finish_reason"}
    | {"matched_stop", "weight_version"}
)
"""Fields whose value, if it is one plain word, is the provider's and not the model's."""

_PLAIN_WORD = re.compile(r"[\w.:-]{1,80}")

_EXTRA_FIELDS = frozenset({"logprobs", "stop_reason", "citations", "system_fingerprint"})
"""Fields beside the message that are shown by their own names."""

_MEDIA_IN_ORDER = tuple(sorted(MEDIA_FIELDS))

_FREE_FIELDS = frozenset({"arguments", "input"})
"""Inside these the model chooses every name and every value: nothing is structure."""

_SEALED_TYPES = frozenset({"redacted_thinking", "reasoning.encrypted"})
"""Objects of these types hold such a proof as `data`."""

_SEAL = re.compile(r"[\w+/=-]{40,}", re.ASCII)
_MOST_DECODINGS = 4  # JSON inside JSON inside a text, and so on
_LONG_CHARS = 160  # of a value among a tool's arguments, from which it is judged by itself


@dataclass(frozen=True, slots=True)
class FieldText:
    """What one field of an answer says.

    Attributes:
        name: a path such as `content[1].text` or `tool_calls[0].function.arguments`, with
            ` (decoded)` behind it for what a code in the field says; none of the answer's words.
        text: the text to judge.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class AnswerText:
    """What an answer says.

    Attributes:
        text: the whole text, every field in it.
        fields: each field's text, equal texts once, those that are blank left out. Empty where
            the answer says nothing.
        unscanned: the names of the parts that no text oracle can read.
        refused: whether it is nothing but the provider's own refusal or content filter.
    """

    text: str
    fields: tuple[FieldText, ...]
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
    spoken = _drop_blank(_find_texts(message, keys=True))
    if isinstance(message.get("content"), list) and answer.text not in map(itemgetter(1), spoken):
        spoken = _drop_blank((("content", answer.text), *spoken))
    refusals = _drop_blank(_find_texts(refusal, "refusal", keys=True)) if refusal else []
    filtered = answer.finish_reason == "content_filter"
    extra = [*_find_extra(answer.extra)] if spoken or refusals else []
    texts = [*spoken, *refusals, *extra]
    text = "\n".join(part for _, part in texts)
    payloads = decode_payloads(text)
    fields, unread = _find_fields(texts, text, payloads)
    return AnswerText(
        text="\n".join((text, *payloads.texts)),
        fields=fields,
        unscanned=(*_find_unscanned(answer), *(("encoded text",) if unread else ())),
        refused=not spoken and (bool(refusals) or filtered),
    )


async def read_answer(answer: Answer) -> AnswerText:
    """What `extract_text` returns; of a long answer from a thread."""
    return await offload(
        EXTRACT_TEXT, text_size(answer.message, answer.extra), extract_text, answer
    )


def _drop_blank(texts: Texts) -> list[tuple[str, str]]:
    return [(name, text) for name, text in texts if text.strip()]


def _find_extra(extra: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """The texts beside the message; those of one field together, as tokens say nothing alone."""
    for place, (name, value) in enumerate(extra.items()):
        path = name if name in _EXTRA_FIELDS else f"{OTHER_FIELD}{_HIDDEN}{place}"
        yield from ((path, text) for _, text in _find_texts({name: value}, keys=False))


def _find_fields(
    texts: Texts, whole: str, payloads: DecodedPayloads
) -> tuple[tuple[FieldText, ...], bool]:
    """Each field's text with what codes in it say, and whether a code could not be read.

    Codes are looked for in each field again: beside another field's words one may begin elsewhere.
    """
    found: dict[str, str] = {}  # name by text
    unread = payloads.unread
    for path, group in groupby(texts, itemgetter(0)):
        name, parts = path.partition(_HIDDEN)[0], [text for _, text in group]
        text = "\n".join(parts)
        decoded = payloads if text == whole else decode_payloads(text)
        unread = unread or decoded.unread
        for part in (text, *_split_values(name, parts)):
            found.setdefault(part, name)
        for part in decoded.texts:
            found.setdefault(part, f"{name} (decoded)")
    for part in payloads.texts:
        found.setdefault(part, "decoded text")  # of a code that goes over several fields
    fields = tuple(FieldText(name, text) for text, name in found.items() if text.strip())
    return fields, unread


def _split_values(name: str, texts: list[str]) -> list[str]:
    r"""Long values of a field that the model fills freely, and all its short texts together.

    A word by itself says too little to be judged, but beside a long value it would be lost:

        {"path": "a.txt", "mode": "w", "text": "Dear all, ..."}
        -> ["Dear all, ...", "path\na.txt\nmode\nw\ntext"]
    """
    free = name.rpartition(".")[2] in _FREE_FIELDS or name.endswith(OTHER_FIELD)
    if not free or sum(map(len, texts)) <= _LONG_CHARS:
        return []
    parts = dict.fromkeys(part for text in texts for part in _json_texts(text))
    long = [part for part in parts if len(part) > _LONG_CHARS]
    return [*long, "\n".join(part for part in parts if len(part) <= _LONG_CHARS)] if long else []


def _json_texts(text: str) -> list[str]:
    """Every name and text of a text that is JSON; else the text itself."""
    if text.lstrip()[:1] not in ("{", "["):
        return [text]
    try:
        value = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return [text]
    return [part for _, part in _find_texts(value, OTHER_FIELD, keys=True, free=True)]


def _find_texts(
    value: Json, path: str = "", *, keys: bool, free: bool = False
) -> Iterator[tuple[str, str]]:
    """Every text inside a JSON value, in order and without recursion; JSON in it is decoded.

    Args:
        value: the JSON value.
        path: the name of its field.
        keys: whether names that are not structure are texts.
        free: whether all names in it are the model's own.

    Yields:
        The name of the field and the text.
    """
    # Each item with its path, how often a text around it was decoded, and whether it is free.
    left: list[tuple[Json, str, int, bool]] = [(value, path, 0, free)]
    while left:
        item, path, decodings, free = left.pop()
        inside: list[tuple[Json, str, int, bool]] = []
        if isinstance(item, str):
            yield path, item
            if decodings < _MOST_DECODINGS and (decoded := _decode_json(item)) is not None:
                inside = [(decoded, path, decodings + 1, True)]
        elif isinstance(item, Mapping) and free:
            inside = [(part, path, decodings, True) for pair in item.items() for part in pair]
        elif isinstance(item, Mapping):
            for place, (name, part) in enumerate(item.items()):
                if _may_be_sealed(name, item) and _is_seal(part):
                    continue
                below = _extend(path, name, place)
                if keys and name not in _STRUCTURE:
                    inside.append((name, below, decodings, False))
                if not _is_identifier(name, part):
                    inside.append((part, below, decodings, name in _FREE_FIELDS))
        elif isinstance(item, list | tuple):
            closed = free or OTHER_FIELD in path
            inside = [
                (part, path if closed else f"{path}[{place}]", decodings, free)
                for place, part in enumerate(item)
            ]
        left += reversed(inside)


def _extend(path: str, name: str, place: int) -> str:
    """The path of a field inside; below a name that is not known it goes no deeper."""
    if OTHER_FIELD in path:
        return path
    shown = name if name in _STRUCTURE else f"{OTHER_FIELD}{_HIDDEN}{place}"
    return f"{path}.{shown}" if path else shown


def _is_identifier(name: str, value: Json) -> bool:
    return name in _IDENTIFIERS and isinstance(value, str) and bool(_PLAIN_WORD.fullmatch(value))


def _may_be_sealed(name: str, fields: Mapping[str, Json]) -> bool:
    of_sealed_type = name == "data" and str(fields.get("type")) in _SEALED_TYPES
    return name in SEALED_FIELDS or of_sealed_type


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
    yield from (name for name in _MEDIA_IN_ORDER if answer.extra.get(name))
    yield from (name[:40] for name in find_unknown(answer.message))
