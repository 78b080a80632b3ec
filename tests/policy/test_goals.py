"""Goals in words: what is read, what is refused, and that they decide nothing."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from guardrail.cli.policy import command as policy_command
from guardrail.errors import ConfigError
from guardrail.policy.compile import policy_digest
from guardrail.policy.goals import Goal, GoalKind, parse_goal, parse_goals
from guardrail.policy.load import parse_policy

GOALS = "goals: {false_alarms: '<= 1%', recall: '>= 95% within 0.5', price_usd: '<= 0.02'}\n"


def policy_with(text):
    return parse_policy(f"name: mine\n{text}".encode(), file="mine.yaml")


def test_goals_are_read_as_they_are_said():
    assert policy_with(GOALS).goals.wishes == (
        Goal(GoalKind.FALSE_ALARMS, 0.01),
        Goal(GoalKind.RECALL, 0.95, 0.5),
        Goal(GoalKind.PRICE_USD, 0.02),
    )
    assert parse_goals(["missed_harm<=0.02", "calls: <= 30"]) == (
        Goal(GoalKind.MISSED_HARM, 0.02),
        Goal(GoalKind.CALLS, 30.0),
    )


def test_goals_decide_nothing():
    assert policy_digest(policy_with(GOALS)) == policy_digest(policy_with(""))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("false_alarms: 1%", "such as '<= 1%', not '1%'"),
        ("false_alarms: '<= 0%'", "between 0 and 100 %"),
        ("missed_harm: '<= 100%'", "between 0 and 100 %"),
        ("recall: '>= 95%'", "'>= 95% within 0.5'"),
        ("recall: '>= 95% within 1000'", "at most 100"),
        ("calls: '<= 0'", "'<= 30'"),
        ("price_usd: '>= 2'", "'<= 0.02'"),
        ("price_usd: 0.02", "give a text"),
        ("false_alarm: '<= 1%'", "did you mean 'goals.false_alarms'"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_to_write(written, told):
    with pytest.raises(ConfigError, match=r"mine\.yaml:2, field 'goals") as caught:
        policy_with(f"goals: {{{written}}}\n")
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["recal >= 1% within 1", "false_alarms", "<= 1%", ""])
def test_goals_of_a_command_line_are_refused_by_name(text):
    with pytest.raises(ConfigError, match="is no goal; write one of false_alarms"):
        parse_goals([text])
    with pytest.raises(ConfigError, match="two goals"):
        parse_goals(["calls <= 1", "calls <= 2"])


@given(
    st.sampled_from(list(GoalKind)),
    st.floats(1e-4, 0.9999).map(lambda x: float(f"{x:.6g}")),
    st.floats(0, 100).map(lambda x: float(f"{x:.4f}")),
)
def test_a_goal_is_read_back_as_it_is_written(kind, limit, radius):
    goal = Goal(kind, limit, radius if kind is GoalKind.RECALL else None)
    again = parse_goal(kind, goal.text)
    assert (again.kind, again.limit) == (kind, pytest.approx(limit))
    assert again.radius == (pytest.approx(radius, rel=1e-4) if goal.radius is not None else None)


@given(st.sampled_from(list(GoalKind)), st.text())
def test_no_text_is_read_as_a_goal_that_cannot_be(kind, text):
    try:
        goal = parse_goal(kind, text)
    except ValueError:
        return
    assert goal.limit > 0


def test_policy_check_prints_them(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: mine\n{GOALS}")
    told = CliRunner().invoke(policy_command, ["check", str(file)])
    text = " ".join(told.stdout.split())
    assert "goals false alarms at most 1%; recall at least 95% within 0.5" in text
    found = CliRunner().invoke(policy_command, ["check", "--json", str(file)])
    assert json.loads(found.stdout)["goals"]["recall"] == ">= 95% within 0.5"
