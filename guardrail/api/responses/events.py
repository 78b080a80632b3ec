"""A response object as the typed events of the Responses API."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from guardrail.api.chat.reply import new_name
from guardrail.api.chat.stream import pieces
from guardrail.api.responses.reply import begin_response
from guardrail.api.strict_json import encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.api.errors import Reply
    from guardrail.api.incoming import Incoming
    from guardrail.api.opening import Opening
    from guardrail.types import Json

__all__ = ["response_events", "typed_events", "waiting_events"]

_Event = tuple[str, dict[str, "Json"]]
_STARTS = ("response.created", "response.in_progress")
_FIELDS = {"output_text": "text", "refusal": "refusal"}


def response_events(
    reply: Reply, incoming: Incoming, opening: Opening | None = None
) -> Iterator[bytes]:
    """The events of a stream that ends in `reply`, numbered from 0, or on from its opening."""
    sent = 0 if opening is None else opening.events
    for number, event in enumerate(typed_events(reply, incoming, opening), start=sent):
        yield _line(number, event)


def waiting_events(incoming: Incoming, opening: Opening) -> bytes:
    """The next events of a stream whose verdict is not there yet."""
    start = _begun(begin_response(incoming, opening.name), opening)
    kinds = ["response.in_progress"] if opening.events else _STARTS
    lines = [_line(opening.events + i, (kind, {"response": start})) for i, kind in enumerate(kinds)]
    opening.events += len(lines)
    return b"".join(lines)


def _line(number: int, event: _Event) -> bytes:
    kind, fields = event
    body = {"type": kind, "sequence_number": number, **fields}
    return f"event: {kind}\ndata: ".encode() + encode_json(body) + b"\n\n"


def _begun(response: Mapping[str, Json], opening: Opening) -> dict[str, Json]:
    """The response under the name that it began with."""
    return {**response, "id": f"resp_{opening.name}", "created_at": opening.created}


def typed_events(
    reply: Reply, incoming: Incoming, opening: Opening | None = None
) -> Iterator[_Event]:
    """The same as (type, fields); what they add up to is the response of the last one."""
    if opening is not None and opening.events == 0:
        opening = None
    if reply.is_error:
        yield from _failure(reply, incoming, opening)
    else:
        yield from _success(reply.body, opening)


def _success(response: Mapping[str, Json], opening: Opening | None) -> Iterator[_Event]:
    if opening is None:
        # What was decided is told at the end, with the answer that it is about.
        start = {**response, "status": "in_progress", "output": [], "usage": None}
        start |= {"incomplete_details": None, "guardrail": None}
        yield from ((kind, {"response": start}) for kind in _STARTS)
    else:
        response = _begun(response, opening)
    for index, item in enumerate(response["output"]):
        yield from _item(index, item)
    yield f"response.{response['status']}", {"response": response}


def _failure(reply: Reply, incoming: Incoming, opening: Opening | None) -> Iterator[_Event]:
    """First as a response that failed, then as an error, which the official client raises."""
    error: Mapping[str, Json] = reply.body["error"]
    about = reply.body.get("guardrail")
    start = begin_response(incoming, (about and about["record_id"]) or new_name())
    if opening is None:
        yield from ((kind, {"response": start}) for kind in _STARTS)
    else:
        start = _begun(start, opening)
    told = {"code": error["code"] or "server_error", "message": error["message"]}
    failed = {**start, "status": "failed", "guardrail": about}
    failed["error"] = {**told, "code": _declare_item(reply.status)}
    yield "response.failed", {"response": failed}
    yield "error", {**told, "param": error["param"], "error": error, "guardrail": about}


def _declare_item(status: int) -> str:
    """The code of a response that failed: OpenAI's clients declare a few, and none of ours."""
    if status == 429:
        return "rate_limit_exceeded"
    return "server_error" if status >= 500 else "invalid_prompt"


def _item(index: int, item: Mapping[str, Json]) -> Iterator[_Event]:
    open_item: dict[str, Json] = {**item, "status": "in_progress"}
    middle: Iterator[_Event] = iter(())
    where: dict[str, Json] = {"item_id": item["id"], "output_index": index}
    if item["type"] == "message":
        open_item["content"] = []
        middle = itertools.chain.from_iterable(
            _part({**where, "content_index": i}, part) for i, part in enumerate(item["content"])
        )
    elif item["type"] == "function_call":
        open_item["arguments"] = ""
        middle = _arguments(where, item)
    else:
        open_item["input"] = ""
        middle = _custom_input(where, item)
    yield "response.output_item.added", {"output_index": index, "item": open_item}
    yield from middle
    yield "response.output_item.done", {"output_index": index, "item": item}


def _part(where: Mapping[str, Json], part: Mapping[str, Json]) -> Iterator[_Event]:
    kind = part["type"]
    field = _FIELDS[kind]
    extra: dict[str, Json] = {"logprobs": []} if kind == "output_text" else {}
    yield "response.content_part.added", {**where, "part": {**part, field: ""}}
    for piece in pieces(part[field]):
        yield f"response.{kind}.delta", {**where, **extra, "delta": piece}
    yield f"response.{kind}.done", {**where, **extra, field: part[field]}
    yield "response.content_part.done", {**where, "part": part}


def _arguments(where: Mapping[str, Json], item: Mapping[str, Json]) -> Iterator[_Event]:
    name = "response.function_call_arguments"
    for piece in pieces(item["arguments"]):
        yield f"{name}.delta", {**where, "delta": piece}
    yield f"{name}.done", {**where, "name": item["name"], "arguments": item["arguments"]}


def _custom_input(where: Mapping[str, Json], item: Mapping[str, Json]) -> Iterator[_Event]:
    name = "response.custom_tool_call_input"
    for piece in pieces(item["input"]):
        yield f"{name}.delta", {**where, "delta": piece}
    yield f"{name}.done", {**where, "input": item["input"]}
