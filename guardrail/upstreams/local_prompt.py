"""From messages to the text that a local model reads, safe against forged control tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardrail.errors import UpstreamError

if TYPE_CHECKING:
    from guardrail.types import Json

__all__ = ["adds_special_tokens", "render"]

_MARKS = "<[{|"
_PLACEHOLDERS = ("image_token", "video_token", "audio_token", "boi_token", "fake_image_token")


def render(processor: Any, messages: list[dict[str, Json]]) -> str:
    """The prompt, by the model's own chat template.

    A control token that is written out in a message would end the turn or stand for a picture;
    a space after its first character makes it plain text.

    Raises:
        UpstreamError: status 400; the template refuses these messages.
    """
    from jinja2.exceptions import TemplateError

    tokens = _control_tokens(processor)
    plain = [{**m, "content": [_plain(part, tokens) for part in m["content"]]} for m in messages]
    try:
        text = processor.apply_chat_template(plain, add_generation_prompt=True, tokenize=False)
    except TemplateError as error:
        raise UpstreamError(
            "the model's chat template refuses these messages; send one user message, or user and "
            "assistant in turns",
            status=400,
            code="unsupported_value",
        ) from error
    return str(text)


def adds_special_tokens(processor: Any, text: str) -> bool:
    """Whether the tokenizer should begin the text by itself: not where the template did already."""
    begin = processor.tokenizer.bos_token
    return not (begin and text.startswith(begin))


def _control_tokens(processor: Any) -> list[str]:
    """Longest first, so that no token is broken up by a shorter one within it."""
    named = (getattr(processor, name, None) for name in _PLACEHOLDERS)
    tokens = {*map(str, processor.tokenizer.all_special_tokens), *(str(t) for t in named if t)}
    # Some tokenizers declare an ordinary word or a mark like "!" special: that stays as it is.
    marked = [token for token in tokens if len(token) > 2 and token[0] in _MARKS]
    return sorted(marked, key=lambda token: (-len(token), token))


def _plain(part: dict[str, Json], tokens: list[str]) -> dict[str, Json]:
    if part["type"] != "text":
        return part
    text = part["text"]
    for token in tokens:
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return {**part, "text": text}
