"""A model of one answer, which is there already and is only to be judged."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.types import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.types import Answer, Chat, Pixels

__all__ = ["GivenAnswerUpstream"]


@dataclass(frozen=True, slots=True)
class GivenAnswerUpstream:
    """Answers everything alike, and costs nothing: what the answer took is counted elsewhere."""

    answer: Answer
    name: str = "given"
    revision: str = "given"
    deterministic: bool = True  # see `is_deterministic`
    asks_model: bool = False  # see `asks_model`

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:  # noqa: ARG002 (the protocol's)
        return dataclasses.replace(self.answer, usage=Usage())

    async def models(self) -> list[str]:
        return []

    async def aclose(self) -> None:
        """Does nothing: no connection is open."""
