"""A decision, or the fault in its place, as the bytes that the proxy would send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.api.chat.stream import events
from guardrail.api.errors import reply_to_error
from guardrail.api.strict_json import encode_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.endpoint import Endpoint
    from guardrail.api.errors import Reply
    from guardrail.api.opening import Opening
    from guardrail.errors import GuardrailError
    from guardrail.middleware.result import Result

__all__ = ["HttpAnswer", "answer_of", "answer_to_error"]

_JSON = "application/json"
_STREAM = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the proxy would send.

    Attributes:
        status: of HTTP.
        headers: names in lower case, the content's type among them.
        content: the body; the whole stream where one was asked for and the answer is not an error.
        events: the rest of a stream that has begun before the decision; an error is an event.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    events: bytes


def answer_of(result: Result, endpoint: Endpoint, opening: Opening | None = None) -> HttpAnswer:
    """The answer to a decision of any kind, or the rest of what `opening` has begun."""
    reply = result.reply
    told = b"".join(endpoint.events(reply, result.incoming, opening))
    if result.incoming.stream and not reply.is_error:
        return _answer(reply, _STREAM, told, told)
    return _answer(reply, _JSON, encode_json(reply.body), told)


def answer_to_error(error: GuardrailError) -> HttpAnswer:
    """The answer to a fault before a decision."""
    reply = reply_to_error(error)
    told = b"".join(events(reply, include_usage=False))
    return _answer(reply, _JSON, encode_json(reply.body), told)


def _answer(reply: Reply, kind: str, content: bytes, told: bytes) -> HttpAnswer:
    return HttpAnswer(reply.status, {**reply.headers, "content-type": kind}, content, told)
