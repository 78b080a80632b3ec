"""Notices when many more requests are blocked than before: an attack, or an oracle gone wrong."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guardrail.types import Json

__all__ = ["BlockSpike", "BlockSpikes"]

_BUCKET_S = 60.0
_WINDOW = 5
_BEFORE = 60
_LEAST_BLOCKED = 10
_FACTOR = 3.0
_LEAST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class BlockSpike:
    """What was seen.

    Attributes:
        blocked, decisions: in the last five minutes.
        share_before: share of blocks in the hour before these.
    """

    blocked: int
    decisions: int
    share_before: float

    def to_dict(self) -> dict[str, Json]:
        """For the log and the webhook."""
        return {
            "blocked": self.blocked,
            "decisions": self.decisions,
            "share": round(self.blocked / self.decisions, 4),
            "share_before": round(self.share_before, 4),
        }


@dataclass(slots=True)
class _Minute:
    number: int
    decisions: int = 0
    blocked: int = 0


class BlockSpikes:
    """Counts blocks by minutes.

    A spike is 10 blocks or more within 5 minutes that are at least a tenth of the decisions, and
    three times the share of the hour before. It is told once, and again only after a check in
    between found none. Nothing here reads a clock: `now` is handed in, in seconds that only grow.
    """

    def __init__(self) -> None:
        self._minutes: deque[_Minute] = deque(maxlen=_WINDOW + _BEFORE)
        self._is_told = False

    def record(self, now: float, *, blocked: bool) -> None:
        """Counts one decision."""
        number = int(now // _BUCKET_S)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(_Minute(number))
        self._minutes[-1].decisions += 1
        self._minutes[-1].blocked += blocked

    def check(self, now: float) -> BlockSpike | None:
        """A spike that begins; None where there is none, or it was told before."""
        spike = self._find(int(now // _BUCKET_S))
        is_new = spike is not None and not self._is_told
        self._is_told = spike is not None
        return spike if is_new else None

    def _find(self, number: int) -> BlockSpike | None:
        first = number - _WINDOW + 1
        recent = [minute for minute in self._minutes if minute.number >= first]
        earlier = [minute for minute in self._minutes if first - _BEFORE <= minute.number < first]
        blocked, decisions = _add_up(recent)
        before_blocked, before = _add_up(earlier)
        share_before = before_blocked / before if before else 0.0
        threshold = max(_LEAST_SHARE, _FACTOR * share_before)
        if blocked < _LEAST_BLOCKED or blocked < threshold * decisions:
            return None
        return BlockSpike(blocked, decisions, share_before)


def _add_up(minutes: list[_Minute]) -> tuple[int, int]:
    return sum(one.blocked for one in minutes), sum(one.decisions for one in minutes)
