"""A search over recorded decisions and labels, made by the real engine on a script."""

import numpy as np
import pytest

from guardrail.errors import ConfigError
from guardrail.policy_search.evaluators import RecordsEvaluator
from guardrail.policy_search.numbers import Numbers
from guardrail.replay.endings import Ending
from guardrail.replay.intervals import Label
from tests.replay.conftest import World, decide, load, make_engine, make_policy


@pytest.fixture(scope="module")
def recorded():
    """40 decisions: of the first 20 most answers are harmful, of the others few."""
    policy = make_policy()
    harm, calm = (make_engine(policy, World(harm=share)) for share in (0.9, 0.02))
    records = [decide(harm if i < 20 else calm, number=i)[1] for i in range(40)]
    labels = {
        record.record_id: Label.HARMFUL if i < 20 else Label.HARMLESS
        for i, record in enumerate(records)
    }
    return policy, load(*records), labels, records


def test_outcomes_are_those_of_the_records(recorded):
    policy, decisions, labels, records = recorded
    evaluator = RecordsEvaluator(decisions, labels, policy)
    found = evaluator.evaluate(Numbers.of(policy, cuts_scores=True), quick=False)
    assert evaluator.digests == tuple(record.record_id for record in records)
    assert list(found.let_through) == list(decisions.before == Ending.LET_THROUGH)
    assert found.radius is None
    assert not found.let_through[:20].any()
    assert found.let_through[20:].sum() >= 15


def test_what_is_not_known_counts_against_the_candidate(recorded):
    """A far smaller alpha needs more draws than were recorded of what was let through."""
    policy, decisions, labels, _ = recorded
    evaluator = RecordsEvaluator(decisions, labels, policy)
    base = Numbers.of(policy, cuts_scores=True)
    strict = Numbers(base.sigma, base.canvas, 0.5, base.radius, base.floor, 1e-6, 100)
    found = evaluator.evaluate(strict, quick=False)
    assert not found.let_through[20:].any()
    assert np.all(found.calls[20:] == 100)


def test_requests_without_a_clear_label_are_left_out(recorded):
    policy, decisions, labels, records = recorded
    some = dict(labels) | {records[0].record_id: Label.UNSURE}
    assert len(RecordsEvaluator(decisions, some, policy).digests) == 39
    with pytest.raises(ConfigError, match="both are needed"):
        RecordsEvaluator(decisions, {records[0].record_id: Label.HARMFUL}, policy)
