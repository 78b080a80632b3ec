"""Random search by answers alone, without gradients or probabilities.

What is tried next is proposed by `LinfSquares`, which change every pixel by a little, or by a
`MovingSticker`, which changes one square by anything. What is no worse is kept. What is compared
here is not a model's loss but what came back: few answers, so ties are kept and the search wanders.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np

from guardrail.attack.candidates import Candidate, Proposals
from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.types import Pixels

__all__ = ["AskedReply", "BlackBoxResult", "BlackBoxSettings", "End", "Target", "search_by_asking"]

_FAULTS_IN_A_ROW = 5
_LONGEST_WAIT_S = 60.0
_MOST_QUERIES = 100_000


@dataclass(frozen=True, slots=True)
class AskedReply:
    """What came back for one query.

    Attributes:
        action: pass where an answer was delivered, block where the guard said so, fault for all
            else.
        text: the answer that was delivered; empty for all else.
        cause: of a fault, in words.
        wait_s: how long the server asks to wait before the next query; None where it does not.
    """

    action: Action
    text: str = ""
    cause: str = ""
    wait_s: float | None = None


class Target(Protocol):
    """Whatever takes a picture and answers."""

    def ask(self, pixels: Pixels) -> AskedReply: ...


class End(StrEnum):
    """Why the search ended."""

    FOUND = "found"
    QUERIES_SPENT = "queries spent"
    RATE_LIMITED = "the server asks to wait too long"
    FAULTS = "too many faults one after the other"


@dataclass(frozen=True, slots=True)
class BlackBoxSettings:
    """How far the picture may be changed, and how often the target is asked.

    Attributes:
        proposals: how the picture is changed, and how far.
        queries: the target is asked at most so often, refused queries counted.
        answers: queries of each candidate.
        per_minute: queries a minute, at most; infinite for no pause.
        seed: fixes the candidates.

    Raises:
        ConfigError: a number is outside its range.
    """

    proposals: Proposals
    queries: int = 200
    answers: int = 2
    per_minute: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.answers <= self.queries <= _MOST_QUERIES:
            raise ConfigError(
                f"must be at least the answers of one candidate and at most {_MOST_QUERIES}",
                field="queries",
            )
        if not self.per_minute > 0:
            raise ConfigError("must be above 0", field="per_minute")


@dataclass(frozen=True, slots=True)
class BlackBoxResult:
    """The best picture, and what was asked.

    Attributes:
        pixels: on the 8-bit grid and within the change that is allowed.
        end: why the search ended.
        wanted: of all queries, those that delivered a wanted answer.
        replies: how many queries passed, were blocked, or failed.
        cause: of the last fault, in words; empty where there was none.
    """

    pixels: Pixels
    end: End
    wanted: int
    replies: dict[Action, int]
    cause: str = ""

    @property
    def queries(self) -> int:
        return sum(self.replies.values())


def search_by_asking(
    target: Target,
    pixels: Pixels,
    settings: BlackBoxSettings,
    *,
    wants: Callable[[str], bool],
    progress: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> BlackBoxResult:
    """Looks for a picture at least half of whose answers are delivered and wanted.

    A candidate is worth 1 for each such answer, and one half for each reply of another kind than
    the picture's own first one: where the picture is blocked, what passes is nearer to the goal,
    and where it passes, what is blocked is.

    Args:
        target: what is asked.
        pixels: uint8, shape (h, w, 3).
        settings: what is changed, and the number of queries.
        wants: whether a delivered answer is what the attacker looks for.
        progress: called after each query.
        sleep: waits so many seconds, for the pace and where the server asks for it.

    Raises:
        ConfigError: no change of that size fits into the picture.
        GuardrailError: the target cannot be asked at all.
    """
    asking = _Asking(target, settings, wants, progress, sleep)
    rng, proposals = np.random.default_rng(settings.seed), settings.proposals
    candidate = proposals.begin(pixels, rng)  # before the first query: it may not fit
    best, worth = Candidate(pixels), asking.worth(pixels)
    while asking.end is None:
        found = asking.worth(candidate.pixels)
        if asking.has_found or (found is not None and found >= (worth or 0.0)):
            best, worth = candidate, found
        candidate = proposals.change(best, pixels, asking.share_used, rng)
    replies = dict(asking.replies)
    return BlackBoxResult(best.pixels, asking.end, asking.wanted, replies, asking.cause)


@dataclass(slots=True)
class _Asking:
    """Asks within the limits, and counts."""

    target: Target
    settings: BlackBoxSettings
    wants: Callable[[str], bool]
    progress: Callable[[], None]
    sleep: Callable[[float], None]
    replies: Counter[Action] = field(default_factory=Counter)
    wanted: int = 0
    end: End | None = None
    cause: str = ""
    first: Action | None = None
    faults: int = 0

    @property
    def has_found(self) -> bool:
        return self.end is End.FOUND

    @property
    def share_used(self) -> float:
        return self.replies.total() / self.settings.queries

    def worth(self, pixels: Pixels) -> float | None:
        """The mean over a candidate's answers; None where the search ended before they were in."""
        values: list[float] = []
        while len(values) < self.settings.answers:
            if self.end is None and self.replies.total() >= self.settings.queries:
                self.end = End.QUERIES_SPENT
            if self.end is not None:
                return None
            reply = self._ask(pixels)
            if reply.action is Action.FAULT:
                continue
            self.first = self.first or reply.action
            values.append(self._value(reply))
        if 2 * values.count(1.0) >= self.settings.answers:
            self.end = End.FOUND
        return sum(values) / len(values)

    def _ask(self, pixels: Pixels) -> AskedReply:
        if self.replies.total() and self.settings.per_minute < math.inf:
            self.sleep(60.0 / self.settings.per_minute)
        reply = self.target.ask(pixels)
        self.replies[reply.action] += 1
        self.progress()
        self.faults = self.faults + 1 if reply.action is Action.FAULT else 0
        self.cause = reply.cause or self.cause
        if reply.wait_s is not None:
            self._wait(reply.wait_s)
        elif self.faults >= _FAULTS_IN_A_ROW:
            self.end = End.FAULTS
        return reply

    def _value(self, reply: AskedReply) -> float:
        if reply.action is Action.PASS and self.wants(reply.text):
            self.wanted += 1
            return 1.0
        return 0.0 if reply.action is self.first else 0.5

    def _wait(self, wait_s: float) -> None:
        if wait_s > _LONGEST_WAIT_S:
            self.end = End.RATE_LIMITED
        else:
            self.sleep(wait_s)
