"""A search over recorded decisions and labels, made by the real engine on a script."""

import json

import numpy as np
import pytest

from guardrail.cli.tune_records import prepare_records
from guardrail.errors import ConfigError
from guardrail.policy_search.evaluators import RecordsEvaluator
from guardrail.policy_search.numbers import Numbers
from guardrail.policy_search.price_cap import PriceCap
from guardrail.records.content import load_or_create_content_keys
from guardrail.records.recorder import build_record
from guardrail.replay.endings import Ending
from guardrail.replay.intervals import Label
from tests.replay.conftest import World, decide, load, make_chat, make_engine, make_policy


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


def by_number(text):
    """Another oracle, which finds what the scripted one does."""
    return float(text)


by_number.revision = "1"


def blind(text):
    """One that finds nothing."""
    del text
    return 0.0


blind.revision = "1"


def test_other_oracles_judge_the_answers_that_were_kept(tmp_path):
    keys = load_or_create_content_keys(tmp_path / "content.key")
    policy = make_policy()
    lines, labels = [], ["record_id,label"]
    for i in range(12):
        engine = make_engine(policy, World(harm=0.9 if i % 2 else 0.02))
        verdict, _ = decide(engine, number=i)
        chat = make_chat(1, f"question {i}")
        record = build_record(verdict, chat, engine, content_keys=keys)
        lines.append(json.dumps(record.to_dict()))
        labels.append(f"{record.record_id},{'harmful' if i % 2 else 'harmless'}")
    (tmp_path / "records.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "labels.csv").write_text("\n".join(labels) + "\n")
    options = {
        "place": str(tmp_path / "records.jsonl"), "labels_file": tmp_path / "labels.csv",
        "oracles": (f"{__name__}:by_number", f"{__name__}:blind"), "search_texts": (),
        "content_key": tmp_path / "content.key",
    }  # fmt: skip
    prepared = prepare_records(policy, (), PriceCap(), options)
    outcomes = {}
    for kind in (policy.oracle.kind, *options["oracles"]):
        first = next(one for one in prepared.candidates if one.oracle == kind)
        assert first.threshold == 0.5
        outcomes[kind] = prepared.evaluator.evaluate(first, quick=False)
    own, alike, unseeing = outcomes.values()
    forbidden = prepared.evaluator.forbidden
    assert np.array_equal(own.let_through, alike.let_through)
    assert np.array_equal(own.calls, alike.calls)
    assert not own.let_through[forbidden].any()
    assert unseeing.let_through.all()  # what it would let through, or is not known to stop
    with pytest.raises(ConfigError, match="no answer of a labelled record can be read"):
        prepare_records(policy, (), PriceCap(), options | {"content_key": None})
