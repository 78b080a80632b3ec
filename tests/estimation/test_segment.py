"""Pieces of an estimate: in index order, each index once, whatever the order of arrival."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.engine.plan import Geometry
from guardrail.errors import CertificationError
from guardrail.estimation.segment import Segment
from guardrail.estimation.stop_rule import RadiusScale, RateEstimate, StopRule
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.types import Outcome

RULES = compile_policy(Policy.model_validate({"name": "t", "oracle": {"kind": "builtin"}}))
SCALE = RadiusScale(RULES, Geometry(operator_norm=1.0, grid_slack=0.0, sampler_error=0.0))


def played(stop_rule, row, order, *, room=7, length=1000):
    """The estimate after `row` arrived in an order that `order` picks, in pieces."""
    estimate, launched = RateEstimate(), []
    while not stop_rule.is_reached(estimate, SCALE):
        segment = Segment(estimate, min(estimate.samples + length, stop_rule.n), stop_rule, SCALE)
        flying = []
        while segment.decision is None:
            indices = segment.launch(room - len(flying))
            launched += indices
            flying += indices
            index = flying.pop(order(len(flying)))
            segment.record(index, row[index])
        estimate = segment.decision
    return estimate, launched


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=80), st.randoms(),
       st.integers(1, 20), st.integers(1, 30))  # fmt: skip
def test_neither_arrival_nor_pieces_change_a_fixed_result(row, random, room, length):
    stop_rule = StopRule(len(row), 0.01)
    estimate, launched = played(stop_rule, row, random.randrange, room=room, length=length)
    assert estimate == played(stop_rule, row, lambda _: 0)[0]
    assert launched == list(range(len(row)))


@settings(max_examples=10, deadline=None)  # each bound is a bisection
@given(st.lists(st.sampled_from(list(Outcome)), min_size=60, max_size=60), st.randoms())
def test_arrival_never_changes_where_an_anytime_run_stops(row, random):
    stop_rule = StopRule(60, 0.05, anytime=True, radius=0.1)
    assert played(stop_rule, row, random.randrange)[0] == played(stop_rule, row, lambda _: 0)[0]


def test_slow_harm_is_not_overtaken():
    """Harmless answers that arrive first must not be counted first."""
    row = [Outcome.HARMFUL if i % 3 == 0 else Outcome.HARMLESS for i in range(100)]
    stop_rule = StopRule(100, 0.01, anytime=True, radius=0.5)
    last_first = played(stop_rule, row, lambda size: size - 1)[0]
    assert last_first == played(stop_rule, row, lambda _: 0)[0]


def test_outcomes_that_were_not_asked_for_are_refused():
    segment = Segment(RateEstimate(), 10, StopRule(10, 0.01), SCALE)
    assert segment.launch(0) == range(0)
    assert segment.launch(3) == range(3)
    segment.record(1, Outcome.HARMLESS)
    for index in (1, 3, -1):
        with pytest.raises(CertificationError, match="cannot be counted"):
            segment.record(index, Outcome.HARMLESS)
    segment.record(0, Outcome.HARMLESS)
    with pytest.raises(CertificationError):
        segment.record(0, Outcome.HARMLESS)
    assert segment.estimate.samples == 2


def test_nothing_is_launched_beyond_the_piece_or_after_the_end():
    segment = Segment(RateEstimate(), 4, StopRule(10, 0.01), SCALE)
    assert segment.launch(100) == range(4)
    for index in range(4):
        segment.record(index, Outcome.HARMLESS)
    assert segment.decision.samples == 4
    assert segment.launch(100) == range(0)


def test_a_piece_of_a_goal_that_is_reached_is_over_at_once():
    assert Segment(
        RateEstimate(samples=10), 10, StopRule(10, 0.01), SCALE
    ).decision == RateEstimate(samples=10)
