"""What a stream says while it waits for its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.chat.reply import pending_headers
from guardrail.api.progress import RUNNING

if TYPE_CHECKING:
    from guardrail.api.endpoint import Endpoint
    from guardrail.api.incoming import Incoming
    from guardrail.api.opening import Opening
    from guardrail.api.progress import JudgementCount
    from guardrail.policy.schema import Policy

__all__ = ["STREAM_HEADERS", "WAITING", "held_headers", "next_heartbeat"]

WAITING = b": waiting for the verdict\n\n"
STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # else nginx gathers the heartbeats
}


def held_headers(policy: Policy) -> dict[str, str]:
    """The headers of a stream that begins before its verdict."""
    return {**pending_headers(policy), **STREAM_HEADERS}


def next_heartbeat(
    policy: Policy,
    endpoint: Endpoint,
    incoming: Incoming,
    opening: Opening,
    tally: JudgementCount | None = None,
) -> bytes:
    """The next heartbeat, as the policy words it; `tally` holds the counts that may be told."""
    if endpoint.wait is not None and policy.advanced.streams.heartbeat == "chunks":
        return endpoint.wait(incoming, opening)
    if tally is not None:
        return tally.event()
    return RUNNING if incoming.progress else WAITING
