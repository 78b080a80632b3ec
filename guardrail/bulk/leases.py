"""Which worker decides about which content, so that no two pay for the same one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

__all__ = ["LeaseTable"]


@dataclass(frozen=True, slots=True)
class _Lease:
    holder: str
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class LeaseTable:
    """Lends each content key to one holder at a time; for one event loop."""

    def __init__(self) -> None:
        self._leases: dict[str, _Lease] = {}

    async def take(self, key: str, holder: str) -> None:
        """Waits until no other holder has this key, and lends it to this one."""
        while (lease := self._leases.get(key)) is not None and lease.holder != holder:
            await lease.ended.wait()
        if lease is None:
            self._leases[key] = _Lease(holder)

    def free(self, key: str, holder: str) -> None:
        """Ends a lease; nothing where this holder has none."""
        lease = self._leases.get(key)
        if lease is not None and lease.holder == holder:
            del self._leases[key]
            lease.ended.set()

    def free_all(self, holder: str) -> None:
        """Ends all leases of a holder."""
        for key in [key for key, lease in self._leases.items() if lease.holder == holder]:
            self.free(key, holder)
