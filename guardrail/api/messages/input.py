"""System, messages and content blocks of Anthropic's form, to the messages of a chat.

    user       [tool_result, text, image]     -> tool, then user with text and picture
    assistant  [thinking, text, tool_use]     -> assistant with reasoning, content and tool_calls

A turn's results of tools become messages of their own, in their order, as chats have them. Which
block may stand in which role is said by one table, and every other block is refused by its place:
what is not recognised here would not be guarded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.api.messages.tool_input import format_input
from guardrail.api.request_rules import LABELS, PICTURE_LABELS
from guardrail.api.shapes import (
    ANYTHING,
    FLAG,
    OBJECT,
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
    refused_field,
    text_at,
)
from guardrail.errors import RequestError
from guardrail.message_form import holds_media

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from guardrail.types import Json

__all__ = ["MESSAGES", "SYSTEM", "MessagesContext", "kind_of", "read_messages", "read_system"]

_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_PLAIN_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")
_URL: Mapping[str, Json] = {"type": "string", "format": "uri"}
_BASE64: Mapping[str, Json] = {"type": "string", "format": "byte"}
_SOURCES: Mapping[str, Mapping[str, Shape]] = {
    "base64": {"type": one_of("base64"), "media_type": TEXT, "data": read_elsewhere(_BASE64)},
    "url": {"type": one_of("url"), "url": read_elsewhere(_URL)},
}


def _labels(kind: str, fields: Mapping[str, Shape]) -> frozenset[str]:
    """What is left out of a block of this kind, or of the source in it."""
    return frozenset((PICTURE_LABELS if kind == "image" else LABELS) - fields.keys())


def _labelled_schema(kind: str, fields: Mapping[str, Shape], *required: str) -> dict[str, Json]:
    labels = dict.fromkeys(sorted(_labels(kind, fields)), ANYTHING)
    return object_schema({**labels, **fields}, ("type", *required))


_SOURCE = read_elsewhere(
    any_of(
        _labelled_schema("image", _SOURCES["base64"], "data"),
        _labelled_schema("image", _SOURCES["url"], "url"),
    )
)


def _check_caller(value: Json, at: str) -> None:
    if value != {"type": "direct"}:
        raise refused_field(at, "calls by other tools cannot be carried over; leave it out")


_CALLER = Shape({"const": {"type": "direct"}}, _check_caller)
_CACHE: Mapping[str, Shape] = {"cache_control": ANYTHING}
_TEXT_FIELDS: Mapping[str, Shape] = {
    "type": one_of("text"),
    "text": TEXT,
    "citations": ANYTHING,
    **_CACHE,
}
_IMAGE_FIELDS: Mapping[str, Shape] = {
    "type": one_of("image"),
    "source": _SOURCE,
    "transformations": ANYTHING,
    **_CACHE,
}


def _block_schema(kind: str, fields: Mapping[str, Shape]) -> dict[str, Json]:
    return _labelled_schema(kind, fields, *_REQUIRED[kind])


_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "text": ("text",),
    "image": ("source",),
    "tool_result": ("tool_use_id",),
    "tool_use": ("id", "name", "input"),
    "thinking": ("thinking",),
    "redacted_thinking": ("data",),
}
_PARTS = (_block_schema("text", _TEXT_FIELDS), _block_schema("image", _IMAGE_FIELDS))
_BLOCKS: Mapping[str, Mapping[str, Shape]] = {
    "text": _TEXT_FIELDS,
    "image": _IMAGE_FIELDS,
    "tool_result": {
        "type": one_of("tool_result"),
        "tool_use_id": TEXT,
        "content": read_elsewhere(any_of(TEXT.schema, list_of(any_of(*_PARTS)))),
        "is_error": FLAG,
        **_CACHE,
    },
    "tool_use": {
        "type": one_of("tool_use"),
        "id": TEXT,
        "name": TEXT,
        "input": OBJECT,
        "caller": _CALLER,
        **_CACHE,
    },
    "thinking": {"type": one_of("thinking"), "thinking": TEXT, "signature": TEXT},
    "redacted_thinking": {"type": one_of("redacted_thinking"), "data": TEXT},
}
_ROLES: Mapping[str, tuple[str, ...]] = {
    "user": ("text", "image", "tool_result"),
    "assistant": ("text", "image", "tool_use", "thinking", "redacted_thinking"),
    "system": ("text",),
}
"""The blocks that may stand in each role."""

_NOT_CARRIED = ("cache_control", "citations", "transformations", "is_error")
"""Fields of blocks that a chat has no place for; where they say something they are named."""


def _content_schema(*kinds: str, least: int) -> dict[str, Json]:
    blocks = (_block_schema(kind, _BLOCKS[kind]) for kind in kinds)
    return any_of(TEXT.schema, list_of(any_of(*blocks), least=least))


SYSTEM = any_of(TEXT.schema, list_of(_block_schema("text", _TEXT_FIELDS)))
"""The JSON Schema of `system`."""

_MESSAGE_FIELDS: Mapping[str, Shape] = {
    "role": one_of(*_ROLES),
    "content": read_elsewhere({}),
}
MESSAGES = list_of(
    any_of(
        *(
            object_schema(
                {
                    **dict.fromkeys(sorted(LABELS), ANYTHING),
                    "role": one_of(role),
                    "content": read_elsewhere(
                        _content_schema(*kinds, least=0 if role == "assistant" else 1)
                    ),
                },
                ("role", "content"),
            )
            for role, kinds in _ROLES.items()
        )
    ),
    least=1,
)
"""The JSON Schema of `messages`, made of the tables that they are read by."""


@dataclass(frozen=True, slots=True)
class MessagesContext:
    """What the reading of messages finds beside them.

    Attributes:
        found: takes the pictures.
        withheld: names what the model is not told.
    """

    found: ImageCollector
    withheld: set[str] = field(default_factory=set)


def kind_of(value: Mapping[str, Json]) -> str:
    """The type of a block or a tool, empty where there is none."""
    kind = value.get("type")
    return kind if isinstance(kind, str) else ""


def read_system(value: Json, context: MessagesContext) -> tuple[Mapping[str, Json], ...]:
    """The system message; none where nothing is said. Raises RequestError."""
    if value is None or value == []:
        return ()
    return tuple(_messages("system", value, "system", context))


def read_messages(value: Json, context: MessagesContext) -> list[Mapping[str, Json]]:
    """The messages that say what these say, pictures replaced by placeholders.

    Raises:
        RequestError: names the message, the block and the field.
    """
    if not isinstance(value, list) or not value:
        raise invalid_field("messages", "must be a list of at least one message")
    messages: list[Mapping[str, Json]] = []
    for i, item in enumerate(value):
        messages += _turn(object_at(item, f"messages[{i}]"), f"messages[{i}]", context)
    if messages[-1]["role"] == "assistant":
        raise refused_field(
            f"messages[{len(value) - 1}]",
            "is the beginning of an answer (a prefill), which a chat completion does not continue; "
            "end with a message of the user",
        )
    return messages


def _turn(
    item: Mapping[str, Json], at: str, context: MessagesContext
) -> Iterator[Mapping[str, Json]]:
    item = context.found.drop_labels(item, LABELS, at)
    check_fields(item, _MESSAGE_FIELDS, at)
    role = item.get("role")
    if not isinstance(role, str):
        raise invalid_field(f"{at}.role", f"must be one of {', '.join(_ROLES)}")
    return _messages(role, item.get("content"), f"{at}.content", context)


def _messages(
    role: str, content: Json, at: str, context: MessagesContext
) -> Iterator[Mapping[str, Json]]:
    """The messages of a chat that one turn becomes."""
    if isinstance(content, str):
        yield {"role": role, "content": content}
        return
    if not isinstance(content, list) or not (content or role == "assistant"):
        raise invalid_field(at, "must be text or a list of content blocks")
    blocks = [_block(block, f"{at}[{i}]", _ROLES[role], context) for i, block in enumerate(content)]
    if role == "assistant":
        yield _assistant(blocks)
    else:
        yield from _split_results(role, blocks)


def _split_results(role: str, blocks: Sequence[Mapping[str, Json]]) -> Iterator[Mapping[str, Json]]:
    """Results of tools, which are messages already, apart from the parts between them."""
    parts: list[Mapping[str, Json]] = []
    for block in blocks:
        if "role" not in block:
            parts.append(block)
            continue
        if parts:
            yield {"role": role, "content": _join(parts)}
            parts = []
        yield block
    if parts:
        yield {"role": role, "content": _join(parts)}


def _assistant(blocks: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """One message of an assistant; thoughts that carry a proof go back with it."""
    thoughts = [block for block in blocks if block["type"] in ("thinking", "redacted_thinking")]
    calls = [block for block in blocks if block["type"] == "function"]
    parts = [block for block in blocks if block["type"] in ("text", "image_url")]
    message: dict[str, Json] = {"role": "assistant", "content": _join(parts) if parts else None}
    if any(block.get("signature") or "data" in block for block in thoughts):
        message["thinking_blocks"] = thoughts
    elif thoughts:
        message["reasoning_content"] = "\n\n".join(block["thinking"] for block in thoughts)
    return {**message, "tool_calls": calls} if calls else message


def _join(parts: Sequence[Mapping[str, Json]]) -> str | list[Json]:
    """The content of a message; one text stays text, which every server understands."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return list(parts)


def _block(
    value: Json, at: str, allowed: Sequence[str], context: MessagesContext
) -> Mapping[str, Json]:
    """A block as a part, a call or thoughts of a chat's message, or as a tool's message."""
    block = object_at(value, at)
    kind = kind_of(block)
    if kind not in allowed:
        raise _unknown_block(kind, at, allowed)
    fields = _BLOCKS[kind]
    block = context.found.drop_labels(block, _labels(kind, fields), at)
    check_fields(block, fields, at)
    context.withheld.update(
        name if name == "cache_control" else f"{kind}.{name}"
        for name in _NOT_CARRIED
        if block.get(name)
    )
    match kind:
        case "text":
            return {"type": "text", "text": text_at(block.get("text"), f"{at}.text")}
        case "image":
            return _image(block.get("source"), f"{at}.source", context.found)
        case "tool_use":
            return _call(block, at)
        case "tool_result":
            return _result(block, at, context)
        case _:
            return _thought(block, kind, at)


def _unknown_block(kind: str, at: str, allowed: Sequence[str]) -> RequestError:
    named = f"the type '{kind}'" if _PLAIN_KIND.fullmatch(kind) else "this type"
    return RequestError(
        f"{at}.type: blocks of {named} cannot be guarded here, only {', '.join(allowed)}; send "
        "what it says as text or as pictures, or leave it out",
        param=f"{at}.type",
        code="unsupported_content_block",
    )


def _image(value: Json, at: str, found: ImageCollector) -> dict[str, Json]:
    source = object_at(value, at)
    kind = kind_of(source)
    if kind not in _SOURCES:
        raise refused_field(
            f"{at}.type",
            "only base64 and url can be guarded, files cannot; send the picture itself",
        )
    source = found.drop_labels(source, _labels("image", _SOURCES[kind]), at)
    check_fields(source, _SOURCES[kind], at)
    if kind == "url":
        url, place = text_at(source.get("url"), f"{at}.url"), f"{at}.url"
    else:
        place = f"{at}.data"
        media_type = source.get("media_type") or ""
        if media_type and not _MEDIA_TYPE.fullmatch(media_type):
            raise invalid_field(f"{at}.media_type", "must be a media type, such as image/png")
        url = f"data:{media_type};base64,{text_at(source.get('data'), place)}"
    return {"type": "image_url", "image_url": {"url": found.add(url, place)}}


def _call(block: Mapping[str, Json], at: str) -> dict[str, Json]:
    function = {
        "name": text_at(block.get("name"), f"{at}.name"),
        "arguments": format_input(object_at(block.get("input"), f"{at}.input")),
    }
    return {"id": text_at(block.get("id"), f"{at}.id"), "type": "function", "function": function}


def _result(block: Mapping[str, Json], at: str, context: MessagesContext) -> dict[str, Json]:
    call_id = text_at(block.get("tool_use_id"), f"{at}.tool_use_id")
    content, place = block.get("content"), f"{at}.content"
    if isinstance(content, list):
        kinds = ("text", "image")
        content = _join(
            [_block(part, f"{place}[{i}]", kinds, context) for i, part in enumerate(content)]
        )
    elif content is not None and not isinstance(content, str):
        raise invalid_field(place, "must be text or a list of content blocks")
    return {"role": "tool", "tool_call_id": call_id, "content": content or ""}


def _thought(block: Mapping[str, Json], kind: str, at: str) -> dict[str, Json]:
    (name,) = _REQUIRED[kind]
    kept = {"type": kind, name: text_at(block.get(name), f"{at}.{name}")}
    if block.get("signature"):
        kept["signature"] = block["signature"]
    if holds_media(kept):
        raise invalid_field(
            f"{at}.{name}",
            "holds a data URL, which would not be guarded here; send pictures as image blocks",
        )
    return kept
