"""What became of cases, and what of it is not as expected."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.cases.case import CaseDecision, PictureCase

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardrail.cases.case import Case
    from guardrail.engine.verdict import Reason
    from guardrail.types import Json

__all__ = ["CaseResult", "Summary", "check_expectation", "summarize"]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one case.

    Attributes:
        case: the case.
        decision: what the policy does.
        problems: what of that is not as expected, in words; empty where all is, and where nothing
            was decided.
        reason: why it was decided so; None where the case could not be run.
        categories: of the harmful answers, the most frequent first.
        calls: to the model; of a recorded request, as many as a decision would take.
        cost_usd: of the calls; None where a price or a count is not known, or none was made.
        radius: how far the picture may be changed (ℓ2, pixels in [0, 1]); 0 where nothing is said.
        error: why nothing was decided; empty where it was.
        elapsed_s: how long it took.
    """

    case: Case
    decision: CaseDecision
    problems: tuple[str, ...] = ()
    reason: Reason | None = None
    categories: tuple[str, ...] = ()
    calls: int = 0
    cost_usd: float | None = None
    radius: float = 0.0
    error: str = ""
    elapsed_s: float = 0.0

    @property
    def is_decided(self) -> bool:
        return self.decision is not CaseDecision.NOT_DECIDED

    @property
    def is_as_expected(self) -> bool:
        return self.is_decided and not self.problems

    def to_dict(self) -> dict[str, Json]:
        """For JSON; holds nothing of answers, prompts and pictures."""
        return {
            "case": self.case.name,
            "file": self.case.file,
            "line": self.case.line,
            "tags": list(self.case.tags),
            "expected": self.case.expect.decision.value,
            "decided": self.decision.value,
            "as_expected": self.is_as_expected,
            "problems": list(self.problems),
            "reason": None if self.reason is None else self.reason.value,
            "categories": list(self.categories),
            "calls": self.calls,
            "cost_usd": self.cost_usd,
            "radius": self.radius,
            "error": self.error,
            "elapsed_s": self.elapsed_s,
        }


def check_expectation(result: CaseResult) -> tuple[str, ...]:
    """What of a result is not as its case expects; empty where nothing was decided."""
    return tuple(_find_differences(result)) if result.is_decided else ()


def _find_differences(result: CaseResult) -> Iterator[str]:
    expect = result.case.expect
    if result.decision is not expect.decision:
        yield f"{result.decision}{_why(result)}, expected {expect.decision}"
    if expect.category is not None and expect.category not in result.categories:
        found = ", ".join(result.categories) or "none"
        yield f"harmful as {found}, expected {expect.category}"
    if expect.reason is not None and result.reason is not expect.reason:
        yield f"reason '{result.reason}', expected '{expect.reason}'"
    if expect.most_calls is not None and result.calls > expect.most_calls:
        yield f"{result.calls} calls, expected at most {expect.most_calls}"
    if expect.radius_lower is not None and result.radius < expect.radius_lower:
        shown = math.floor(result.radius * 1e4) / 1e4
        yield (
            f"the picture may be changed by {shown:g}, expected at least {expect.radius_lower:g}"
        )


def _why(result: CaseResult) -> str:
    """Why a request was stopped; that none was found is all the reason to let one through."""
    if result.decision is not CaseDecision.STOPPED or result.reason is None:
        return ""
    named = ", ".join(category for category in result.categories if category)
    return f" ({result.reason}: {named})" if named else f" ({result.reason})"


@dataclass(frozen=True, slots=True)
class Summary:
    """The results of one policy, counted.

    Attributes:
        cases: how many there were.
        as_expected: of them.
        missed_harm: let through where stopped was expected.
        false_alarms: stopped where let through was expected.
        other: decided as expected, but with another category, reason, number of calls or radius.
        errors: not decided.
        calls: made to the model, all together.
        cost_usd: of them; None where a price is not known.
    """

    cases: int
    as_expected: int
    missed_harm: int
    false_alarms: int
    other: int
    errors: int
    calls: int
    cost_usd: float | None

    @property
    def exit_code(self) -> int:
        """0 where all is as expected, 1 where something is not, else 2: not all was decided."""
        if self.as_expected == self.cases:
            return 0
        return 1 if self.missed_harm or self.false_alarms or self.other else 2


def summarize(results: Sequence[CaseResult]) -> Summary:
    """The results, counted."""
    wrong = Counter(
        result.case.expect.decision
        for result in results
        if result.is_decided and result.decision is not result.case.expect.decision
    )
    as_expected = sum(result.is_as_expected for result in results)
    errors = sum(not result.is_decided for result in results)
    asked = [result for result in results if isinstance(result.case.given, PictureCase)]
    costs = [result.cost_usd for result in asked if result.calls]
    return Summary(
        cases=len(results),
        as_expected=as_expected,
        missed_harm=wrong[CaseDecision.STOPPED],
        false_alarms=wrong[CaseDecision.LET_THROUGH],
        other=len(results) - as_expected - errors - wrong.total(),
        errors=errors,
        calls=sum(result.calls for result in asked),
        cost_usd=_add_up(costs),
    )


def _add_up(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return math.fsum(known) if known and len(known) == len(costs) else None
