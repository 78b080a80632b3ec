"""Bounds of goals: golden numbers by exact enumeration, and laws."""

import itertools
import math

import numpy as np
import pytest

from guardrail.errors import CertificationError
from guardrail.policy.goals import Goal, GoalKind
from guardrail.policy_search.measured import CandidateOutcomes, check_goal, measure, requests_needed
from guardrail.stats import harmless_rate_upper, mean_upper, recall_lower


def measured_of(alarms=1, ordinary=20, missed=2, forbidden=30, held=25):
    passes = np.array([False] * alarms + [True] * (ordinary - alarms + missed)
                      + [False] * (forbidden - missed))  # fmt: skip
    count = ordinary + forbidden
    radius = np.where(np.arange(count) < count - held, -np.inf, 0.5)
    calls = np.full(count, 20.0)
    outcomes = CandidateOutcomes(passes, calls, calls * 0.001, radius, 60.0, 0.06)
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


def test_the_bound_of_a_mean_holds_in_every_small_world():
    """All runs of four draws from three values, weighed: it fails no more often than alpha."""
    values, alpha = (0.0, 0.3, 1.0), 0.2
    bounds = {draws: mean_upper(draws, 1.0, alpha) for draws in itertools.product(values, repeat=4)}
    for weights in itertools.product((0.02, 0.2, 0.5, 0.9), repeat=3):
        shares = [weight / sum(weights) for weight in weights]
        mean = sum(v * s for v, s in zip(values, shares, strict=True))
        fails = sum(
            math.prod(shares[values.index(v)] for v in draws)
            for draws, bound in bounds.items()
            if bound < mean
        )
        assert fails <= alpha


def test_the_bound_of_a_mean_is_near_it_where_numbers_spread_little():
    assert mean_upper([20.0] * 300, 200.0, 0.01) < 24.5
    assert mean_upper([], 200.0, 0.01) == 200.0
    assert mean_upper([200.0] * 50, 200.0, 0.01) == 200.0
    assert mean_upper([1.0, 2.0], 10.0, 0.01) > mean_upper([1.0, 1.0], 10.0, 0.01)
    with pytest.raises(CertificationError, match="between 0 and 10"):
        mean_upper([11.0], 10.0, 0.01)
