"""What a job came to, counted over its outcomes as they are read from the log."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guardrail.bulk.outcome import RowDecision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guardrail.bulk.outcome import RowOutcome

__all__ = ["BulkSummary"]

_EXAMPLES = 100


@dataclass(slots=True)
class BulkSummary:
    """Counts of the rows of a source, decided in this run or an earlier one.

    Attributes:
        passed, blocked, not_decided: rows.
        reasons: rows by decision, reason, and the test that stopped them (`StoppedBy`).
        same_as_others: rows that share another one's decision.
        outside_claim: passes that no certificate covers.
        radii: certified radii of the passes, 8 bytes each.
        blocked_examples, undecided_examples: the first of each kind.
    """

    passed: int = 0
    blocked: int = 0
    not_decided: int = 0
    reasons: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    same_as_others: int = 0
    outside_claim: int = 0
    radii: array[float] = field(default_factory=lambda: array("d"))
    blocked_examples: list[RowOutcome] = field(default_factory=list)
    undecided_examples: list[RowOutcome] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return self.passed + self.blocked + self.not_decided

    @property
    def decisions(self) -> int:
        """Decisions that were made, each by draws of its own."""
        return self.passed + self.blocked - self.same_as_others

    def count(self, outcomes: Iterable[RowOutcome]) -> Iterator[RowOutcome]:
        """The same outcomes, counted as they pass by."""
        for outcome in outcomes:
            self.add(outcome)
            yield outcome

    def add(self, outcome: RowOutcome) -> None:
        self.reasons[outcome.decision.value, outcome.reason, outcome.stopped_by] += 1
        self.same_as_others += bool(outcome.same_as) and outcome.is_decided
        examples: list[RowOutcome] = []
        match outcome.decision:
            case RowDecision.PASS:
                self.passed += 1
                self.outside_claim += outcome.outside_claim
                if outcome.radius is not None:
                    self.radii.append(outcome.radius)
                return
            case RowDecision.BLOCK:
                self.blocked += 1
                examples = self.blocked_examples
            case RowDecision.NOT_DECIDED:
                self.not_decided += 1
                examples = self.undecided_examples
        if len(examples) < _EXAMPLES:
            examples.append(outcome)

    def radius_quartiles(self) -> tuple[float, float, float] | None:
        """Of the certified radii of the passes, each rounded to an element below; None for none."""
        if not self.radii:
            return None
        ordered = sorted(self.radii)
        last = len(ordered) - 1
        return ordered[last // 4], ordered[last // 2], ordered[3 * last // 4]

    def to_dict(self) -> dict[str, Any]:
        quartiles = self.radius_quartiles()
        return {
            "rows": self.rows,
            "passed": self.passed,
            "blocked": self.blocked,
            "not_decided": self.not_decided,
            "reasons": [
                {"decision": decision, "reason": reason, "stopped_by": stopped_by, "rows": rows}
                for (decision, reason, stopped_by), rows in self.reasons.most_common()
            ],
            "same_as_others": self.same_as_others,
            "outside_claim": self.outside_claim,
            "radius_quartiles": None if quartiles is None else list(quartiles),
        }
