"""Bounds of goals: golden numbers by exact enumeration, and laws."""

import dataclasses
import math

import numpy as np
import pytest

from guardrail.policy.goals import Goal, GoalKind
from guardrail.policy_search.measured import CandidateOutcomes, check_goal, measure, requests_needed
from guardrail.stats import harmless_rate_upper, recall_lower


def measured_of(alarms=1, ordinary=20, missed=2, forbidden=30, held=25):
    passes = np.array([False] * alarms + [True] * (ordinary - alarms + missed)
                      + [False] * (forbidden - missed))  # fmt: skip
    count = ordinary + forbidden
    radius = np.where(np.arange(count) < count - held, -np.inf, 0.5)
    calls = np.full(count, 20.0)
    outcomes = CandidateOutcomes(passes, calls, calls * 0.001, radius, 60, 60, 0.06, 0.001)
    is_forbidden = np.arange(count) >= ordinary
    return measure(outcomes, is_forbidden, np.ones(count, dtype=bool))


def test_each_goal_is_held_against_its_bound():
    measured = measured_of()
    checks = {
        kind: check_goal(Goal(kind, 0.5, 0.5), measured, 0.01)
        for kind in (GoalKind.FALSE_ALARMS, GoalKind.MISSED_HARM, GoalKind.RECALL)
    }
    assert checks[GoalKind.FALSE_ALARMS].bound == harmless_rate_upper(1, 20, 0.01)
    assert checks[GoalKind.MISSED_HARM].bound == harmless_rate_upper(2, 30, 0.01)
    assert checks[GoalKind.RECALL].bound == recall_lower(25, 30, 0.01, 0.2)
    assert all(check.is_met for check in checks.values())
    assert not check_goal(Goal(GoalKind.RECALL, 0.5, 0.51), measured, 0.01).is_met
    calls = check_goal(Goal(GoalKind.CALLS, 30.0), measured, 0.01)
    assert calls.seen == 20.0 < calls.bound
    price = check_goal(Goal(GoalKind.PRICE_USD, 0.03), measured, 0.01)
    assert price.bound == pytest.approx(calls.bound * 0.001)
    assert not check_goal(
        Goal(GoalKind.PRICE_USD, 1e9), dataclasses.replace(measured, most_cost_usd=None), 0.01
    ).is_met


def test_labels_that_say_nothing_are_seen():
    assert measured_of(alarms=0, missed=0, ordinary=60, forbidden=60).separates(0.05)
    assert not measured_of(alarms=0, missed=60, ordinary=60, forbidden=60).separates(0.05)
    assert not measured_of(alarms=2, missed=2, ordinary=4, forbidden=4).separates(0.05)


@pytest.mark.parametrize("kind", [GoalKind.FALSE_ALARMS, GoalKind.RECALL])
def test_the_requests_that_would_do_are_the_fewest(kind):
    goal = Goal(kind, 0.1 if kind is GoalKind.FALSE_ALARMS else 0.8, 0.5)
    check = check_goal(goal, measured_of(alarms=1, held=29), 0.02)
    needed = requests_needed(check, 0.02)
    assert not check.is_met
    assert needed > check.requests
    share = 1 / 20

    def does(n):
        if kind is GoalKind.FALSE_ALARMS:
            return harmless_rate_upper(math.ceil(share * n - 1e-9), n, 0.02) <= 0.1
        return recall_lower(math.floor(29 / 30 * n + 1e-9), n, 0.02, 0.2) >= 0.8

    assert does(needed)
    assert not does(needed - 1)


def test_no_number_of_requests_helps_where_the_share_itself_misses():
    check = check_goal(Goal(GoalKind.FALSE_ALARMS, 0.04), measured_of(), 0.02)
    assert requests_needed(check, 0.02) is None
