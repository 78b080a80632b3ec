"""One call: its messages as the guard's request, and the inner LLM asked about a variant."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM

from guardrail import RequestError
from guardrail_llama_index.answers import message_of
from guardrail_llama_index.inner import end_of, model_of, refusal_of, usage_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llama_index.core.base.llms.types import ChatResponse
    from llama_index.core.llms.llm import LLM

__all__ = ["Asking"]

_JSON = (str, int, float, bool, list, tuple, dict)
_IN_HISTORY = ("tool_calls", "tool_call_id", "name")


class Asking:
    """What is asked of an LLM.

    Attributes:
        request: the body of a chat completion request.

    Raises:
        RequestError: a message holds what the guard cannot look into.
    """

    def __init__(
        self, inner: LLM, messages: Sequence[ChatMessage], options: Mapping[str, Any]
    ) -> None:
        self._inner = inner
        self._messages = messages
        self._options = {name: value for name, value in options.items() if name != "stream"}
        self.request = {
            **{n: value for n, value in self._options.items() if isinstance(value, _JSON)},
            "model": inner.metadata.model_name,
            "messages": [_plain(message) for message in messages],
        }

    def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._completion(self._inner.chat(self._variant(body), **self._options))

    async def ask_async(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._completion(await self._inner.achat(self._variant(body), **self._options))

    def _variant(self, body: Mapping[str, Any]) -> list[ChatMessage]:
        """The messages with the pictures of a variant, in order."""
        urls = (url for message in body["messages"] for url in _urls(message))
        try:
            return [_repainted(message, urls) for message in self._messages]
        except StopIteration:
            raise RequestError(
                "messages: the guard leaves older pictures out (images.history), which this "
                "adapter cannot do; set images.history to all, or send fewer messages",
                param="messages",
            ) from None

    def _completion(self, response: ChatResponse) -> dict[str, Any]:
        """What the inner LLM answered, as OpenAI's chat completion."""
        calls = self._calls(response)
        message = message_of(response.message.content, refusal_of(response), calls)
        end = end_of(response) or ("tool_calls" if calls else "stop")
        choice = {"index": 0, "message": message, "finish_reason": end}
        usage = usage_of(response)
        named = {"model": name} if (name := model_of(response)) else {}
        return {"object": "chat.completion", **named, "choices": [choice], "usage": usage}

    def _calls(self, response: ChatResponse) -> list[dict[str, Any]]:
        if not isinstance(self._inner, FunctionCallingLLM) or "tools" not in self._options:
            return []
        chosen = self._inner.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        return [
            {
                "id": call.tool_id,
                "type": "function",
                "function": {"name": call.tool_name, "arguments": json.dumps(call.tool_kwargs)},
            }
            for call in chosen
        ]


def _plain(message: ChatMessage) -> dict[str, Any]:
    """As OpenAI's API takes it."""
    parts = [part for block in message.blocks for part in _part(block)]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    plain: dict[str, Any] = {"role": message.role.value, "content": parts}
    if len(texts) == len(parts):
        plain["content"] = "".join(texts)
    for name in _IN_HISTORY:
        if (value := message.additional_kwargs.get(name)) is not None:
            plain[name] = value
    return plain


def _part(block: Any) -> Iterator[dict[str, Any]]:
    if isinstance(block, TextBlock):
        yield {"type": "text", "text": block.text}
    elif isinstance(block, ImageBlock):
        detail = {"detail": block.detail} if block.detail else {}
        yield {"type": "image_url", "image_url": {"url": _url(block), **detail}}
    else:
        raise RequestError(
            f"messages: a {type(block).__name__} cannot be guarded; give texts and pictures",
            param="messages",
        )


def _url(block: ImageBlock) -> str:
    """A data URL. Addresses are left as they are, and refused: nothing is fetched here."""
    if block.url is not None:
        return str(block.url)
    raw = block.resolve_image().read()
    media_type = ImageBlock(image=raw).image_mimetype
    return f"data:{media_type};base64,{base64.b64encode(raw).decode('ascii')}"


def _urls(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if part["type"] == "image_url":
            yield part["image_url"]["url"]


def _repainted(message: ChatMessage, urls: Iterator[str]) -> ChatMessage:
    blocks = [
        ImageBlock(url=next(urls), detail=block.detail) if isinstance(block, ImageBlock) else block
        for block in message.blocks
    ]
    return ChatMessage(
        role=message.role, blocks=blocks, additional_kwargs=message.additional_kwargs
    )
