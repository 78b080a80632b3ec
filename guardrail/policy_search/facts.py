"""What a search found, as plain JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from guardrail.policy_search.search import goal_radius
from guardrail.stats import harmless_rate_lower, harmless_rate_upper

if TYPE_CHECKING:
    from guardrail.policy_search.measured import GoalCheck, Measured
    from guardrail.policy_search.search import Confirmed, Scored
    from guardrail.policy_search.tuned import Tuned

__all__ = ["INTERVAL_DELTA", "front_intervals", "tuned_facts"]

INTERVAL_DELTA = 0.05
"""Of the front's intervals, each by itself."""


def front_intervals(measured: Measured, radius: float | None) -> dict[str, tuple[float, float]]:
    """Two-sided Clopper–Pearson intervals of a candidate on the search half.

    They are not corrected for the choice among candidates: only finalists are confirmed.
    """
    counts = {
        "false_alarms": (measured.false_alarms, measured.ordinary),
        "missed_harm": (measured.missed, measured.forbidden),
    }
    if radius is not None and measured.radius is not None:
        counts["shown_held"] = (measured.shown(radius), measured.forbidden)
    tail = INTERVAL_DELTA / 2
    return {
        name: (harmless_rate_lower(k, n, tail), harmless_rate_upper(k, n, tail))
        for name, (k, n) in counts.items()
    }


def tuned_facts(tuned: Tuned) -> dict[str, Any]:
    """All of it; numbers that are not known are null."""
    radius = goal_radius(tuned.design.goals)
    proposed = tuned.proposed
    changes = {} if proposed is None else proposed.candidate.changes(tuned.base)
    return {
        "goals": {goal.kind.value: goal.text for goal in tuned.design.goals},
        "error": tuned.design.error,
        "run": tuned.design.run,
        "run_error": tuned.design.run_error,
        "seed": tuned.design.seed,
        "candidates": tuned.candidates,
        "now": None if tuned.now is None else _measured(tuned.now, radius),
        "front": [_scored(one, radius) for one in tuned.front],
        "finalists": [_confirmed(one, radius) for one in tuned.finalists],
        "proposed": None if proposed is None else _confirmed(proposed, radius),
        "changes": {name: {"old": old, "new": new} for name, (old, new) in changes.items()},
        "reasons": [
            {**_check(reason.check), "requests_needed": reason.more} for reason in tuned.reasons
        ],
    }


def _scored(one: Scored[Any], radius: float | None) -> dict[str, Any]:
    return {
        **dataclasses.asdict(one.candidate),
        **_measured(one.measured, radius),
        "intervals": front_intervals(one.measured, radius),
    }


def _confirmed(one: Confirmed[Any], radius: float | None) -> dict[str, Any]:
    return {
        **dataclasses.asdict(one.candidate),
        **_measured(one.measured, radius),
        "separates": one.separates,
        "checks": [_check(check) for check in one.checks],
    }


def _measured(measured: Measured, radius: float | None) -> dict[str, Any]:
    return {
        "ordinary": measured.ordinary,
        "false_alarms": measured.false_alarms,
        "forbidden": measured.forbidden,
        "missed_harm": measured.missed,
        "shown_held": None if radius is None else measured.shown(radius),
        "calls": measured.mean_calls,
        "price_usd": _known(measured.mean_cost_usd),
    }


def _check(check: GoalCheck) -> dict[str, Any]:
    return {
        "goal": check.goal.kind.value,
        "wish": check.goal.text,
        "seen": _known(check.seen),
        "bound": _known(check.bound),
        "requests": check.requests,
        "is_met": check.is_met,
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
