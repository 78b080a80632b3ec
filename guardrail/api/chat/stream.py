"""A chat completion as the chunks of a stream, and those as server-sent events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.strict_json import encode_json
from guardrail.message_form import part_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.api.errors import Reply
    from guardrail.api.incoming import Incoming
    from guardrail.api.opening import Opening
    from guardrail.types import Json

__all__ = ["DONE", "chunks", "events", "pieces", "waiting_chunk"]

DONE = b"data: [DONE]\n\n"
_PIECE_CHARS = 48
_MOST_PIECES = 512
_PLACES = {"text": "text", "output_text": "text", "refusal": "refusal"}  # others are reasoning
_PIECEWISE = ("reasoning", "reasoning_content", "content", "refusal")


def events(reply: Reply, include_usage: bool, opening: Opening | None = None) -> Iterator[bytes]:
    """The events of a stream that ends in `reply`; an error is one event."""
    bodies = [reply.body] if reply.is_error else chunks(reply.body, include_usage, opening)
    for body in bodies:
        yield _event(body)
    yield DONE


def waiting_chunk(incoming: Incoming, opening: Opening) -> bytes:
    """The next event of a stream whose verdict is not there yet: the first names the role."""
    delta: dict[str, Json] = {} if opening.events else {"role": "assistant", "content": None}
    opening.events += 1
    body = {**_head_of(opening), "model": incoming.chat.model, "choices": [_choice(delta)]}
    return _event({**body, "usage": None} if incoming.include_usage else body)


def _event(body: Mapping[str, Json]) -> bytes:
    return b"data: " + encode_json(body) + b"\n\n"


def _head_of(opening: Opening) -> dict[str, Json]:
    return {
        "id": f"chatcmpl-{opening.name}",
        "object": "chat.completion.chunk",
        "created": opening.created,
    }


def chunks(
    completion: Mapping[str, Json], include_usage: bool, opening: Opening | None = None
) -> Iterator[dict[str, Json]]:
    """The chunks whose sum is this chat completion, after those that `opening` has sent.

    The last one with a choice carries the finish reason and the `guardrail` object.
    """
    (choice,) = completion["choices"]
    kept = ("id", "created", "model", "system_fingerprint", "service_tier")
    head = {name: completion[name] for name in kept if name in completion}
    head["object"] = "chat.completion.chunk"
    if include_usage:
        head["usage"] = None
    begun = opening is not None and opening.events > 0
    if opening is not None and begun:
        head |= _head_of(opening)
    logprobs = choice.get("logprobs")
    for delta in _deltas(choice["message"]):
        if begun:
            delta.pop("role", None)  # clients add up texts: said again, it would be said twice
        yield {**head, "choices": [_choice(delta, logprobs=logprobs)]}
        logprobs = None  # clients add up those of all chunks
    end = _choice({}, finish_reason=choice["finish_reason"])
    if "stop_reason" in choice:
        end["stop_reason"] = choice["stop_reason"]
    yield {**head, "choices": [end], "guardrail": completion.get("guardrail")}
    if include_usage and "usage" in completion:
        yield {**head, "choices": [], "usage": completion["usage"]}


def _choice(
    delta: Mapping[str, Json], *, finish_reason: str | None = None, logprobs: Json = None
) -> dict[str, Json]:
    return {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _deltas(message: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    message = _flat(message)
    pieced = {name for name in _PIECEWISE if isinstance(message.get(name), str)}
    whole = {k: v for k, v in message.items() if k not in pieced and k != "tool_calls"}
    yield whole | {"content": "" if "content" in pieced else None}
    for name in _PIECEWISE:
        for piece in pieces(message[name]) if name in pieced else ():
            yield {name: piece}
    for index, call in enumerate(message.get("tool_calls") or []):
        yield from _call_deltas(index, call)


def _flat(message: Mapping[str, Json]) -> Mapping[str, Json]:
    """Content in parts becomes text, as a delta has no parts; reasoning among them moves beside it.

    {"content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "A cat."}]}
    -> {"content": "A cat.", "reasoning_content": "Hm.", "refusal": None}
    """
    content = message.get("content")
    if not isinstance(content, list):
        return message
    texts = {"text": "", "refusal": "", "reasoning": ""}
    for part in content:
        kind = str(part.get("type")) if isinstance(part, dict) else ""
        texts[_PLACES.get(kind, "reasoning")] += "".join(part_texts(part))
    thought = _add(message.get("reasoning_content"), texts["reasoning"])
    return {
        **message,
        "content": texts["text"],
        "refusal": _add(message.get("refusal"), texts["refusal"]) or None,
        **({"reasoning_content": thought} if thought else {}),
    }


def _add(before: Json, text: str) -> Json:
    """A field of a message and what its content says of the same, once where that is equal."""
    return before + text if isinstance(before, str) and before != text else text or before


def _call_deltas(index: int, call: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    function = call.get("function")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(arguments, str):
        yield {"tool_calls": [{**call, "index": index}]}
        return
    first = {**call, "index": index, "function": {**function, "arguments": ""}}
    yield {"tool_calls": [first]}
    for piece in pieces(arguments):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def pieces(text: str) -> Iterator[str]:
    """The text in pieces that end at blanks where there are any; not too many of them."""
    most = max(_PIECE_CHARS, len(text) // _MOST_PIECES)
    start = 0
    while start < len(text):
        stop = start + most
        if stop < len(text):
            stop = text.rfind(" ", start + 1, stop) + 1 or stop
        yield text[start:stop]
        start = stop
