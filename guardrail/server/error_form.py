"""In whose form an error is told: Anthropic's below `/v1/messages`, OpenAI's everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.messages.errors import anthropic_error

if TYPE_CHECKING:
    from guardrail.api.errors import Reply

__all__ = ["form_error"]

_MESSAGES = "/v1/messages"


def form_error(path: str, reply: Reply) -> Reply:
    """An error in OpenAI's form as clients of this path expect it."""
    of_messages = path == _MESSAGES or path.startswith(f"{_MESSAGES}/")
    return anthropic_error(reply) if of_messages else reply
