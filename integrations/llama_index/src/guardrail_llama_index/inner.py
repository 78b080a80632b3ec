"""What an inner LLM's reply says beside its message: refusal, end, model and tokens.

LlamaIndex leaves them where the provider put them, and providers of OpenAI's two interfaces differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_index.core.base.llms.types import ChatResponse

__all__ = ["end_of", "model_of", "refusal_of", "usage_of"]

_USAGE = {  # in chat completions, and in responses
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
}
_ENDS = {"max_output_tokens": "length", "content_filter": "content_filter"}


def model_of(response: ChatResponse) -> str:
    """Which model answered, where the provider's own reply says it; else empty."""
    return _text_at(response.raw, "model")


def refusal_of(response: ChatResponse) -> str:
    """The words of a refusal, which are no content; empty where there is none."""
    said = response.additional_kwargs.get("refusal")  # from the Responses API
    if isinstance(said, str):
        return said
    return _text_at(_field(_first_choice(response.raw), "message"), "refusal")


def end_of(response: ChatResponse) -> str | None:
    """Why the provider ended, where it answers in one of OpenAI's forms."""
    details = _field(response.raw, "incomplete_details")
    cut = _ENDS.get(_text_at(details, "reason"))  # of a response that is not complete
    return cut or _text_at(_first_choice(response.raw), "finish_reason") or None


def usage_of(response: ChatResponse) -> dict[str, int]:
    """The tokens that the provider counts, by the names of chat completions."""
    told = response.additional_kwargs
    found = {
        name: _field(told, name) or _field(told.get("usage"), other)
        for name, other in _USAGE.items()
    }
    return {name: value for name, value in found.items() if isinstance(value, int)}


def _first_choice(raw: Any) -> Any:
    choices = _field(raw, "choices")
    return choices[0] if isinstance(choices, list) and choices else None


def _text_at(value: Any, name: str) -> str:
    found = _field(value, name)
    return found if isinstance(found, str) else ""


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
