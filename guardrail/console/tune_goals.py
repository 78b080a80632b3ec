"""Goals in words against what recorded decisions show of a setting: met, not met, or unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from guardrail.policy.goals import GoalKind, parse_goals

if TYPE_CHECKING:
    from guardrail.console.tune_look import SettingNumbers
    from guardrail.engine.recall import RecallStatement
    from guardrail.policy.goals import Goal
    from guardrail.policy.schema import Policy

__all__ = ["GoalState", "hold_goals", "read_goals", "write_goals"]

_UNMEASURED = (
    "records do not show it, and it was not measured for these numbers; guardrail recall --policy "
    "FILE --forbidden FILE --clean FILE measures it, with the proposed version as FILE"
)


@dataclass(frozen=True, slots=True)
class GoalState:
    """One goal.

    Attributes:
        sentence: the goal in words.
        state: `met`, `not met` or `unknown`.
        why: what it rests on.
    """

    sentence: str
    state: str
    why: str


def write_goals(policy: Policy) -> str:
    """A policy's goals, one in each line, as they are typed."""
    return "\n".join(f"{goal.kind.value} {goal.text}" for goal in policy.goals.wishes)


def read_goals(text: str) -> tuple[Goal, ...]:
    """Goals, one in each line. Raises ConfigError."""
    return parse_goals([line for line in text.splitlines() if line.strip()])


def hold_goals(
    goals: tuple[Goal, ...], numbers: SettingNumbers, recall: RecallStatement | None = None
) -> list[GoalState]:
    """Each goal against a setting.

    Args:
        goals: as they are wished.
        numbers: recorded decisions under the setting.
        recall: measured under this very setting; None where none was.
    """
    return [_hold(goal, numbers, recall) for goal in goals]


def _hold(goal: Goal, numbers: SettingNumbers, recall: RecallStatement | None) -> GoalState:
    match goal.kind:
        case GoalKind.FALSE_ALARMS | GoalKind.MISSED_HARM:
            is_alarm = goal.kind is GoalKind.FALSE_ALARMS
            share = numbers.false_alarms if is_alarm else numbers.missed_harm
            if not share.drawn:
                return GoalState(goal.sentence, "unknown", "no labels that were drawn at random")
            return _state(goal, share.lower, share.upper, "by labels that were drawn at random")
        case GoalKind.RECALL:
            return _hold_recall(goal, recall)
        case GoalKind.CALLS:
            why = "the mean over all requests here, ordinary or not"
            return _state(goal, numbers.calls_lower, numbers.calls_upper, why)
        case GoalKind.PRICE_USD:
            if numbers.cost_lower is None or numbers.cost_upper is None:
                return GoalState(goal.sentence, "unknown", "the price of a call is not known")
            why = "the mean over all requests here, ordinary or not"
            return _state(goal, numbers.cost_lower, numbers.cost_upper, why)
        case _:
            assert_never(goal.kind)


def _hold_recall(goal: Goal, recall: RecallStatement | None) -> GoalState:
    """By what was measured: met where it shows as much as far, else unknown."""
    if recall is None:
        return GoalState(goal.sentence, "unknown", _UNMEASURED)
    wished = goal.radius or 0.0
    for reach in recall.reaches:
        if reach.recall >= goal.limit and reach.radius is not None and reach.radius >= wished:
            return GoalState(goal.sentence, "met", "measured for the policy in force")
    return GoalState(
        goal.sentence, "unknown",
        f"what was measured for the policy in force does not show so much, of {recall.requests:,} "
        "requests; more of them may",
    )  # fmt: skip


def _state(goal: Goal, lower: float, upper: float, why: str) -> GoalState:
    """By an interval: met where all of it is allowed, not met where none of it is."""
    if upper <= goal.limit:
        return GoalState(goal.sentence, "met", why)
    if lower > goal.limit:
        return GoalState(goal.sentence, "not met", why)
    return GoalState(goal.sentence, "unknown", f"{why}: these do not settle it")
