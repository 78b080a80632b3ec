"""How verdicts are remembered: plain values, all checked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["MemoryRules", "OnRepeat"]


class OnRepeat(StrEnum):
    """`replay` gives the verdict of the earlier decision again; `redraw` makes a new decision."""

    REPLAY = "replay"
    REDRAW = "redraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRules:
    """What becomes of a request that was decided before.

    Attributes:
        on_pass: where it passed.
        on_block: where it was blocked by a judgement.
        ttl_s: for how long a verdict is remembered, from the end of its decision.
        max_entries, max_bytes: most that is remembered; what was asked for longest ago goes first.
    """

    on_pass: OnRepeat = OnRepeat.REPLAY
    on_block: OnRepeat = OnRepeat.REPLAY
    ttl_s: float = 3600.0
    max_entries: int = 10_000
    max_bytes: int = 64 * 1024 * 1024
