"""POST /v1/chat/completions, without HTTP."""

from __future__ import annotations

from guardrail.server.chat_stream import events
from guardrail.server.endpoint import Form
from guardrail.server.reply import reply_to
from guardrail.server.wire import read_chat

__all__ = ["CHAT_FORM"]

CHAT_FORM = Form(
    read=read_chat,
    reply=lambda verdict, incoming, policy, record_id: reply_to(
        verdict, incoming.chat, policy, record_id
    ),
    events=lambda reply, incoming: events(reply, incoming.include_usage),
)
