"""POST /v1/responses, without HTTP: the same engine behind OpenAI's other wire format."""

from __future__ import annotations

from guardrail.api.endpoint import Form
from guardrail.api.responses.events import response_events
from guardrail.api.responses.reply import response_to
from guardrail.api.responses.request import read_response

__all__ = ["RESPONSES_FORM"]

RESPONSES_FORM = Form(read=read_response, reply=response_to, events=response_events)
