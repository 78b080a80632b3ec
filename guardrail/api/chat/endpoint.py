"""POST /v1/chat/completions, without HTTP."""

from __future__ import annotations

from guardrail.api.chat.reply import reply_to
from guardrail.api.chat.request import read_chat
from guardrail.api.chat.stream import events, waiting_chunk
from guardrail.api.endpoint import Endpoint

__all__ = ["CHAT_ENDPOINT"]

CHAT_ENDPOINT = Endpoint(
    read=read_chat,
    reply=lambda verdict, incoming, policy, record_id: reply_to(
        verdict, incoming.chat, policy, record_id, words_once=incoming.words_once
    ),
    events=lambda reply, incoming, opening=None: events(reply, incoming.include_usage, opening),
    wait=waiting_chunk,
)
