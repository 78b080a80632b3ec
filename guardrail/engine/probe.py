"""Short answers to variants: the same chat, its answers cut early."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from guardrail.errors import UpstreamError

if TYPE_CHECKING:
    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.types import Answer

__all__ = ["check_kept", "probing", "was_cut"]

_LIMITS = ("max_completion_tokens", "max_tokens")


def probing(chat: CanonicalChat, most: int | None) -> CanonicalChat:
    """The chat with answers of at most `most` tokens; itself where it asks for no more.

    The limit goes under the name that the client used, else under OpenAI's present one.
    """
    if most is None:
        return chat
    asked = {name: chat.parameters[name] for name in _LIMITS if _is_count(chat, name)}
    if asked and min(asked.values()) <= most:
        return chat
    limits = dict.fromkeys(asked or _LIMITS[:1], most)
    return dataclasses.replace(chat, parameters={**chat.parameters, **limits})


def check_kept(answer: Answer, most: int) -> None:
    """Refuses an answer that is longer than was asked for: a certificate would say it was cut.

    The token that ends an answer may be counted or not.

    Raises:
        UpstreamError: the model reports more tokens.
    """
    if answer.usage.completion_tokens > most + 1:
        raise UpstreamError(
            f"the model wrote more than the {most} tokens that a variant was to have; give its "
            "upstream the token_limit_name that it knows, or leave out "
            "advanced.sampling.probe_max_tokens",
            code="upstream_ignored_limit",
        )


def was_cut(answer: Answer | None) -> bool:
    """Whether a longer answer could have followed."""
    return answer is not None and answer.finish_reason == "length"


def _is_count(chat: CanonicalChat, name: str) -> bool:
    value = chat.parameters.get(name)
    return type(value) is int and value > 0
