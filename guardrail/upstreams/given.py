"""A model of one answer, which is there already and is only to be judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.types import Answer, Chat, Pixels

__all__ = ["GivenAnswerUpstream"]


@dataclass(frozen=True, slots=True)
class GivenAnswerUpstream:
    """Answers everything alike, and costs nothing."""

    answer: Answer
    name: str = "given"
    revision: str = "given"
    deterministic: bool = True  # see `is_deterministic`

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:  # noqa: ARG002 (the protocol's)
        return self.answer

    async def models(self) -> list[str]:
        return []

    async def aclose(self) -> None:
        """Does nothing: no connection is open."""
