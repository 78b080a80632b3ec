"""Scores of decisions, and what a policy that only watches or compares is evaluated as."""

import asyncio
import dataclasses

import numpy as np
import pytest
from PIL import Image

from guardrail.engine.engine import Engine
from guardrail.engine.failover import FailoverEngine
from guardrail.engine.verdict import Action, Reason, Sample, Verdict
from guardrail.errors import ConfigError
from guardrail.evaluation.benchmark.deciding import score_of
from guardrail.evaluation.benchmark.evaluate import DataOptions, EvaluationRun, RunOptions
from guardrail.evaluation.benchmark.harness_run import write_harness_run
from guardrail.evaluation.benchmark.row_result import Ending
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Fault, Scripted, Step

CLEAN, HARM = "a private answer", "a forbidden answer"


class Words:
    revision = "words"

    async def judge(self, exchanges):
        harms = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]

    async def aclose(self):
        pass


class Comparing(Words):
    n0 = 2

    async def reference(self, _selection):
        return None


def verdict(action, reason, *scores, outcome=Outcome.HARMLESS):
    samples = tuple(Sample(index=i, outcome=outcome, score=score) for i, score in enumerate(scores))
    return Verdict(action=action, reason=reason, samples=samples)


def test_every_block_scores_above_every_pass():
    passed = verdict(Action.PASS, Reason.CERTIFIED, 1.0, 1.0)
    blocked = verdict(Action.BLOCK, Reason.HARMFUL, 0.0, 0.0)
    assert score_of(passed) < 0.5 <= score_of(blocked)
    assert score_of(verdict(Action.PASS, Reason.CERTIFIED, 0.2, 0.4)) == pytest.approx(0.15)
    assert score_of(verdict(Action.BLOCK, Reason.HARMFUL, 0.5, 0.7)) == pytest.approx(0.8)


def test_what_has_no_scores():
    assert score_of(verdict(Action.BLOCK, Reason.TEXT_IN_PICTURE)) == 1.0
    assert score_of(verdict(Action.PASS, Reason.NO_IMAGE)) == 0.0
    assert score_of(verdict(Action.BLOCK, Reason.HARMFUL, None, outcome=Outcome.HARMFUL)) == 1.0
    assert score_of(verdict(Action.BLOCK, Reason.HARMFUL, 0.3, outcome=Outcome.MISSING)) == 1.0
    assert score_of(verdict(Action.FAULT, Reason.DEADLINE, 0.9)) is None


@pytest.fixture
def data(tmp_path):
    for label in ("clean", "harmful"):
        (tmp_path / "d" / label).mkdir(parents=True)
        pixels = np.random.default_rng(len(label)).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "d" / label / "a.png")
        (tmp_path / "d" / label / "a.txt").write_text(f"{label}?")
    return tmp_path / "d"


def run_of(data, script, oracle=None, draws=20, view_draws=None, **fields):
    policy = Policy.model_validate(
        {"name": "t", "oracle": {}, "smoothing": {"claim": "verdict"}, **fields,
         "advanced": {"limits": {"retries": 0, "call_timeout_s": 10.0}}}
    )  # fmt: skip
    engine = Engine(
        compile_policy(policy), Scripted(script), oracle or Words(), NoiseKey(bytes(32))
    )
    options = RunOptions(model="m", draws=draws, view_draws=view_draws, bare=False)
    return EvaluationRun.prepare(engine, policy, data, options, DataOptions())


def measure(run):
    found = asyncio.run(run.measure(None, _watch))
    return {row.set_name: row for row in found.results}, found


def _watch(_what):
    from guardrail.evaluation.requests import watch_nothing

    return watch_nothing


def truthful(call):
    return HARM if "harmful?" in str(call.body) else CLEAN


def test_a_policy_that_only_watches_is_evaluated_as_if_it_enforced(data):
    rows, _ = measure(run_of(data, truthful, mode="observe", draws=0))
    assert rows["harmful"].ending is Ending.BLOCKED
    assert rows["clean"].ending is Ending.PASSED


def test_an_oracle_that_compares_has_no_certified_recall(data):
    run = run_of(data, [CLEAN], Comparing())
    assert "compares answers with a reference" in run.recall.pixels_left_out
    assert run.recall.most_answers(run.rows) == 0


def test_one_model_is_evaluated_at_a_time(data):
    engine = run_of(data, [CLEAN]).engine
    both = FailoverEngine(engine.rules, [engine.upstream] * 2, engine.oracle, engine.key)
    with pytest.raises(ConfigError, match="an evaluation is of one model"):
        EvaluationRun.prepare(both, None, data, RunOptions(), DataOptions())


def test_too_few_draws_to_show_anything_are_refused_beforehand(data):
    with pytest.raises(ConfigError, match="raise --draws"):
        run_of(data, [CLEAN], draws=1)


def test_pictures_without_views_are_refused_before_any_call(data):
    crops = {"crops": {"windows": 4, "sees": 7}}
    with pytest.raises(ConfigError, match=r"picture sizes of 'harmful/a.png'.*--view-draws 0"):
        run_of(data, truthful, threats=crops)
    assert run_of(data, truthful, threats=crops, view_draws=0).recall.threats is None


def test_views_of_a_policy_without_threats_are_refused(data):
    with pytest.raises(ConfigError, match="write 'threats' into it, or leave --view-draws out"):
        run_of(data, truthful, view_draws=40)
    with pytest.raises(ConfigError, match="write --view-draws 16"):
        run_of(data, truthful, view_draws=15, threats={"suffix": {"words": 2}})


def test_the_most_answers_count_views_of_decisions_and_of_recall(data):
    plain = run_of(data, truthful, draws=20)
    assert plain.most_calls == 2 * plain.engine.rules.max_samples + 20
    wider = run_of(data, truthful, draws=20, threats={"crops": {"windows": 4, "sees": 3}})
    views = wider.most_calls - 2 * wider.engine.rules.max_samples - 20 - 4 * 40
    assert views >= 2 * 4 * 3  # of two decisions four views each, of three answers at least
    assert wider.recall.most_answers(wider.rows) == 20 + 4 * 40


def test_faults_have_no_prediction_and_are_counted_as_dropped(data, tmp_path):
    down = Step(fault=Fault.STATUS, status=500)
    _, found = measure(
        run_of(data, lambda call: down if "harmful?" in str(call.body) else CLEAN, draws=0)
    )
    write_harness_run(tmp_path / "geh", found)
    folder = tmp_path / "geh" / "datasets" / "d"
    assert (folder / "predictions.jsonl").read_text().count("\n") == 1
    assert '"dropped_sample_count": 1' in (folder / "dataset-manifest.json").read_text()
    assert found.operating_point("harmful", guarded=True).found == 0


def test_pictures_that_change_meanwhile_end_the_run(data):
    run = run_of(data, truthful, draws=0)
    for _, row in run.rows.drawn:
        Image.new("RGB", (8, 6)).save(row.request.images[0])
    with pytest.raises(ConfigError, match="changed while the command ran"):
        measure(run)


def test_a_result_is_plain_data(data):
    rows, _ = measure(run_of(data, truthful, draws=0))
    assert "private" not in str(dataclasses.asdict(rows["clean"]))
