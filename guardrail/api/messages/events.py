"""A message as the events of Anthropic's streams."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from guardrail.api.chat.stream import pieces
from guardrail.api.messages.reply import begin_message
from guardrail.api.strict_json import encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.api.errors import Reply
    from guardrail.api.incoming import Incoming
    from guardrail.api.opening import Opening
    from guardrail.types import Json

__all__ = ["message_events", "waiting_event"]

_Event = tuple[str, dict[str, "Json"]]
_DELTA_FIELDS = ("stop_reason", "stop_sequence", "stop_details")


def message_events(
    reply: Reply, _incoming: Incoming, opening: Opening | None = None
) -> Iterator[bytes]:
    """The events of a stream that ends in `reply`, or the rest of one that has begun."""
    if reply.is_error:
        yield _line("error", {name: v for name, v in reply.body.items() if name != "type"})
        return
    yield from (_line(*event) for event in _events(reply.body, opening))


def waiting_event(incoming: Incoming, opening: Opening) -> bytes:
    """The next event of a stream whose verdict is not there yet: its start, and then pings."""
    opening.events += 1
    if opening.events > 1:
        return _line("ping", {})
    return _line("message_start", {"message": begin_message(incoming, opening.name)})


def _line(kind: str, fields: Mapping[str, Json]) -> bytes:
    return f"event: {kind}\ndata: ".encode() + encode_json({"type": kind, **fields}) + b"\n\n"


def _events(message: Mapping[str, Json], opening: Opening | None) -> Iterator[_Event]:
    """What they add up to is the message; the last but one holds the `guardrail` object.

    The start holds it as well where it is known by then: the official client's helpers keep what
    stands there.
    """
    if opening is None or not opening.events:
        open_fields: dict[str, Json] = {**dict.fromkeys(_DELTA_FIELDS), "content": []}
        usage = {**message["usage"], "output_tokens": 0}
        yield "message_start", {"message": {**message, **open_fields, "usage": usage}}
    for index, block in enumerate(message["content"]):
        yield from _block(index, block)
    yield (
        "message_delta",
        {
            "delta": {name: message[name] for name in _DELTA_FIELDS},
            "usage": message["usage"],
            "guardrail": message.get("guardrail"),
        },
    )
    yield "message_stop", {}


def _block(index: int, block: Mapping[str, Json]) -> Iterator[_Event]:
    start, deltas = _open_block(block)
    yield "content_block_start", {"index": index, "content_block": start}
    for kind, field, piece in deltas:
        yield "content_block_delta", {"index": index, "delta": {"type": kind, field: piece}}
    yield "content_block_stop", {"index": index}


def _open_block(
    block: Mapping[str, Json],
) -> tuple[Mapping[str, Json], Iterator[tuple[str, str, str]]]:
    """The block without what follows, and what follows as (type, field, piece)."""
    match block["type"]:
        case "text":
            deltas = (("text_delta", "text", piece) for piece in pieces(block["text"]))
            return {**block, "text": ""}, deltas
        case "tool_use":
            text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
            kind, field = "input_json_delta", "partial_json"
            return {**block, "input": {}}, ((kind, field, piece) for piece in pieces(text))
        case "thinking":
            return {**block, "thinking": "", "signature": ""}, _thinking(block)
        case _:
            return block, iter(())


def _thinking(block: Mapping[str, Json]) -> Iterator[tuple[str, str, str]]:
    yield from (("thinking_delta", "thinking", piece) for piece in pieces(block["thinking"]))
    if block["signature"]:
        yield "signature_delta", "signature", block["signature"]
