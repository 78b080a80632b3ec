"""What is known of the models of one upstream: of each its health, its pause and its calls."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.upstreams.limits.breaker import BreakerState
from guardrail.upstreams.limits.health import ModelHealth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.upstreams.limits.call_limits import CallLimits

__all__ = ["Lane", "Lanes"]

_MOST_LANES = 1024  # of models; only those are kept of which anything is known


@dataclass(slots=True, eq=False)
class Lane:
    """What is known of one model.

    Attributes:
        model: its name.
        health: what faults say of it.
        paused_until: when its provider takes calls again.
        is_rate_limited: whether the pause is for too many requests.
        alone_until: until when its other calls wait for the one in flight.
        in_flight: calls to it.
        waiting: calls to it that wait, by caller.
    """

    model: str
    health: ModelHealth
    paused_until: float = -math.inf
    is_rate_limited: bool = False
    alone_until: float = -math.inf
    in_flight: int = 0
    waiting: Counter[str] = field(default_factory=Counter)

    @property
    def is_idle(self) -> bool:
        return not self.in_flight and not self.waiting

    def may_start(self, now: float, caller: str) -> bool:
        """Whether neither its pause, its first call nor its health is against a call."""
        half_open = self.health.state(now, caller) is BreakerState.HALF_OPEN
        return self.wait_s(now) == 0.0 and not (half_open and self.health.is_probing(caller))

    def wait_s(self, now: float) -> float:
        """How long a call waits for its pause, or at most for the call that goes alone."""
        alone_until = self.alone_until if self.in_flight else -math.inf
        return max(0.0, self.paused_until - now, alone_until - now)

    def needs_clock(self) -> bool:
        """Whether a call waits for a time, and not for the end of one that decides for it."""
        return any(not self.health.is_probing(caller) for caller in self.waiting)


class Lanes:
    """Those of the models of which anything is known.

    At most so many are remembered, as clients choose the names.
    """

    def __init__(self, limits: CallLimits) -> None:
        self._limits = limits
        self._lanes: OrderedDict[str, Lane] = OrderedDict()

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def find(self, model: str) -> Lane | None:
        """That of a model; None where nothing is known of it."""
        return self._lanes.get(model)

    def open(self, model: str) -> Lane:
        """That of a model, or a new one."""
        lane = self._lanes.get(model)
        if lane is None:
            if len(self._lanes) >= _MOST_LANES:
                oldest = next((one for one in self._lanes.values() if one.is_idle), None)
                if oldest is not None:
                    del self._lanes[oldest.model]
            limits = self._limits
            health = ModelHealth(
                faults=limits.breaker_faults,
                after_s=limits.breaker_after_s,
                open_s=limits.breaker_open_s,
            )
            lane = self._lanes[model] = Lane(model, health)
        return lane

    def forget(self, lane: Lane, now: float) -> None:
        """Drops a lane that nothing uses and that says nothing."""
        if lane.is_idle and lane.health.is_quiet and lane.paused_until <= now:
            self._lanes.pop(lane.model, None)
