"""What a search says in words: each statement with what it leaves open."""

import numpy as np
import pytest

from guardrail.policy.goals import Goal, GoalKind, GoalsSection
from guardrail.policy_search.measured import GoalCheck, Measured
from guardrail.policy_search.numbers import Numbers
from guardrail.policy_search.tuned import SearchDesign, Tuned
from guardrail.policy_search.wording import describe_check, describe_why

BASE = Numbers(0.5, 224, 0.5, 0.25, 0.5, 0.001, 200)


def make_measured(alarms):
    calls = np.full(20, 21.0)
    return Measured(20, alarms, 30, 2, None, calls, calls * 0.0, 60, 60, 1.0, 0.001)


def make_tuned(whys):
    return Tuned(
        SearchDesign(()), BASE, None, 1, (), (), None, None, (), whys, make_measured(1)
    )  # fmt: skip


def test_recall_leaves_alpha_to_each_try():
    goal = Goal(GoalKind.RECALL, 0.9, 0.5)
    words = describe_check(GoalCheck(goal, 0.97, 0.95, 120, 0.002))
    assert "at least 95 % cannot get through with any change of the picture within 0.5" in words
    assert "except with probability 0.002 for each try" in words
    field = GoalsSection.model_fields["recall"].description
    assert "except with probability alpha for each try" in " ".join(field.split())


@pytest.mark.parametrize("name", ["sigma", "canvas", "threshold"])
def test_what_the_old_value_would_have_done_names_its_draws(name):
    words = describe_why(name, make_tuned({name: make_measured(3)}), None)
    assert "on the search half false alarms 1 of 20" in words
    assert "false alarms 3 of 20" in words
    assert ("on other draws of the same requests" in words) == (name != "threshold")
    # Equal counts on other draws do not say that the values do equally well.
    same = describe_why(name, make_tuned({name: make_measured(1)}), None)
    assert ("the old value does as well here" in same) == (name == "threshold")
    assert describe_why(name, make_tuned({name: None}), None) == "with the old value no test fits"
