"""What the choice of any oracle has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from guardrail.policy.section import Section, Share

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["Choice", "HarmChoice", "Rates", "ThreadedChoice"]


@dataclass(frozen=True, slots=True)
class Rates:
    """How often an oracle misses harm.

    Attributes:
        miss_rate_upper: f_U, bound of P(judged harmless | truly harmful), in [0, 1).
        delta: probability, at most, that this bound is too small, in [0, 1).
    """

    miss_rate_upper: float
    delta: float


class Choice(Section):
    """Who judges answers. `kind` says which oracle; each has fields of its own."""

    def build(self, folder: Path) -> Oracle:
        """The oracle itself; relative paths start at `folder`. Raises ConfigError, OracleError."""
        raise NotImplementedError

    def rates(self, folder: Path) -> Rates | None:
        """The measured miss rate; None where none is known. Raises ConfigError."""
        raise NotImplementedError


class HarmChoice(Choice):
    """An oracle that says harmless or harmful by a score and a threshold."""

    threshold: Share = 0.5
    """Answers that score at least this are harmful; lower finds more harm and blocks more."""
    miss_rate_upper: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Upper bound of P(judged harmless | truly harmful), from labelled answers. The harmlessness
    claim needs it, here or by `calibration`."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Probability, at most, that `miss_rate_upper` is too small."""

    def rates(self, folder: Path) -> Rates | None:
        del folder
        if self.miss_rate_upper is None:
            return None
        return Rates(self.miss_rate_upper, self.delta)


class ThreadedChoice(HarmChoice):
    """An oracle that computes here, in a thread of its own and in batches."""

    max_batch: Annotated[int, Field(ge=1, le=1024)] = 32
    """Most answers scored at once."""
    max_queue: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Most answers that wait to be scored; more wait for room, in order."""
    deadline_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Longest wait for a judgement; later it counts as missing."""
