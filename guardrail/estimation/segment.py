"""A segment of an estimate: what the engine's `fan_out` runs in place of a decision's certifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from guardrail.errors import CertificationError

if TYPE_CHECKING:
    from guardrail.estimation.stop_rule import RadiusScale, RateEstimate
    from guardrail.types import Outcome

__all__ = ["Segment", "StopCondition"]


class StopCondition(Protocol):
    """When enough is known; asked after every outcome, in the order of their index."""

    def update_bounds(self, estimate: RateEstimate) -> RateEstimate:
        """The estimate with what follows from it brought up to date."""

    def is_reached(self, estimate: RateEstimate, scale: RadiusScale) -> bool:
        """Whether to stop."""


class Segment:
    """Variants `start.samples` to `until`, counted in the order of their index.

    In segments, so that memory stays bounded and what is known can be kept between them.

    Args:
        start: what is known before.
        until: the first index beyond this segment.
        stop_rule: when to stop earlier.
        scale: of the picture.
    """

    def __init__(
        self, start: RateEstimate, until: int, stop_rule: StopCondition, scale: RadiusScale
    ) -> None:
        self.estimate = start
        self._until = until
        self._stop_rule = stop_rule
        self._scale = scale
        self._launched = start.samples
        self._arrived: dict[int, Outcome] = {}
        self._is_over = start.samples >= until or stop_rule.is_reached(start, scale)

    @property
    def decision(self) -> RateEstimate | None:
        """The estimate once the segment is over; None while more outcomes are needed."""
        return self.estimate if self._is_over else None

    def launch(self, room: int) -> range:
        """Indices to send now, at most `room`; each index is handed out once."""
        if self._is_over or room <= 0:
            return range(0)
        indices = range(self._launched, min(self._until, self._launched + room))
        self._launched = indices.stop
        return indices

    def record(self, index: int, outcome: Outcome) -> None:
        """Takes the outcome of a launched variant.

        Raises:
            CertificationError: the index was never launched or has an outcome already.
        """
        if not self.estimate.samples <= index < self._launched or index in self._arrived:
            raise CertificationError(
                f"outcome for variant {index} cannot be counted: it was not launched or has been "
                "recorded before; record each launched index once"
            )
        self._arrived[index] = outcome
        while not self._is_over and self.estimate.samples in self._arrived:
            self._consume(self._arrived.pop(self.estimate.samples))

    def _consume(self, outcome: Outcome) -> None:
        self.estimate = self._stop_rule.update_bounds(self.estimate.after(outcome))
        done = self._stop_rule.is_reached(self.estimate, self._scale)
        self._is_over = done or self.estimate.samples >= self._until
