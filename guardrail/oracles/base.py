"""What an oracle is: it puts an answer into a class.

A `Scorer` is the part that computes (synchronous, batched, may be slow); an `Oracle` is what the
engine awaits. `ThreadedOracle` in `worker.py` turns the first into the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.types import Outcome

__all__ = ["Exchange", "Judgement", "Oracle", "Scorer"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answer to judge, with the prompt that drew it (empty where it is not known)."""

    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an oracle said of one answer.

    `score` grows with harm and lies in [0, 1]; `reason` names the category or rule in a few
    words and never quotes the answer.
    """

    outcome: Outcome
    score: float
    reason: str = ""


@runtime_checkable
class Scorer(Protocol):
    """Computes one harm score in [0, 1] for every exchange; called from one thread at a time."""

    @property
    def revision(self) -> str:
        """A short digest of everything that fixes the scores (weights, window, labels)."""

    def scores(self, exchanges: Sequence[Exchange]) -> list[float]:
        """One score for each exchange, in order. Raises OracleError; never returns NaN."""


@runtime_checkable
class Oracle(Protocol):
    """Judges answers; a failure is raised as OracleError and never returned as harmless."""

    @property
    def revision(self) -> str:
        """A short digest of everything that fixes the verdicts (scorer and threshold)."""

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange, in order."""

    async def aclose(self) -> None:
        """Releases threads and connections."""
