"""What the guard answers, as LlamaIndex expects it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
)
from llama_index.core.llms.llm import ToolSelection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Pieces",
    "chat_response",
    "message_of",
    "text_of",
    "tool_selections",
]


def message_of(
    content: str | None, refusal: str, calls: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A message of an assistant in OpenAI's form."""
    more = {"refusal": refusal, "tool_calls": list(calls)}
    told = {name: value for name, value in more.items() if value}
    return {"role": "assistant", "content": content, **told}


def chat_response(completion: Mapping[str, Any]) -> ChatResponse:
    """A decided completion; a refusal is its text."""
    (choice,) = completion["choices"]
    message = choice["message"]
    return _response(
        message.get("content") or message.get("refusal"),
        message.get("tool_calls") or [],
        completion,
        choice["finish_reason"],
    )


def text_of(response: ChatResponse) -> CompletionResponse:
    """The response of a completion, with all that a chat's has."""
    return CompletionResponse(
        text=response.message.content or "",
        raw=response.raw,
        delta=response.delta,
        additional_kwargs=response.additional_kwargs,
    )


def tool_selections(response: ChatResponse) -> list[ToolSelection]:
    """The calls of tools in a response that was made here."""
    return [
        ToolSelection(
            tool_id=call["id"],
            tool_name=call["function"]["name"],
            tool_kwargs=json.loads(call["function"]["arguments"] or "{}"),
        )
        for call in response.message.additional_kwargs.get("tool_calls", [])
    ]


class Pieces:
    """The chunks of a stream, added up: LlamaIndex gives each piece with all before it."""

    def __init__(self) -> None:
        self._text = ""
        self._has_content = False
        self._calls: list[dict[str, Any]] = []

    def add(self, chunk: Mapping[str, Any]) -> ChatResponse:
        choice = chunk["choices"][0] if chunk["choices"] else {"delta": {}}
        delta = choice["delta"]
        piece = delta.get("content") or ""
        self._has_content = self._has_content or bool(piece)
        if not self._has_content:  # a block has the same words as content and, later, as refusal
            piece = delta.get("refusal") or ""
        self._text += piece
        for part in delta.get("tool_calls") or []:
            self._call(part)
        end = choice.get("finish_reason")
        response = _response(self._text, self._calls if end else [], chunk, end)
        response.delta = piece
        return response

    def _call(self, part: Mapping[str, Any]) -> None:
        """A call of a tool is named by its first part; later ones add to its arguments."""
        if part["index"] == len(self._calls):
            call = {name: value for name, value in part.items() if name != "index"}
            self._calls.append({**call, "function": dict(part["function"])})
        else:
            self._calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]


def _response(
    text: str | None, calls: Sequence[Mapping[str, Any]], raw: Mapping[str, Any], end: str | None
) -> ChatResponse:
    message = ChatMessage(
        content=text,
        role=MessageRole.ASSISTANT,
        additional_kwargs={"tool_calls": list(calls)} if calls else {},
    )
    about = {"guardrail": raw.get("guardrail"), "finish_reason": end}
    told = {name: value for name, value in about.items() if value is not None}
    return ChatResponse(message=message, raw=dict(raw), additional_kwargs=told)
