"""How many connections are open, in all and for each address, and which of them only wait."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from guardrail.server.refusal import BUSY, CROWDED

if TYPE_CHECKING:
    from guardrail.api.refusals import Refusals
    from guardrail.api.wire_limits import WireLimits
    from guardrail.server.refusal import Refusal

__all__ = ["Connections", "peer_of"]

_IPV6_PREFIX = 64  # what one customer of a provider has, at the least


class _Connection(Protocol):
    peer: str | None

    def close_waiting(self) -> None:
        """Closes it; no request of it is under way."""


class Connections:
    """The open connections of one server; used on its event loop only.

    Where there is no room for another, the one that has waited longest without a request under
    way is closed for it, first of the same address. So connections that are opened and left
    alone keep nobody out.
    """

    def __init__(self, limits: WireLimits, refusals: Refusals) -> None:
        self.limits = limits
        self.refusals = refusals
        self._open: Counter[str] = Counter()
        self._count = 0
        self._waiting: dict[_Connection, None] = {}  # the longest first

    def __len__(self) -> int:
        return self._count

    def enter(self, connection: _Connection) -> Refusal | None:
        """Counts a connection, which waits for its first request; why it may not stay, if so."""
        address = connection.peer
        if address is not None and self._open[address] >= self.limits.max_connections_per_address:
            if not self._close_one(address):
                return CROWDED
        elif self._count >= self.limits.max_connections and not self._close_one(None):
            return BUSY
        self._count += 1
        if address is not None:
            self._open[address] += 1
        self._waiting[connection] = None
        return None

    def leave(self, connection: _Connection) -> None:
        """It is closed; must have been let in."""
        self._waiting.pop(connection, None)
        self._count -= 1
        address = connection.peer
        if address is not None:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    def serve(self, connection: _Connection) -> None:
        """A request of it is under way."""
        self._waiting.pop(connection, None)

    def wait(self, connection: _Connection) -> None:
        """None is, any more."""
        self._waiting[connection] = None

    def _close_one(self, address: str | None) -> bool:
        """Whether there was one to close, of this address if one is given."""
        for connection in self._waiting:
            if address is None or connection.peer == address:
                self.refusals.count("connections" if address is None else "connections_per_address")
                connection.close_waiting()
                return True
        return False


def peer_of(address: str) -> str:
    """What counts as one address: of IPv6 its network, as its owner has all of that."""
    if ":" not in address:
        return address
    try:
        full = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if full.ipv4_mapped is not None:
        return str(full.ipv4_mapped)
    return str(ipaddress.IPv6Network((full, _IPV6_PREFIX), strict=False))
