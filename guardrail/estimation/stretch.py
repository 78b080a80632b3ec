"""A piece of an estimate, run by the engine's `fan_out` in place of a decision's certifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from guardrail.errors import CertificationError

if TYPE_CHECKING:
    from guardrail.estimation.goal import Scale, Tally
    from guardrail.types import Outcome

__all__ = ["Stopping", "Stretch"]


class Stopping(Protocol):
    """When enough is known; looked at after every outcome, in the order of their index."""

    def with_look(self, tally: Tally) -> Tally:
        """The tally with what follows from it brought up to date."""

    def is_reached(self, tally: Tally, scale: Scale) -> bool:
        """Whether to stop."""


class Stretch:
    """Variants `start.samples` to `until`, counted in the order of their index.

    In pieces, so that memory stays bounded and what is known can be kept between them.

    Args:
        start: what is known before.
        until: the first index beyond this piece.
        goal: when to stop earlier.
        scale: of the picture.
    """

    def __init__(self, start: Tally, until: int, goal: Stopping, scale: Scale) -> None:
        self.tally = start
        self._until = until
        self._goal = goal
        self._scale = scale
        self._launched = start.samples
        self._arrived: dict[int, Outcome] = {}
        self._is_over = start.samples >= until or goal.is_reached(start, scale)

    @property
    def decision(self) -> Tally | None:
        """The tally once the piece is over; None while more outcomes are needed."""
        return self.tally if self._is_over else None

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
        if not self.tally.samples <= index < self._launched or index in self._arrived:
            raise CertificationError(
                f"outcome for variant {index} cannot be counted: it was not launched or has been "
                "recorded before; record each launched index once"
            )
        self._arrived[index] = outcome
        while not self._is_over and self.tally.samples in self._arrived:
            self._consume(self._arrived.pop(self.tally.samples))

    def _consume(self, outcome: Outcome) -> None:
        self.tally = self._goal.with_look(self.tally.after(outcome))
        done = self._goal.is_reached(self.tally, self._scale)
        self._is_over = done or self.tally.samples >= self._until
