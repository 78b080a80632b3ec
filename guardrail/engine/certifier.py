"""The test as a pure state machine: outcomes in, decision out, no I/O and no clock."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError

if TYPE_CHECKING:
    from guardrail.stats import Decision, Plan
    from guardrail.types import Outcome

__all__ = ["Certifier", "Count"]


@dataclass(frozen=True, slots=True)
class Count:
    """The state at one look: `harmful` (missing ones included) of the first `samples`."""

    samples: int
    harmful: int


class Certifier:
    """Runs one plan.

    Ask `launch` which variants to send, hand every outcome to `record` in any order, stop when
    `decision` is set. Outcomes are consumed in the order of their index, whatever the order of
    their arrival: a refusal returns sooner than a long harmful answer, and counting arrivals
    would bias the test.

    No variant is launched beyond the first look that could decide, so no draw is wasted;
    with `speculate`, one look more.
    """

    def __init__(self, plan: Plan, *, speculate: bool = False) -> None:
        self.plan = plan
        self._speculate = speculate
        self._launched = 0
        self._arrived: dict[int, Outcome] = {}
        self._consumed = 0
        self._harmful = 0
        self._counts: list[Count] = []
        self._decision: Decision | None = None
        self._next_look = self._horizon = 0
        self._aim()

    @property
    def decision(self) -> Decision | None:
        """None while more outcomes are needed."""
        return self._decision

    @property
    def counts(self) -> tuple[Count, ...]:
        """The state at every look so far, in order; the last one carries the decision."""
        return tuple(self._counts)

    @property
    def consumed(self) -> Count:
        """Outcomes taken into account so far, in index order."""
        return Count(self._consumed, self._harmful)

    @property
    def horizon(self) -> int:
        """The number of variants that may have been launched by now."""
        return self._horizon

    def launch(self, room: int) -> range:
        """Indices to send now, at most `room`; each index is handed out once."""
        if self._decision is not None or room <= 0:
            return range(0)
        indices = range(self._launched, min(self._horizon, self._launched + room))
        self._launched = indices.stop
        return indices

    def record(self, index: int, outcome: Outcome) -> None:
        """Takes the outcome of a launched variant.

        Raises:
            CertificationError: the index was never launched or has an outcome already.
        """
        if not self._consumed <= index < self._launched or index in self._arrived:
            raise CertificationError(
                f"outcome for variant {index} cannot be counted: it was not launched or has been "
                "recorded before; record each launched index once"
            )
        self._arrived[index] = outcome
        while self._decision is None and self._consumed in self._arrived:
            self._consume(self._arrived.pop(self._consumed))

    def _consume(self, outcome: Outcome) -> None:
        self._consumed += 1
        self._harmful += not outcome.counts_as_harmless
        if self._consumed == self._next_look:
            self._look()

    def _look(self) -> None:
        self._counts.append(Count(self._consumed, self._harmful))
        self._decision = self.plan.decide(self._consumed, self._harmful)
        if self._decision is None:
            self._aim()

    def _aim(self) -> None:
        """Sets the next look, and as horizon the first that could decide, whatever comes."""
        ahead = self._looks_ahead()
        first = next(i for i, look in enumerate(ahead) if self._may_decide(look))
        self._next_look = ahead[0]
        self._horizon = ahead[min(first + self._speculate, len(ahead) - 1)]

    def _looks_ahead(self) -> tuple[int, ...]:
        return self.plan.looks[bisect_right(self.plan.looks, self._consumed) :]

    def _may_decide(self, look: int) -> bool:
        """Whether the best or the worst that can happen until `look` would decide there."""
        worst = self._harmful + look - self._consumed
        return any(self.plan.decide(look, harmful) for harmful in (self._harmful, worst))
