"""Why a model gets no calls, as one process tells it to others."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Stop", "StopKind"]


class StopKind(StrEnum):
    """Why a model gets no calls."""

    PAUSE = "pause"
    """Its provider asked for a pause."""
    RATE_LIMIT = "rate_limit"
    """The same, for too many requests."""
    DOWN = "down"
    """Its breaker is open for all callers."""
    DOWN_FOR_CALLER = "down_for_caller"
    """It is open for one of them."""


@dataclass(frozen=True, slots=True)
class Stop:
    """What one process has met of a model, and others should heed.

    Attributes:
        model: its name.
        kind: why it gets no calls.
        wait_s: for how long from now.
        caller: whom it concerns, where it concerns one.
        age_s: how long ago it was met, where another process has met it.
    """

    model: str
    kind: StopKind
    wait_s: float
    caller: str = ""
    age_s: float = 0.0
