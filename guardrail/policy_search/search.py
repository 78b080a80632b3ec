"""Chooses among candidates on one half of the requests and confirms the choice on the other.

The search half may be looked at in any way. From it come the front (candidates that no other one
beats in false alarms, harm and calls) and at most `finalists` of them. The other half is looked at
for these alone, each bound at `error / finalists`, where `error` is that of the run (see
`SearchDesign.run_error`). A candidate is proposed only if every goal is
met by its bound there. If it truly misses one, the bound of that one goal is wrong, which has
probability at most `error / finalists`; so some candidate that misses a goal is proposed with
probability at most `error`, however the finalists were chosen and however many candidates there
were.

Beside its goals a proposal must show that ordinary requests pass more often than forbidden ones.
Labels that say nothing about the requests lead to a proposal with probability at most `error`,
whatever the goals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from guardrail.policy.goals import GoalKind
from guardrail.policy_search.measured import check_goal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.policy.goals import Goal
    from guardrail.policy_search.measured import GoalCheck, Measured

__all__ = [
    "Confirmed",
    "Scored",
    "choose_finalists",
    "confirm",
    "find_front",
    "goal_radius",
    "score",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Scored(Generic[T]):
    """A candidate on the search half.

    Attributes:
        candidate: any name of it.
        measured: its outcomes there.
        checks: the goals, each bound at the error that it will be confirmed at.
    """

    candidate: T
    measured: Measured
    checks: tuple[GoalCheck, ...]

    @property
    def worst_gap(self) -> float:
        return max((check.gap for check in self.checks), default=-math.inf)

    @property
    def is_promising(self) -> bool:
        """Whether all goals are met by what was seen."""
        return all(check.is_seen for check in self.checks)

    @property
    def is_sure(self) -> bool:
        """Whether they are met by the bounds as well."""
        return all(check.is_met for check in self.checks)


def score(candidate: T, measured: Measured, goals: Sequence[Goal], error: float) -> Scored[T]:
    """A candidate held against the goals."""
    return Scored(candidate, measured, tuple(check_goal(goal, measured, error) for goal in goals))


def find_front(found: Sequence[Scored[T]], radius: float | None) -> list[Scored[T]]:
    """Those that no other one beats, fewest calls first.

    One beats another if it is nowhere worse and somewhere better in: false alarms; missed harm, or
    with a radius the forbidden requests that are not shown held there; calls. Of equals the first
    stays.
    """
    keys = [_costs(one.measured, radius) for one in found]
    order = sorted(range(len(found)), key=lambda i: (keys[i], i))
    front: list[int] = []
    for i in order:  # what beats another one stands before it
        if not any(_is_at_most(keys[j], keys[i]) for j in front):
            front.append(i)
    return [found[i] for i in sorted(front, key=lambda i: (keys[i][2], i))]


def choose_finalists(
    front: Sequence[Scored[T]], most: int, radius: float | None = None
) -> list[Scored[T]]:
    """At most `most` that look as if they met all goals.

    Those that are sure on this half go first, the cheapest before others, then what comes nearest
    to being sure. The last place is kept for the candidate with the most room in its worst goal.
    """
    promising = [one for one in front if one.is_promising]
    promising.sort(key=lambda one: (not one.is_sure, max(one.worst_gap, 0.0), _key(one, radius)))
    if len(promising) <= most:
        return promising
    safest = min(promising, key=lambda one: (one.worst_gap, _key(one, radius)))
    others = [one for one in promising if one is not safest]
    return [*others[: most - 1], safest]


@dataclass(frozen=True, slots=True, eq=False)
class Confirmed(Generic[T]):
    """A finalist on the other half.

    Attributes:
        candidate: the candidate.
        measured: its outcomes there.
        checks: the goals, each bound at its share of the error.
        separates: whether ordinary requests are shown to pass more often than forbidden ones.
    """

    candidate: T
    measured: Measured
    checks: tuple[GoalCheck, ...]
    separates: bool

    @property
    def is_proposed(self) -> bool:
        return self.separates and all(check.is_met for check in self.checks)


def confirm(candidate: T, measured: Measured, goals: Sequence[Goal], error: float) -> Confirmed[T]:
    """Holds a finalist against the goals on the half that it was not chosen by.

    Args:
        candidate: the finalist.
        measured: its outcomes on that half.
        goals: what is wished.
        error: of this finalist: that of all divided by their number.
    """
    checks = tuple(check_goal(goal, measured, error) for goal in goals)
    return Confirmed(candidate, measured, checks, measured.separates(error))


def goal_radius(goals: Sequence[Goal]) -> float | None:
    """The radius of the goal about recall, where there is one."""
    return next((goal.radius for goal in goals if goal.kind is GoalKind.RECALL), None)


def _costs(measured: Measured, radius: float | None) -> tuple[float, float, float]:
    harm = measured.missed if radius is None else measured.forbidden - measured.shown(radius)
    return float(measured.false_alarms), float(harm), measured.mean_calls


def _key(one: Scored[T], radius: float | None) -> tuple[float, ...]:
    return (one.measured.mean_calls, *_costs(one.measured, radius))


def _is_at_most(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
