"""A verdict in the shape of Anthropic's Messages API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from guardrail.api.chat.reply import add_guardrail, answer_body, new_name, usage_of
from guardrail.api.errors import Reply
from guardrail.api.messages.blocks import content_blocks
from guardrail.api.messages.errors import REQUEST_ID, anthropic_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.chat.reply import AnswerBody
    from guardrail.api.incoming import Incoming
    from guardrail.engine.verdict import Verdict
    from guardrail.policy.schema import Policy
    from guardrail.types import Json, Usage

__all__ = ["begin_message", "message_to"]

_STOP_REASONS: Mapping[str, str] = {
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
}
_STOPPED_AT = ("stop_reason", "matched_stop")
"""Fields in which servers name the stop sequence that ended an answer: vLLM's and SGLang's."""


def message_to(
    verdict: Verdict, incoming: Incoming, policy: Policy, record_id: str | None
) -> Reply:
    """The whole message, the same for plain and streamed requests, or an error in its place.

    Raises:
        CertificationError: the verdict says pass but holds no answer.
    """
    told = answer_body(verdict, policy, record_id)
    if isinstance(told, Reply):
        reply = add_guardrail(told, verdict, policy, record_id, incoming.withheld)
        return anthropic_error(reply, incoming.request_id)
    name = record_id or new_name()
    usage = usage_of(verdict, policy)
    thoughts = bool(incoming.echo.get("thinking"))
    made = content_blocks(told.message, new_name(), thoughts=thoughts)
    body = {
        **begin_message(incoming, name),
        "model": told.model or incoming.chat.model,
        "content": made.content,
        **_stop(told, made.content, incoming),
        "usage": _usage(usage),
    }
    withheld = {*made.withheld, *_beside(told, body), *incoming.withheld}
    if usage.uncounted:
        withheld.add("usage")
    reply = add_guardrail(Reply(200, body), verdict, policy, record_id, withheld)
    return replace(reply, headers={**reply.headers, REQUEST_ID: incoming.request_id or name})


def begin_message(incoming: Incoming, name: str) -> dict[str, Json]:
    """A message of which nothing is known yet but the request."""
    return {
        "id": f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": incoming.chat.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _usage(usage: Usage) -> dict[str, Json]:
    """Zeros where the provider did not tell: clients of this form fail where there are none."""
    if usage.uncounted:
        return {"input_tokens": 0, "output_tokens": 0}
    return {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}


def _stop(told: AnswerBody, content: list[dict[str, Json]], incoming: Incoming) -> dict[str, Json]:
    """Why the answer ended; with a refusal's words where it is one by its form."""
    refusal = told.message.get("refusal")
    reason = _STOP_REASONS.get(told.finish_reason, "end_turn")
    sequence = _stop_sequence(told, incoming) if reason == "end_turn" else None
    if sequence is not None:
        reason = "stop_sequence"
    elif reason == "end_turn" and any(block["type"] == "tool_use" for block in content):
        reason = "tool_use"
    elif reason == "end_turn" and refusal:
        reason = "refusal"
    details = {"type": "refusal", "category": None, "explanation": refusal}
    return {
        "stop_reason": reason,
        "stop_sequence": sequence,
        "stop_details": details if refusal and reason == "refusal" else None,
    }


def _stop_sequence(told: AnswerBody, incoming: Incoming) -> str | None:
    """The client's own sequence at which the answer ended, where the server names it."""
    asked = incoming.chat.parameters.get("stop") or []
    named = (told.extra.get(name) for name in _STOPPED_AT)
    return next((text for text in named if isinstance(text, str) and text in asked), None)


def _beside(told: AnswerBody, body: Mapping[str, Json]) -> set[str]:
    """Names of what the provider sent beside the message."""
    known = {name for name in _STOPPED_AT if told.extra.get(name) == body["stop_sequence"]}
    return {str(name) for name, value in told.extra.items() if value and name not in known}
