"""Canaries: right, wrong and undecided ones, by the engine's own rules and oracle."""

import asyncio

import pytest

from guardrail.engine.engine import Engine
from guardrail.engine.failover import FailoverEngine
from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError, OracleError
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy
from guardrail.telemetry.canary import (
    SHIPPED_TEXTS,
    CanaryText,
    check_canaries,
    load_canary_texts,
    run_canaries,
)
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted
from tests.policies import arrange


class Says:
    revision = "says"

    def __init__(self, outcome):
        self.outcome = outcome

    async def judge(self, exchanges):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return [Judgement(self.outcome, 0.5) for _ in exchanges]

    async def aclose(self):
        pass


QUICK = {
    "name": "test",
    "smoothing": {"sigma": 0.5, "radius": 0.25, "alpha": 0.01},
    "sampling": {"plan": "fixed", "max_samples": 100, "expected_success_rate": 1.0},
    "limits": {"retries": 0},
}


def policy_of(**fields):
    return Policy.model_validate(arrange({**QUICK, **fields}))


def engine(oracle, script=("A hat.",), **policy):
    rules = compile_policy(policy_of(**policy))
    return Engine(rules, Scripted(script), oracle, NoiseKey(bytes(32)))


def words(built, **options):
    results = asyncio.run(run_canaries(built, **options))
    return {result.canary: result.word for result in results}


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize(
    ("outcome", "harmful", "harmless"),
    [
        (Outcome.HARMLESS, "wrong", "ok"),
        (Outcome.HARMFUL, "ok", "wrong"),
        (Outcome.MISSING, "fault", "fault"),
        (OracleError("gone"), "fault", "fault"),
        (RuntimeError("crashed"), "fault", "fault"),
    ],
)
def test_an_oracle_that_says_one_thing_is_found_out(outcome, harmful, harmless, mode):
    built = engine(Says(outcome), mode=mode)
    assert words(built) == {"harmful": harmful, "harmless": harmless}
    assert built.upstream.calls == []


@pytest.mark.parametrize("policy", [{}, {"mode": "observe"}])
def test_the_shipped_pair_is_decided_rightly_by_the_oracle_that_ships(policy):
    built = engine(compile_oracle(policy_of(**policy)), **policy)
    assert words(built) == {"harmful": "ok", "harmless": "ok"}


def test_a_limit_of_cost_keeps_no_canary_from_being_decided():
    built = engine(
        Says(Outcome.HARMLESS),
        limits={"max_cost_usd_per_request": 0.01},
        prices={"m": {"input_usd_per_million": 1.0, "output_usd_per_million": 1.0}},
    )
    assert words(built) == {"harmful": "wrong", "harmless": "ok"}


def test_the_model_is_asked_where_one_is_named():
    built = engine(Says(Outcome.HARMLESS))
    assert words(built, model="mine")["model"] == "ok"
    assert {call.body["model"] for call in built.upstream.calls} == {"mine"}
    assert words(engine(Says(Outcome.HARMFUL)), model="mine")["model"] == "wrong"


def test_several_upstreams_share_the_oracle():
    rules = compile_policy(policy_of(), upstreams=2)
    built = FailoverEngine(
        rules, [Scripted(["a"]), Scripted(["b"])], Says(Outcome.HARMFUL), NoiseKey(bytes(32))
    )
    assert words(built) == {"harmful": "ok", "harmless": "wrong"}


def test_a_result_tells_no_text():
    (harmful, _) = asyncio.run(run_canaries(engine(Says(Outcome.HARMLESS))))
    told = harmful.to_dict()
    assert told.pop("elapsed_ms") >= 0.0
    assert told == {
        "canary": "harmful", "result": "wrong", "expected": "block", "decided": "pass",
        "reason": "not certified: no image",
    }  # fmt: skip


def test_texts_of_an_operator_are_read(tmp_path):
    file = tmp_path / "canary.yaml"
    file.write_text("harmful: [{prompt: p, answer: a}]\nharmless: [{prompt: q, answer: b}]\n")
    assert load_canary_texts(file) == (
        CanaryText("p", "a", is_harmful=True), CanaryText("q", "b", is_harmful=False),
    )  # fmt: skip
    assert [text.expected for text in load_canary_texts(file)] == [Action.BLOCK, Action.PASS]


ROW = "[{prompt: p, answer: a}]"


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "harmful: [", f"harmful: {ROW}", f"harmful: []\nharmless: {ROW}",
        f"harmful: {ROW}\nharmless: {ROW}\nmore: 1", f"harmful: [1]\nharmless: {ROW}",
        f"harmful: [{{prompt: p}}]\nharmless: {ROW}",
        f"harmful: [{{prompt: p, answer: 3}}]\nharmless: {ROW}",
        f"harmful: [{{prompt: p, answer: ' '}}]\nharmless: {ROW}",
        "harmful: [" + "{prompt: p, answer: a}, " * 20 + f"]\nharmless: {ROW}", "x" * (1 << 21),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(tmp_path, text):
    file = tmp_path / "canary.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"canary\.yaml"):
        load_canary_texts(file)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="FileNotFoundError"):
        load_canary_texts(tmp_path / "none.yaml")


def test_the_shipped_texts_are_refused_where_they_say_nothing():
    oracle = {"kind": "action", "source": "patterns", "actions": {"a": {"pattern": "a"}}, "n0": 4}
    policy = policy_of(oracle=oracle)
    built = Engine(
        compile_policy(policy), Scripted(["a"]), compile_oracle(policy), NoiseKey(bytes(32))
    )
    with pytest.raises(ConfigError, match="canary_file"):
        check_canaries([built], SHIPPED_TEXTS)
    check_canaries([built], (CanaryText("p", "a", is_harmful=True),))
    check_canaries([built, engine(Says(Outcome.HARMLESS))], SHIPPED_TEXTS)
    assert words(built) == {}
