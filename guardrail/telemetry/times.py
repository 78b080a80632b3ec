"""Where the time of a decision goes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DecisionTimes"]


@dataclass(frozen=True, slots=True)
class DecisionTimes:
    """Seconds of one decision; the first three overlap, as variants are asked side by side.

    Attributes:
        upstream_s: with a call to a model in flight.
        oracle_s: with the oracle at work.
        queue_s: with a call in line for its upstream.
        own_s: with none of these.
    """

    upstream_s: float
    oracle_s: float
    queue_s: float
    own_s: float
