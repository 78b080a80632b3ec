"""POST /v1/messages, without HTTP: the same engine behind Anthropic's wire format."""

from __future__ import annotations

from guardrail.api.endpoint import Endpoint
from guardrail.api.messages.events import message_events, waiting_event
from guardrail.api.messages.reply import message_to
from guardrail.api.messages.request import read_message_request

__all__ = ["MESSAGES_ENDPOINT"]

MESSAGES_ENDPOINT = Endpoint(
    read=read_message_request, reply=message_to, events=message_events, wait=waiting_event
)
