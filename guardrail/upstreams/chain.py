"""Several upstreams in the order in which they are asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guardrail.upstreams.base import is_deterministic
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.picture_side import find_picture_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.types import Answer, Chat, Pixels
    from guardrail.upstreams.base import Upstream
    from guardrail.upstreams.picture_side import PictureSide

__all__ = ["UpstreamChain", "members"]


class UpstreamChain:
    """Several upstreams behind one interface: their names, their models, their closing.

    It chooses nothing: a decision must be made by one of `members`, and `complete` asks the first.

    Args:
        members: in the order in which they are asked.
        patience_s: how long the names of one are waited for where another has told its own.
    """

    def __init__(self, members: Sequence[Upstream], *, patience_s: float = 1.0) -> None:
        self.members = tuple(members)
        self._patience_s = patience_s

    @property
    def name(self) -> str:
        return ", then ".join(member.name for member in self.members)

    @property
    def revision(self) -> str:
        return ", then ".join(member.revision for member in self.members)

    @property
    def deterministic(self) -> bool:
        return all(is_deterministic(member) for member in self.members)

    def ready(self, model: str, caller: str = "") -> list[int]:
        """The positions of those that can be asked for this model now; of all where none can.

        For the meaning of `caller` see `Limiter.enter`.
        """
        positions = range(len(self.members))
        available = [i for i in positions if _is_available(self.members[i], model, caller)]
        return available or list(positions)

    def picture_side(self, model: str) -> PictureSide | None:
        """That of the first, which `complete` asks; a decision goes by its own member's."""
        return find_picture_side(self.members[0], model)

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:
        return await self.members[0].complete(chat, pictures, seed=seed)

    async def models(self) -> list[str]:
        """Every name that any of them lists, in their order; one that hangs holds up none.

        Raises:
            UpstreamError: none of them answers; the fault is that of the first.
        """
        tasks = [asyncio.create_task(member.models()) for member in self.members]
        try:
            await asyncio.wait(tasks, timeout=self._patience_s)
            if not any(_has_answered(task) for task in tasks):
                await asyncio.wait(tasks)
            rows = [task.result() for task in tasks if _has_answered(task)]
            return _each_once(rows or [tasks[0].result()])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Closes all of them, also where one of them fails; then the first fault is raised."""
        closed = (member.aclose() for member in self.members)
        faults = await asyncio.gather(*closed, return_exceptions=True)
        for fault in faults:
            if fault is not None:
                raise fault


def members(upstream: Upstream) -> tuple[Upstream, ...]:
    """The upstreams that it stands for: those of a chain, else itself."""
    return upstream.members if isinstance(upstream, UpstreamChain) else (upstream,)


def _has_answered(task: asyncio.Task[list[str]]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _each_once(rows: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _is_available(upstream: Upstream, model: str, caller: str) -> bool:
    return not isinstance(upstream, LimitedUpstream) or upstream.is_available(model, caller)
