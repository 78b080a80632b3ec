"""A verdict in the shape of the Responses API."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from guardrail.api.chat.reply import add_guardrail, answer_body, new_name, usage_of
from guardrail.api.errors import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.api.chat.reply import AnswerBody
    from guardrail.api.incoming import Incoming
    from guardrail.engine.verdict import Verdict
    from guardrail.policy.schema import Policy
    from guardrail.types import Json, Usage

__all__ = ["begin_response", "response_to"]

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_TOLD = frozenset({"role", "content", "refusal", "tool_calls", "function_call"})
_PARTS = {"text": "text", "output_text": "text", "refusal": "refusal"}
_UNASKED: Mapping[str, Json] = {
    # What the answer says of fields that the request left open.
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "text": {"format": {"type": "text"}},
    "truncation": "disabled",
    "store": False,
    "background": False,
}


def response_to(
    verdict: Verdict, incoming: Incoming, policy: Policy, record_id: str | None
) -> Reply:
    """The whole response object, the same for plain and streamed requests.

    Raises:
        CertificationError: the verdict says pass but holds no answer.
    """
    told = answer_body(verdict, policy, record_id, words_once=incoming.words_once)
    if isinstance(told, Reply):
        return add_guardrail(told, verdict, policy, record_id, incoming.withheld)
    name = record_id or new_name()
    reply = Reply(200, _response(told, usage_of(verdict, policy), incoming, name))
    withheld = {*_withheld(told), *incoming.withheld}
    return add_guardrail(reply, verdict, policy, record_id, withheld)


def _response(told: AnswerBody, usage: Usage, incoming: Incoming, name: str) -> dict[str, Json]:
    cause = _INCOMPLETE.get(told.finish_reason)
    status = "incomplete" if cause else "completed"
    return {
        **begin_response(incoming, name),
        "status": status,
        "incomplete_details": {"reason": cause} if cause else None,
        "model": told.model or incoming.chat.model,
        "output": list(_output(told.message, new_name(), status)),
        "usage": _usage(usage),
    }


def begin_response(incoming: Incoming, name: str) -> dict[str, Json]:
    """A response of which nothing is known yet but the request."""
    return {
        **_UNASKED,
        **incoming.echo,
        "id": f"resp_{name}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": incoming.chat.model,
        "output": [],
        "usage": None,
    }


def _usage(usage: Usage) -> dict[str, Json] | None:
    """The tokens of every call, if they are known; details are not added up and hence zero."""
    if usage.uncounted:
        return None
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _output(message: Mapping[str, Json], name: str, status: str) -> Iterator[dict[str, Json]]:
    """The items of the output, one message at most and then the calls."""
    parts = [*_parts(message)]
    if parts:
        yield {
            "type": "message",
            "id": f"msg_{name}",
            "role": "assistant",
            "status": status,
            "content": parts,
        }
    for index, call in enumerate(_calls(message)):
        yield {**call, "id": f"fc_{name}_{index}", "status": status}


def _parts(message: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    content = message.get("content")
    if isinstance(content, str) and content:
        yield _text_part(content)
    for part in content if isinstance(content, list) else []:
        name = _part_field(part)
        if name == "text":
            yield _text_part(part["text"])
        elif name == "refusal":
            yield {"type": "refusal", "refusal": part["refusal"]}
    if message.get("refusal"):
        yield {"type": "refusal", "refusal": message["refusal"]}


def _text_part(text: str) -> dict[str, Json]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _part_field(part: Json) -> str | None:
    """The field of a content part that can be told; None for parts that cannot."""
    name = _PARTS.get(str(part.get("type"))) if isinstance(part, dict) else None
    return name if name and isinstance(part.get(name), str) else None


def _calls(message: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    for index, call in enumerate(message.get("tool_calls") or []):
        yield _call(call, index)
    old = message.get("function_call")
    if old:
        yield _function_call("call_0", old)


def _call(call: Mapping[str, Json], index: int) -> dict[str, Json]:
    """One call, its form checked when the answer was read."""
    call_id = call.get("id") if isinstance(call.get("id"), str) else f"call_{index}"
    if call.get("type", "function") == "function":
        return _function_call(call_id, call["function"])
    custom = call["custom"]
    return {
        "type": "custom_tool_call",
        "call_id": call_id,
        "name": custom["name"],
        "input": custom["input"],
    }


def _function_call(call_id: Json, function: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": function["name"],
        "arguments": function["arguments"],
    }


def _withheld(told: AnswerBody) -> set[str]:
    """Names of what this shape has no place for."""
    names = {str(name) for name, value in told.message.items() if value and name not in _TOLD}
    content = told.message.get("content")
    if isinstance(content, list) and not all(_part_field(part) for part in content):
        names.add("content part")
    return names | {str(name) for name, value in told.extra.items() if value}
