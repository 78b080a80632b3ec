"""LangChain's messages to OpenAI's and back, by LangChain's own converters.

A model is sent what the guard has read and nothing else, and of its answer nothing is delivered
that was not judged: whatever has no form in OpenAI's chat is refused or left out on the way.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    convert_to_messages,
    convert_to_openai_messages,
)

from guardrail import GuardrailError, RequestError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

__all__ = [
    "answer_of",
    "chunk_of",
    "completion_of",
    "langchain_messages",
    "openai_messages",
    "plain",
]

_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
_CALLS = frozenset({"tool_call", "tool_use", "function_call"})  # twins of `message.tool_calls`
_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def openai_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """What the guard reads. Raises RequestError."""
    fault = RequestError(
        "messages: a content block has no form in OpenAI's chat; send text, and pictures as "
        "base64 blocks or data URLs",
        param="messages",
        code="unsupported_content_part",
    )
    return [plain for message in messages for plain in _openai(message, fault)]


def langchain_messages(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What the model is sent."""
    return convert_to_messages([_with_thoughts(message) for message in messages])


def completion_of(answer: BaseMessage) -> dict[str, Any]:
    """A model's answer as a chat completion. Raises UpstreamError."""
    fault = UpstreamError(
        "the model's answer holds a content block that has no form in OpenAI's chat, so it cannot "
        "be judged; ask for text and tool calls only"
    )
    (said,) = _openai(answer, fault)
    if not said["content"]:
        said["content"] = None
    if refusal := answer.additional_kwargs.get("refusal"):
        said["refusal"] = refusal
    about, usage = answer.response_metadata, getattr(answer, "usage_metadata", None) or {}
    return {
        "model": about.get("model_name") or about.get("model"),
        "choices": [{"message": said, "finish_reason": _finish_reason(about)}],
        "usage": {
            "prompt_tokens": usage.get("input_tokens"),
            "completion_tokens": usage.get("output_tokens"),
        },
    }


def answer_of(completion: Mapping[str, Any]) -> AIMessage:
    """A completion of the guard as an answer; `response_metadata` holds the certificate."""
    (choice,), usage = completion["choices"], completion.get("usage")
    said = {name: value for name, value in choice["message"].items() if value is not None}
    (answer,) = langchain_messages([{"content": "", **said}])
    return AIMessage(
        **answer.model_dump(include={"content", "additional_kwargs", "tool_calls"}),
        usage_metadata=usage
        and {
            "input_tokens": usage["prompt_tokens"],
            "output_tokens": usage["completion_tokens"],
            "total_tokens": usage["total_tokens"],
        },
        response_metadata={
            "finish_reason": choice["finish_reason"],
            "model_name": completion["model"],
            "guardrail": plain(completion["guardrail"]),
        },
    )


def plain(about: Mapping[str, Any]) -> dict[str, Any]:
    """Texts in place of enumerations, since checkpoints and traces keep what they are given."""
    made: dict[str, Any] = json.loads(json.dumps(about))
    return made


def chunk_of(answer: AIMessage) -> AIMessageChunk:
    """A whole answer as the only chunk of a stream."""
    return AIMessageChunk(**answer.model_dump(exclude={"type"}), chunk_position="last")


def _openai(message: BaseMessage, fault: GuardrailError) -> list[dict[str, Any]]:
    try:
        return _converted(message)
    except _UNREADABLE:  # the converter's own words quote the content
        pass
    raise fault


def _converted(message: BaseMessage) -> list[dict[str, Any]]:
    if not isinstance(message, AIMessage) or isinstance(message.content, str):
        return convert_to_openai_messages([message])
    thoughts = [block for block in message.content if _kind(block) in _THOUGHTS]
    rest = [block for block in message.content if _kind(block) not in _THOUGHTS | _CALLS]
    made = convert_to_openai_messages([message.model_copy(update={"content": rest})])
    return [{**made[0], "thinking_blocks": thoughts}, *made[1:]] if thoughts else made


def _with_thoughts(message: Mapping[str, Any]) -> dict[str, Any]:
    """Thoughts back among the content blocks, in front, where providers want them."""
    plain = {name: value for name, value in message.items() if name != "thinking_blocks"}
    if thoughts := message.get("thinking_blocks"):
        content = message.get("content") or []
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        plain["content"] = [*thoughts, *parts]
    return plain


def _kind(block: Any) -> str:
    return block["type"] if isinstance(block, dict) else "text"


def _finish_reason(about: Mapping[str, Any]) -> Any:
    return about.get("finish_reason") or about.get("stop_reason")
