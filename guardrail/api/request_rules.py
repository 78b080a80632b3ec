"""What a policy says of how requests are read, beside the limits of their pictures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from guardrail.api.strict_json import JsonLimits

if TYPE_CHECKING:
    from guardrail.policy.schema import Policy

__all__ = ["AS_BY_DEFAULT", "LABELS", "PICTURE_LABELS", "RequestRules", "request_rules"]

LABELS = frozenset(
    # Who, when, and which message: what chat programs keep beside the words, and no model heeds.
    {"id", "uuid", "message_id", "messageId", "parent_id", "parentId", "parent_message_id"}
    | {"parentMessageId", "conversation_id", "conversationId", "session_id", "sessionId"}
    | {"thread_id", "threadId", "run_id", "trace_id", "request_id", "turn_id", "index"}
    | {"agent", "agent_id", "agent_name", "author", "sender", "source", "user_id"}
    | {"timestamp", "time", "date", "created", "created_at", "createdAt", "updated_at"}
    | {"updatedAt", "sent_at", "duration", "duration_ms", "latency", "latency_ms"}
    | {"metadata", "tags", "version", "edited", "hidden", "pinned", "feedback", "rating"}
    # What stands around the message in an answer, and comes back with the history.
    | {
        "object",
        "status",
        "model",
        "provider",
        "finish_reason",
        "stop_reason",
        "native_finish_reason",
    }
    | {"usage", "token_count", "tokens", "cost", "logprobs", "system_fingerprint"}
)
"""Fields of messages and of parts of their content that are left out where the policy says so."""

PICTURE_LABELS = LABELS | {
    # How a server is to scale or to find a picture, which is scaled here and sent whole.
    *("min_pixels", "max_pixels", "total_pixels", "resized_width", "resized_height"),
    *("width", "height", "size", "format", "media_type", "mime_type", "mimeType"),
    *("name", "filename", "file_name", "fileName"),
}
"""The same of pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRules:
    """How requests are read.

    Attributes:
        last_images: so many pictures of a conversation are sent on; None for all of them. Those
            after the last answer always are.
        strict_types: whether a picture must be what it is declared to be; else its content decides.
        drop_labels: whether labels beside the words are left out; else they are refused by name.
        allowed: fields of requests that are refused otherwise, see `check_parameters`.
        json: how much of a request is parsed.
    """

    last_images: int | None = None
    strict_types: bool = False
    drop_labels: bool = True
    allowed: frozenset[str] = frozenset()
    json: JsonLimits = field(default_factory=JsonLimits)

    @property
    def whole(self) -> RequestRules:
        """For callers that send the request on themselves: nothing of it may be left out."""
        return replace(self, last_images=None, drop_labels=False)


AS_BY_DEFAULT = RequestRules()


def request_rules(policy: Policy) -> RequestRules:
    """The rules of a policy."""
    images, limits = policy.images, policy.advanced.limits
    return RequestRules(
        last_images=None if images.history == "all" else int(images.history.removeprefix("last ")),
        strict_types=images.strict_types,
        drop_labels=policy.advanced.requests.labels == "drop",
        allowed=frozenset(policy.advanced.requests.allow),
        json=JsonLimits(max_values=limits.max_json_values, max_text_bytes=limits.max_text_bytes),
    )
