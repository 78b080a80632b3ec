"""What a model said, as the content blocks of Anthropic's form: thoughts, texts, tool uses.

{"reasoning_content": "Hm.", "content": "A cat.", "tool_calls": [call]}
-> [{"type": "thinking", "thinking": "Hm.", "signature": ""},
    {"type": "text", "text": "A cat."},
    {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]

A message's order of texts and calls is not kept: a chat's message has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.api.messages.tool_input import read_input_text
from guardrail.message_form import part_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.types import Json

__all__ = ["Blocks", "content_blocks"]

_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
_SPOKEN = frozenset({"role", "content", "refusal", "tool_calls", "function_call"})
_TEXT_PARTS: Mapping[str, str] = {"text": "text", "output_text": "text", "refusal": "refusal"}
_THOUGHT_PARTS = frozenset({"thinking", "reasoning", "summary_text"})


@dataclass(slots=True)
class Blocks:
    """The blocks of a message.

    Attributes:
        content: the blocks in Anthropic's order: thoughts, texts, tool uses.
        withheld: names of what the message holds beside them.
    """

    content: list[dict[str, Json]] = field(default_factory=list)
    withheld: set[str] = field(default_factory=set)


def content_blocks(message: Mapping[str, Json], name: str, *, thoughts: bool) -> Blocks:
    """The blocks of an assistant message in OpenAI's form.

    Args:
        message: its calls of the form that was checked when the answer was read.
        name: what calls without an id are named by.
        thoughts: whether the client asked for them; official clients' users, who did not, take the
            first block for the answer.
    """
    made = Blocks()
    told = [*_thoughts(message)] if thoughts else []
    made.content += [block for block, _ in told]
    _add_texts(message, made, thoughts=thoughts)
    _add_calls(message, name, made)
    known = _SPOKEN | {source for _, source in told}
    said = "".join(block.get("thinking", "") for block in made.content)
    made.withheld |= {
        str(key)
        for key, value in message.items()
        if value
        and key not in known
        and not (thoughts and key in _THOUGHT_FIELDS and value == said)
    }
    return made


def _thoughts(message: Mapping[str, Json]) -> Iterator[tuple[dict[str, Json], str]]:
    """Blocks of the fields beside the content, with the field's name; equal texts once.

    Signed ones first, which some servers give a second time as a text.
    """
    signed = message.get("thinking_blocks")
    if isinstance(signed, list) and signed and all(map(_is_thought_block, signed)):
        yield from ((_thought_block(block), "thinking_blocks") for block in signed)
        return
    seen = set()
    for name in _THOUGHT_FIELDS:
        text = message.get(name)
        if isinstance(text, str) and text and text not in seen:
            yield {"type": "thinking", "thinking": text, "signature": ""}, name
            seen.add(text)


def _is_thought_block(block: Json) -> bool:
    if not isinstance(block, dict):
        return False
    if block.get("type") == "redacted_thinking":
        return isinstance(block.get("data"), str)
    signature = block.get("signature")
    signed = signature is None or isinstance(signature, str)
    return block.get("type") == "thinking" and isinstance(block.get("thinking"), str) and signed


def _thought_block(block: Mapping[str, Json]) -> dict[str, Json]:
    if block["type"] == "redacted_thinking":
        return {"type": "redacted_thinking", "data": block["data"]}
    signature = block.get("signature") or ""
    return {"type": "thinking", "thinking": block["thinking"], "signature": signature}


def _add_texts(message: Mapping[str, Json], made: Blocks, *, thoughts: bool) -> None:
    content, refusal = message.get("content"), message.get("refusal")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for part in parts if isinstance(parts, list) else []:
        kind = str(part.get("type")) if isinstance(part, dict) else ""
        text = part.get(_TEXT_PARTS[kind]) if kind in _TEXT_PARTS else None
        if isinstance(text, str):
            made.content += _text_blocks(text)
        elif kind in _THOUGHT_PARTS and thoughts:
            made.content += _thought_of_part(part)
        else:
            made.withheld.add("content part")
    if isinstance(refusal, str) and refusal != content:
        made.content += _text_blocks(refusal)


def _text_blocks(text: str) -> list[dict[str, Json]]:
    """One block; none for an empty text, which Anthropic's form has not."""
    return [{"type": "text", "text": text}] if text else []


def _thought_of_part(part: Mapping[str, Json]) -> list[dict[str, Json]]:
    text, signature = "".join(part_texts(part)), part.get("signature")
    signed = signature if isinstance(signature, str) else ""
    return [{"type": "thinking", "thinking": text, "signature": signed}] if text or signed else []


def _add_calls(message: Mapping[str, Json], name: str, made: Blocks) -> None:
    for index, call in enumerate(message.get("tool_calls") or []):
        if call.get("type", "function") != "function":
            made.withheld.add("tool_calls: custom")
            continue
        given = call.get("id")
        call_id = given if isinstance(given, str) and given else f"toolu_{name}_{index}"
        made.content.append(_tool_use(call_id, call["function"]))
    if old := message.get("function_call"):
        made.content.append(_tool_use(f"toolu_{name}", old))


def _tool_use(call_id: str, function: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "type": "tool_use",
        "id": call_id,
        "name": function["name"],
        "input": read_input_text(function["arguments"]),
    }
