"""The input of a Responses request, item by item, to the messages of a chat.

A function call joins the assistant's message before it, as chats want all calls of one turn in
one message. Ids and states of items say nothing to a model and are left out. References are read as
the items that they name. Reasoning of an earlier turn, which only the model that wrote it can read,
is left out by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.api.request_rules import LABELS, PICTURE_LABELS
from guardrail.api.shapes import (
    ANYTHING,
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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.items import Recall
    from guardrail.types import Json

__all__ = ["INPUT", "InputContext", "read_input"]

_ROLES = ("user", "assistant", "system", "developer")
_TEXT_PARTS: Mapping[Json, tuple[str, str]] = {
    # Their text field, and the kind of chat part that carries it.
    "input_text": ("text", "text"),
    "output_text": ("text", "text"),
    "refusal": ("refusal", "refusal"),
}
_CALLS: Mapping[Json, tuple[str, str]] = {
    # The kind of call that carries each of them in a chat, and the field of what it is given.
    "function_call": ("function", "arguments"),
    "custom_tool_call": ("custom", "input"),
}
_IMAGE_FIELDS: Mapping[str, Shape] = {
    "type": one_of("input_image"),
    "image_url": read_elsewhere({"type": "string", "format": "uri"}),
    "detail": TEXT,
}
_PARTS = (
    object_schema(
        {**dict.fromkeys(sorted(PICTURE_LABELS), ANYTHING), **_IMAGE_FIELDS}, ("type", "image_url")
    ),
    *(
        {
            **object_schema({"type": one_of(str(kind)), field: TEXT}, ("type", field)),
            "additionalProperties": any_of({"type": "null"}, {"const": []}),
        }
        for kind, (field, _) in _TEXT_PARTS.items()
    ),
)
_CONTENT = read_elsewhere(any_of(TEXT.schema, list_of(any_of(*_PARTS), least=1)))
_STATE: Mapping[str, Shape] = {"id": ANYTHING, "status": ANYTHING}
_ITEM_FIELDS: Mapping[str, Mapping[str, Shape]] = {
    "message": {"role": one_of(*_ROLES), "content": _CONTENT},
    "function_call": {"call_id": TEXT, "name": TEXT, "arguments": TEXT},
    "function_call_output": {"call_id": TEXT, "output": _CONTENT},
    "custom_tool_call": {"call_id": TEXT, "name": TEXT, "input": TEXT},
    "custom_tool_call_output": {"call_id": TEXT, "output": _CONTENT},
}
_LEFT_OUT = "reasoning"
_ITEMS: Mapping[str, Mapping[str, Shape]] = {
    kind: {"type": one_of(kind), **_STATE, **fields} for kind, fields in _ITEM_FIELDS.items()
}
INPUT = any_of(
    TEXT.schema,
    list_of(
        any_of(
            # The type of a message may be left out.
            *(
                object_schema(
                    fields, [*_ITEM_FIELDS[kind], *(["type"] if kind != "message" else [])]
                )
                for kind, fields in _ITEMS.items()
            ),
            object_schema({"type": one_of("item_reference"), "id": TEXT}, ("id",)),
            object_schema({"type": one_of(_LEFT_OUT)}, ("type",), open_to_more=True),
        ),
        least=1,
    ),
)
"""The JSON Schema of `input`, made of the tables that it is read by."""


@dataclass(frozen=True, slots=True)
class InputContext:
    """What the reading of items needs, and what it finds beside the messages.

    Attributes:
        found: takes the pictures.
        recall: finds the items that are named only.
        withheld: names what the model is not told.
    """

    found: ImageCollector
    recall: Recall
    withheld: list[str] = field(default_factory=list)


def read_input(value: Json, context: InputContext) -> list[dict[str, Json]]:
    """The messages that say what the input says, its pictures replaced by placeholders.

    Raises:
        RequestError: names the item and the field.
    """
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise invalid_field("input", "must be text or a list of at least one item")
    messages: list[dict[str, Json]] = []
    for i, item in enumerate(value):
        _add(messages, object_at(item, f"input[{i}]"), f"input[{i}]", context)
    if not messages:
        raise invalid_field("input", "must hold at least one item that the model can read")
    return messages


def _add(
    messages: list[dict[str, Json]], item: Mapping[str, Json], at: str, context: InputContext
) -> None:
    kind, found = _kind(item), context.found
    if kind == "item_reference":
        item = _recall_item(item, at, context.recall)
        kind = _kind(item)
    if kind == "message":
        messages.append(_message(item, at, found))
    elif isinstance(kind, str) and kind in _CALLS:
        _add_call(messages, _call(item, kind, at))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        messages.append(_call_output(item, kind, at, found))
    elif kind == _LEFT_OUT:
        context.withheld.append(f"input: {_LEFT_OUT}")
    else:
        raise RequestError(
            f"{at}.type: only messages and calls of functions and custom tools with their outputs "
            "can be guarded; send what the others say as messages, or leave them out",
            param=f"{at}.type",
            code="unsupported_input_item",
        )


def _kind(item: Mapping[str, Json]) -> Json:
    """The type of an item; messages and, as in OpenAI's API, references may leave it out."""
    kind = item.get("type")
    if kind is not None:
        return kind
    return "message" if "role" in item else "item_reference" if {*item} == {"id"} else None


def _recall_item(item: Mapping[str, Json], at: str, recall: Recall) -> Mapping[str, Json]:
    """The item that a reference names. Raises RequestError."""
    check_fields(item, {"type": one_of("item_reference"), "id": TEXT}, at)
    kept = recall(text_at(item.get("id"), f"{at}.id"))
    if kept is None:
        raise RequestError(
            f"{at}.id: no item of this id is remembered here, only those that this process "
            "delivered lately; send the item itself, which clients do once store is set to false "
            "(AI SDK: providerOptions: {openai: {store: false}})",
            status=404,
            param=f"{at}.id",
            code="item_not_found",
        )
    return kept


def _message(item: Mapping[str, Json], at: str, found: ImageCollector) -> dict[str, Json]:
    item = found.drop_labels(item, LABELS - _ITEMS["message"].keys(), at)
    check_fields(item, _ITEMS["message"], at)
    role = item.get("role")
    if role not in _ROLES:
        raise invalid_field(f"{at}.role", f"must be one of {', '.join(_ROLES)}")
    content = _content(item.get("content"), f"{at}.content", found)
    if role == "assistant" and isinstance(content, list):
        return _answer_of(content)
    return {"role": role, "content": content}


def _answer_of(parts: list[Json]) -> dict[str, Json]:
    """An answer of an earlier turn in the form that chats deliver it in.

    Its refusal stands beside the content: few servers take it as a part, OpenAI's only where it is
    the only one.

    [{"type": "text", "text": "No."}, {"type": "refusal", "refusal": "No."}]
    -> {"role": "assistant", "content": "No.", "refusal": "No."}
    """
    refused = "".join(part["refusal"] for part in parts if part["type"] == "refusal")
    others = [part for part in parts if part["type"] != "refusal"]
    content = _one_text(others) if others else None
    return {"role": "assistant", "content": content, **({"refusal": refused} if refused else {})}


def _one_text(parts: list[Json]) -> str | list[Json]:
    """One text stays text, which every server understands."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts


def _call(item: Mapping[str, Json], kind: str, at: str) -> dict[str, Json]:
    check_fields(item, _ITEMS[kind], at)
    target, field = _CALLS[kind]
    name, given = (text_at(item.get(n), f"{at}.{n}") for n in ("name", field))
    return {
        "id": text_at(item.get("call_id"), f"{at}.call_id"),
        "type": target,
        target: {"name": name, field: given},
    }


def _add_call(messages: list[dict[str, Json]], call: dict[str, Json]) -> None:
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _call_output(
    item: Mapping[str, Json], kind: str, at: str, found: ImageCollector
) -> dict[str, Json]:
    check_fields(item, _ITEMS[kind], at)
    return {
        "role": "tool",
        "tool_call_id": text_at(item.get("call_id"), f"{at}.call_id"),
        "content": _content(item.get("output"), f"{at}.output", found),
    }


def _content(value: Json, at: str, found: ImageCollector) -> str | list[Json]:
    """One text stays text."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise invalid_field(at, "must be text or a list of content parts")
    parts = [
        _part(object_at(part, f"{at}[{i}]"), f"{at}[{i}]", found) for i, part in enumerate(value)
    ]
    return _one_text(parts)


def _part(value: Json, at: str, found: ImageCollector) -> dict[str, Json]:
    part = object_at(value, at)
    kind = part.get("type")
    if kind == "input_image":
        return _image(part, at, found)
    if not isinstance(kind, str) or kind not in _TEXT_PARTS:
        raise RequestError(
            f"{at}.type: only text, refusal and input_image parts can be guarded; send the others "
            "as text or as pictures, or leave them out",
            param=f"{at}.type",
            code="unsupported_content_part",
        )
    source, target = _TEXT_PARTS[kind]
    said = {name: field for name, field in part.items() if field != []}  # no annotations, say
    check_fields(said, {"type": one_of(kind), source: TEXT}, at)
    return {"type": target, target: text_at(part.get(source), f"{at}.{source}")}


def _image(part: Mapping[str, Json], at: str, found: ImageCollector) -> dict[str, Json]:
    if part.get("file_id") is not None:
        raise refused_field(
            f"{at}.file_id", "files cannot be guarded; send the picture as a data URL"
        )
    part = found.drop_labels(part, PICTURE_LABELS, at)
    check_fields(part, _IMAGE_FIELDS, at)
    url = part.get("image_url")
    if not isinstance(url, str):
        raise invalid_field(f"{at}.image_url", "must be a URL as text, 'data:image/png;base64,...'")
    image: dict[str, Json] = {"url": found.add(url, f"{at}.image_url")}
    if part.get("detail") is not None:
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}
