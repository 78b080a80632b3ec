"""Several upstreams in the order in which they are asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guardrail.upstreams.governed import Governed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.types import Answer, Chat, Pixels
    from guardrail.upstreams.base import Upstream

__all__ = ["Lineup"]


class Lineup:
    """What several upstreams are together: their names, their models, their end.

    It chooses nothing: a decision must be made by one of `members`, and `complete` asks the first.
    """

    def __init__(self, members: Sequence[Upstream]) -> None:
        self.members = tuple(members)

    @property
    def name(self) -> str:
        return ", then ".join(member.name for member in self.members)

    @property
    def revision(self) -> str:
        return ", then ".join(member.revision for member in self.members)

    def ready(self) -> list[int]:
        """The positions of those that are not known to be down; of all where every one is."""
        positions = range(len(self.members))
        return [i for i in positions if _is_available(self.members[i])] or list(positions)

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:
        return await self.members[0].complete(chat, pictures, seed=seed)

    async def models(self) -> list[str]:
        """Every name that any of them lists, in their order.

        Raises:
            UpstreamError: none of them answers; the fault is that of the first.
        """
        asked = (member.models() for member in self.members)
        listed = await asyncio.gather(*asked, return_exceptions=True)
        names = [names for names in listed if not isinstance(names, BaseException)]
        if not names:
            raise next(fault for fault in listed if isinstance(fault, BaseException))
        return list(dict.fromkeys(name for row in names for name in row))

    async def aclose(self) -> None:
        """Closes all of them, also where one of them fails; then the first fault is raised."""
        closed = (member.aclose() for member in self.members)
        faults = await asyncio.gather(*closed, return_exceptions=True)
        for fault in faults:
            if fault is not None:
                raise fault


def _is_available(upstream: Upstream) -> bool:
    return not isinstance(upstream, Governed) or upstream.gate.available
