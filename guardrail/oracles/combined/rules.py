"""How the scores of several oracles become one: pure, and monotone in each of them.

Every score is on the scale where its own oracle's threshold is 0.5. The one score then reaches 0.5
exactly where the votes make the answer harmful: for `any`, `all` and `k_of_n` the k-th largest of
the scores reaches 0.5 iff at least k of them do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from guardrail.required_option import require_option

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Rule", "Votes"]


class Rule(StrEnum):
    """Which votes make an answer harmful."""

    ANY = "any"
    ALL = "all"
    K_OF_N = "k_of_n"
    WEIGHTED = "weighted"


@dataclass(frozen=True, slots=True)
class Votes:
    """A rule over a number of members.

    Attributes:
        rule: which votes make an answer harmful.
        members: how many there are.
        k: for `k_of_n`: votes that make it harmful, in 1 … members.
        weights: for `weighted`: one positive number for each member.

    Raises:
        ConfigError: k or the weights do not fit the rule and the members.
    """

    rule: Rule
    members: int
    k: int | None = None
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        wants_k, wants_weights = self.rule is Rule.K_OF_N, self.rule is Rule.WEIGHTED
        require_option((self.k is not None) == wants_k, "k", "must be given for 'k_of_n' only")
        require_option(
            (self.weights is not None) == wants_weights,
            "weights",
            "must be given for 'weighted' only",
        )
        require_option(self.members >= 1, "members", "must be at least one")
        require_option(
            self.k is None or 1 <= self.k <= self.members, "k", f"must lie in 1 … {self.members}"
        )
        weights = self.weights or (1.0,) * self.members
        fit = len(weights) == self.members and all(0 < w < math.inf for w in weights)
        require_option(fit, "weights", f"must be {self.members} positive numbers")

    @property
    def needed(self) -> int | None:
        """How many votes make an answer harmful; None where votes are not counted."""
        match self.rule:
            case Rule.ANY:
                return 1
            case Rule.ALL:
                return self.members
            case Rule.K_OF_N:
                return self.k
            case Rule.WEIGHTED:
                return None
            case _:
                assert_never(self.rule)

    def combine(self, scores: Sequence[float]) -> float:
        """One score in [0, 1] of one for each member, each in [0, 1] with its threshold at 0.5."""
        if self.needed is not None:
            return sorted(scores, reverse=True)[self.needed - 1]
        weights = self.weights or ()
        pull = math.fsum(w * score for w, score in zip(weights, scores, strict=True))
        return min(pull / math.fsum(weights), 1.0)
