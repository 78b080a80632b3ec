"""The SDK's items, with the pictures of a variant, and as a chat completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.models.chatcmpl_converter import Converter

from guardrail import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agents import ModelResponse

__all__ = ["completion_of", "with_pictures"]


def with_pictures(items: Any, messages: Sequence[dict[str, Any]]) -> Any:
    """The input, its pictures replaced, in order, by those of chat messages.

    Raises:
        RequestError: there are not as many, so that a picture would go unnoised.
    """
    urls = [part["image_url"]["url"] for part in _parts(messages) if part["type"] == "image_url"]
    left = iter(urls)
    try:
        made = _replaced(items, left)
    except StopIteration:
        raise _mismatch() from None
    if next(left, None) is not None:
        raise _mismatch()
    return made


def completion_of(response: ModelResponse, model: str) -> dict[str, Any]:
    """What a model of the SDK answered, as OpenAI's chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for made in Converter.items_to_messages(response.to_input_items()):
        message.update({name: value for name, value in made.items() if value is not None})
    usage = {
        "prompt_tokens": response.usage.input_tokens,
        "completion_tokens": response.usage.output_tokens,
        "total_tokens": response.usage.total_tokens,
    }
    end = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, "message": _texted(message), "finish_reason": end}
    return {"object": "chat.completion", "model": model, "choices": [choice], "usage": usage}


def _texted(message: dict[str, Any]) -> dict[str, Any]:
    """Content in parts becomes text, as providers send it."""
    content = message["content"]
    if not isinstance(content, list):
        return message
    return {**message, "content": "".join(part.get("text", "") for part in content)}


def _parts(messages: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message.get("content")
        yield from content if isinstance(content, list) else ()


def _replaced(value: Any, urls: Iterator[str]) -> Any:
    if isinstance(value, dict):
        if value.get("type") == "input_image":
            return {**value, "image_url": next(urls)}
        return {name: _replaced(inner, urls) for name, inner in value.items()}
    return [_replaced(inner, urls) for inner in value] if isinstance(value, list) else value


def _mismatch() -> RequestError:
    return RequestError(
        "input: holds a picture outside the user's messages, such as a tool's output, which the "
        "SDK does not send on in chat completions, so that it cannot be guarded; have the tool "
        "return words, and put the picture into a message of the user, or ask the proxy by the "
        "SDK's own model for the Responses API, which sends tools' pictures; or the policy leaves "
        "older pictures out (images.history), which this adapter cannot do",
        param="input",
    )
