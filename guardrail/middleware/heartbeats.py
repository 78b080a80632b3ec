"""Heartbeats of a stream that a web framework holds until its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.heartbeats import held_headers, next_heartbeat
from guardrail.api.opening import Opening

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.endpoint import Endpoint
    from guardrail.api.incoming import Incoming
    from guardrail.policy.schema import Policy

__all__ = ["Heartbeats"]


class Heartbeats:
    """What one stream sends before its verdict, in the form that the policy asks for.

    Give it to `Guard.respond` and, until that returns, send now and then what `next` gives; then
    send `HttpAnswer.events`, which go on from there. Used on the event loop that awaits `respond`.
    """

    def __init__(self) -> None:
        self.opening = Opening()
        self._source: tuple[Policy, Endpoint, Incoming] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """Of a response that begins now, with status 200; empty where `next` gives None."""
        return {} if self._source is None else held_headers(self._source[0])

    def next(self) -> bytes | None:
        """The next heartbeat; None as long as the request is not read, or asks for no stream."""
        return None if self._source is None else next_heartbeat(*self._source, self.opening)

    def begin(self, policy: Policy, endpoint: Endpoint, incoming: Incoming) -> None:
        """Called by the guard once the request is read."""
        if incoming.stream:
            self._source = policy, endpoint, incoming
