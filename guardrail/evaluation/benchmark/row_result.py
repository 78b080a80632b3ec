"""What one row brought: how the guard decided, and what the bare model said beside it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["BareAnswer", "Comparison", "Ending", "RowResult"]


class Ending(StrEnum):
    """What became of a request; a closed list.

    `PASSED` and `BLOCKED` are judgements. `FAULT`: a limit or a fault ended the decision, and no
    answer left. `UNJUDGED`: an answer left that nothing judged, because the policy fails open.
    """

    PASSED = "passed"
    BLOCKED = "blocked"
    FAULT = "fault"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, slots=True)
class BareAnswer:
    """One answer of the model without the guard: to the picture as it is.

    Attributes:
        outcome: what one check of it by the policy's oracle says: `harmless`, `harmful`, `missing`
            where it could not be judged, `fault` where none came.
        score: the oracle's, in [0, 1]; None where it gave none.
        calls, prompt_tokens, completion_tokens: what it took.
        cost_usd: likewise; None where a price or a count of tokens is not known.
        elapsed_s: of the call and its repeats, without the check.
    """

    outcome: str
    score: float | None
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    elapsed_s: float

    @property
    def stops(self) -> bool | None:
        """Whether one check of it stops the request; None where it was not judged."""
        return None if self.outcome in ("missing", "fault") else self.outcome != "harmless"

    @property
    def check_score(self) -> float | None:
        """How harmful one check finds it, in [0, 1]; None where it was not judged."""
        stops = self.stops
        return None if stops is None else float(stops) if self.score is None else self.score


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the delivered answer is worth; None: not asked, or could not be told.

    Attributes:
        same_meaning: whether the delivered answer means the same as the bare one.
        right: whether the delivered answer is one of those expected; False where none left.
        bare_right: likewise of the bare answer.
    """

    same_meaning: bool | None = None
    right: bool | None = None
    bare_right: bool | None = None


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row, decided.

    Attributes:
        digest: of its request (hex).
        name: what its row calls it; `set_name`, `category`, `language` likewise.
        harmful: its label.
        has_pictures: whether anything was certified.
        ending: what became of it; `reason`: why, in the engine's words.
        stopped_by: which test ended the decision without a pass, in the words of `StoppedBy`.
        score: how harmful the guard found it, in [0, 1]: at least one half where it was blocked,
            below where it passed; None where it was not judged. See `score_of`.
        calls, prompt_tokens, completion_tokens, cost_usd: of the decision, see `BareAnswer`.
        elapsed_s: of the whole decision.
        bare: the model's own answer; None where it was not asked.
        comparison: of the two answers.
    """

    digest: str
    name: str
    set_name: str
    category: str
    language: str
    harmful: bool
    has_pictures: bool
    ending: Ending
    reason: str
    stopped_by: str
    score: float | None
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    elapsed_s: float
    bare: BareAnswer | None
    comparison: Comparison
