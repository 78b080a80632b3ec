"""LiteLLM's kinds of calls: guarded, without words, or refused."""

from __future__ import annotations

from guardrail import RequestError

__all__ = ["is_chat"]

_CHAT = frozenset({"completion", "acompletion"})
_WORDLESS = frozenset(
    {"embedding", "aembedding", "embeddings", "moderation", "amoderation", "apply_guardrail"}
)
"""Calls in which no model answers in words; the last goes on to the method of that name."""


def is_chat(call_type: str) -> bool:
    """Whether a kind of call is guarded; if not, no model answers in words.

    Raises:
        RequestError: it is neither, and hence refused.
    """
    if call_type in _CHAT | _WORDLESS:
        return call_type in _CHAT
    raise RequestError(
        f"calls of the kind {call_type} are not guarded and hence refused; use chat completions",
        status=404,
        code="route_not_guarded",
    )
