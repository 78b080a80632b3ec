"""How much strangers may send and how long they may take, before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass, fields

from guardrail.errors import ConfigError

__all__ = ["WireLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """Bounds on connections, heads and bodies; each refusal is counted in `Refusals`.

    A head is the request line with all header fields.

    Attributes:
        max_connections: open at a time. For the next one the connection that has waited longest
            without a request under way is closed; where there is none, it is answered 503.
        max_connections_per_address: the same for one address (of IPv6 its first 64 bits). Behind
            a load balancer all connections come from its address.
        max_head_bytes: of one head, and of what comes behind a body; more is answered 431.
        max_headers: header fields of one request; more are answered 431.
        head_timeout_s: how long a head may take, from its first byte, or from the connection's
            beginning; then 408. Also how long a body that nobody waits for any more may go on.
        keep_alive_s: for how long a connection may be idle between two requests.
        max_bodies: bodies that arrive at a time. For the next one the slowest is answered 503.
        max_bodies_bytes: what all bodies together may hold, from their first byte until their
            pictures are decoded. Bodies beyond it are not read on until there is room; those that
            wait in vain, and the slowest of those that arrive, are answered 503.
        min_body_rate_bps: least bytes per second of a body; one that is slower is answered 408.
        body_grace_s: over which time that rate is measured, again and again.
        body_timeout_s: longest time for a whole body to arrive; then 408.

    Raises:
        ConfigError: a bound is not positive.
    """

    max_connections: int = 1024
    max_connections_per_address: int = 512
    max_head_bytes: int = 32 * 1024
    max_headers: int = 100
    head_timeout_s: float = 10.0
    keep_alive_s: float = 75.0
    max_bodies: int = 256
    max_bodies_bytes: int = 64 * 1024 * 1024
    min_body_rate_bps: int = 1024
    body_grace_s: float = 5.0
    body_timeout_s: float = 300.0

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) > 0:
                raise ConfigError("must be more than 0", field=each.name)
