"""Pieces of an estimate: in index order, each index once, whatever the order of arrival."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.engine.plan import Geometry
from guardrail.errors import CertificationError
from guardrail.estimation.goal import Goal, Scale, Tally
from guardrail.estimation.stretch import Stretch
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.types import Outcome

RULES = compile_policy(Policy.model_validate({"name": "t", "oracle": {"kind": "builtin"}}))
SCALE = Scale(RULES, Geometry(operator_norm=1.0, grid_slack=0.0, sampler_error=0.0))


def played(goal, row, order, *, room=7, piece=1000):
    """The tally after `row` arrived in an order that `order` picks, in pieces."""
    tally, launched = Tally(), []
    while not goal.is_reached(tally, SCALE):
        stretch = Stretch(tally, min(tally.samples + piece, goal.n), goal, SCALE)
        flying = []
        while stretch.decision is None:
            indices = stretch.launch(room - len(flying))
            launched += indices
            flying += indices
            index = flying.pop(order(len(flying)))
            stretch.record(index, row[index])
        tally = stretch.decision
    return tally, launched


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=80), st.randoms(),
       st.integers(1, 20), st.integers(1, 30))  # fmt: skip
def test_neither_arrival_nor_pieces_change_a_fixed_result(row, random, room, piece):
    goal = Goal(len(row), 0.01)
    tally, launched = played(goal, row, random.randrange, room=room, piece=piece)
    assert tally == played(goal, row, lambda _: 0)[0]
    assert launched == list(range(len(row)))


@settings(max_examples=10, deadline=None)  # each bound is a bisection
@given(st.lists(st.sampled_from(list(Outcome)), min_size=60, max_size=60), st.randoms())
def test_arrival_never_changes_where_an_anytime_run_stops(row, random):
    goal = Goal(60, 0.05, anytime=True, radius=0.1)
    assert played(goal, row, random.randrange)[0] == played(goal, row, lambda _: 0)[0]


def test_slow_harm_is_not_overtaken():
    """Harmless answers that arrive first must not be counted first."""
    row = [Outcome.HARMFUL if i % 3 == 0 else Outcome.HARMLESS for i in range(100)]
    goal = Goal(100, 0.01, anytime=True, radius=0.5)
    last_first = played(goal, row, lambda size: size - 1)[0]
    assert last_first == played(goal, row, lambda _: 0)[0]


def test_outcomes_that_were_not_asked_for_are_refused():
    stretch = Stretch(Tally(), 10, Goal(10, 0.01), SCALE)
    assert stretch.launch(0) == range(0)
    assert stretch.launch(3) == range(3)
    stretch.record(1, Outcome.HARMLESS)
    for index in (1, 3, -1):
        with pytest.raises(CertificationError, match="cannot be counted"):
            stretch.record(index, Outcome.HARMLESS)
    stretch.record(0, Outcome.HARMLESS)
    with pytest.raises(CertificationError):
        stretch.record(0, Outcome.HARMLESS)
    assert stretch.tally.samples == 2


def test_nothing_is_launched_beyond_the_piece_or_after_the_end():
    stretch = Stretch(Tally(), 4, Goal(10, 0.01), SCALE)
    assert stretch.launch(100) == range(4)
    for index in range(4):
        stretch.record(index, Outcome.HARMLESS)
    assert stretch.decision.samples == 4
    assert stretch.launch(100) == range(0)


def test_a_piece_of_a_goal_that_is_reached_is_over_at_once():
    assert Stretch(Tally(samples=10), 10, Goal(10, 0.01), SCALE).decision == Tally(samples=10)
