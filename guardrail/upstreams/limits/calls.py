"""A call that a limiter let through: what it got, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guardrail.errors import UpstreamError

__all__ = ["CallEnd", "Grant"]


@dataclass(frozen=True, slots=True)
class Grant:
    """A call that was let through.

    Attributes:
        at: since when.
        tokens: reserved for it.
        probe: whether it decides for a breaker.
        model: which one it asks.
        decision: a fault of it counts once, however many of its calls fail.
        caller: for whom it was made.
    """

    at: float
    tokens: float
    probe: bool
    model: str = ""
    decision: object = None
    caller: str = ""


@dataclass(frozen=True, slots=True)
class CallEnd:
    """What became of it.

    Attributes:
        alive: whether the model is up; None where the call says nothing about that.
        tokens: what it used; None where that is not known.
        pause_s: how long the provider asks callers to wait.
        is_rate_limit: whether that pause is for too many requests.
        refusal: of the guard's access or of the model's name, which holds for every call to this
            model; None where the call met none.
    """

    alive: bool | None = None
    tokens: int | None = None
    pause_s: float | None = None
    is_rate_limit: bool = False
    refusal: UpstreamError | None = None
