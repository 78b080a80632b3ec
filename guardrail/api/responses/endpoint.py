"""POST /v1/responses, without HTTP: the same engine behind OpenAI's other wire format."""

from __future__ import annotations

from guardrail.api.endpoint import Endpoint
from guardrail.api.responses.events import response_events, waiting_events
from guardrail.api.responses.reply import response_to
from guardrail.api.responses.request import read_response

__all__ = ["RESPONSES_ENDPOINT"]

RESPONSES_ENDPOINT = Endpoint(
    read=read_response, reply=response_to, events=response_events, wait=waiting_events
)
