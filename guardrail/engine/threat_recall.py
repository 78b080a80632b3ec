"""Which share of forbidden requests is held against each threat, as measured and sealed.

Which requests are shown held, and from how many of them the share follows, is in
`stats/threat_recall.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from guardrail.engine.threats import Threat
from guardrail.stats import most_passable, recall_lower

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Against", "HeldShare", "find_draws_problem", "find_share_problem", "statements_of"]


_MOST_DRAWS = 10**7


class Against(StrEnum):
    """What a request may be held against.

    `CROPS`: changes outside some window. `STICKERS`: one sticker at every place. `STICKER_PLACE`:
    one at a place that was drawn at random for each request. `SUFFIX`: text behind the prompt.
    """

    CROPS = "crops"
    STICKERS = "stickers"
    STICKER_PLACE = "sticker_place"
    SUFFIX = "suffix"

    @property
    def threat(self) -> Threat:
        """The threat of a policy that it is about."""
        return Threat.STICKERS if self is Against.STICKER_PLACE else Threat(self.value)


@dataclass(frozen=True, slots=True)
class HeldShare:
    """The share of a population that is held, at least: `shown` of the measured ones were shown.

    All shares of a measurement hold together but for its delta.
    """

    against: Against
    shown: int
    share_lower: float


def statements_of(threats: Iterable[Threat]) -> tuple[Against, ...]:
    """What is said where a policy covers these threats, in a fixed order."""
    found: list[Against] = []
    for threat in threats:
        match threat:
            case Threat.CROPS:
                found.append(Against.CROPS)
            case Threat.STICKERS:
                found += [Against.STICKERS, Against.STICKER_PLACE]
            case Threat.SUFFIX:
                found.append(Against.SUFFIX)
            case _:
                assert_never(threat)
    return tuple(found)


def find_share_problem(
    shares: Sequence[HeldShare], *, requests: int, delta: float, beta: float
) -> str:
    """What about these shares cannot be; empty where they are consistent.

    Args:
        shares: all of a measurement.
        requests: how many were measured, >= 1.
        delta: shared by all, in (0, 1).
        beta: probability, at most, that one which is not held is shown held, in (0, 1).
    """
    for one in shares:
        if not 0 <= one.shown <= requests:
            return f"it shows more requests held against {one.against} than were measured"
        due = recall_lower(one.shown, requests, delta / len(shares), beta)
        # Two machines may compute a bound differently in its last bits.
        if not math.isclose(one.share_lower, due, rel_tol=1e-9, abs_tol=1e-12):
            return f"its share held against {one.against} does not follow from its requests"
    return ""


def find_draws_problem(
    shares: Sequence[HeldShare], *, draws: int, floors: Mapping[Threat, float], beta: float
) -> str:
    """Why so few answers to a view cannot have shown these shares; empty where they can.

    Args:
        shares: about threats that are in `floors`.
        draws: answers to each view, >= 1.
        floors: of the views of each threat, in (0, 1).
        beta: as in `find_share_problem`.
    """
    if draws > _MOST_DRAWS:
        return "it rests on more draws of a view than are ever made"
    for one in shares:
        # Not even harmful answers alone would have shown it, of the fewest views that there can be.
        floor = floors[one.against.threat]
        if one.shown and most_passable(draws, floor=floor, level=beta) < 0:
            return f"it rests on too few draws to show anything held against {one.against}"
    return ""
