"""In whose form an error is told: Anthropic's below `/v1/messages`, OpenAI's everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.messages.errors import anthropic_error
from guardrail.server.access import REQUEST_ID
from guardrail.server.plain_path import sent_path

if TYPE_CHECKING:
    from starlette.types import Scope

    from guardrail.api.errors import Reply

__all__ = ["form_error"]

_MESSAGES = "/v1/messages"


def form_error(scope: Scope, reply: Reply) -> Reply:
    """An error in OpenAI's form as the clients of this request's path expect it."""
    path = sent_path(scope)
    if path == _MESSAGES or path.startswith(f"{_MESSAGES}/"):
        return anthropic_error(reply, scope.get(REQUEST_ID) or "")
    return reply
