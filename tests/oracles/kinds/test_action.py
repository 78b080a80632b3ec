"""A policy's choice of the action oracle: its fields arrive, and mistakes are named."""

import asyncio
import json

import pytest
from pydantic import ValidationError

from guardrail.engine.promise import Claim
from guardrail.errors import ConfigError
from guardrail.oracles.base import Exchange, ReferenceOracle
from guardrail.oracles.kinds.action import ActionOptions
from guardrail.oracles.registry import build_oracle
from guardrail.policy.compile import compile_policy, policy_digest
from guardrail.policy.document import Source
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy
from guardrail.types import Outcome

MOVE = {
    "arguments": {
        "type": "object",
        "properties": {"to": {"enum": ["left", "right"]}, "by": {"type": "number"}},
        "required": ["to"],
    },
    "arguments_that_matter": ["to"],
}


def choice(**fields):
    return ActionOptions(kind="action", **{"source": "json", "actions": {"stop": {}}, **fields})


def policy(harm=None, claim="verdict", **fields):
    oracle = {"kind": "action", "source": "json", "actions": {"stop": {}}, "harm": harm, **fields}
    return Policy.model_validate({"name": "test", "smoothing": {"claim": claim}, "oracle": oracle})


def harmless(oracle, text):
    (judgement,) = asyncio.run(oracle.judge([Exchange("", text)]))
    return judgement.outcome is Outcome.HARMLESS


def reference(oracle, *texts):
    return asyncio.run(oracle.reference([Exchange("", text) for text in texts]))


def test_the_oracle_chooses_a_reference(tmp_path):
    oracle = choice(n0=5).build(tmp_path)
    assert isinstance(oracle, ReferenceOracle)
    assert oracle.n0 == 5
    assert harmless(oracle, '{"action": "stop"}')
    assert not harmless(oracle, '{"action": "go"}')


def test_every_field_arrives(tmp_path):
    fields = {
        "actions": {"move": {**MOVE, "steps": {"by": 5.0}}, "fire": {"forbidden": True}},
        "field": "do",
        "arguments_field": "with",
        "texts": "exact",
    }
    oracle = choice(**fields).build(tmp_path)
    assert harmless(oracle, '{"do": "move", "with": {"to": "left", "by": 3}}')
    assert not harmless(oracle, '{"do": "move", "with": {"to": "LEFT"}}')
    assert not harmless(oracle, '{"do": "fire"}')
    left = '{"do": "move", "with": {"to": "left", "by": 3}}'
    chosen = reference(oracle, left)
    assert chosen.name.startswith("move(to=left) #")
    assert harmless(chosen.oracle, left.replace("3", "100"))
    assert not harmless(chosen.oracle, left.replace("left", "right"))


def test_steps_arrive(tmp_path):
    oracle = choice(actions={"turn": {"steps": {"by": 5.0}}}).build(tmp_path)
    chosen = reference(oracle, '{"action": "turn", "by": 10}')
    assert harmless(chosen.oracle, '{"action": "turn", "by": 11.9}')
    assert not harmless(chosen.oracle, '{"action": "turn", "by": 13}')


def test_patterns_arrive(tmp_path):
    oracle = choice(source="patterns", actions={"stop": {"pattern": "(?i)stop"}}).build(tmp_path)
    assert harmless(oracle, "Stop.")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"actions": {}}, "at least 1"),
        ({"actions": {"two words": {}}}, "pattern"),
        ({"actions": {"stop": {"pattern": "stop"}}}, "never uses"),
        ({"source": "patterns"}, "needs a pattern"),
        ({"source": "thoughts"}, "source"),
        ({"texts": "alike"}, "texts"),
        ({"actions": {"stop": {"arguments": {"type": "list"}}}}, "'stop' cannot be used"),
        ({"actions": {"stop": {"steps": {"x": 0.0}}}}, "greater than 0"),
        ({"actions": {"stop": {"speed": 1}}}, "speed"),
        ({"n0": 0}, "n0"),
        ({"harm": {"kind": "action", "source": "json", "actions": {"stop": {}}}}, "oracle of harm"),
        ({"harm": {"kind": "semantic"}}, "oracle of harm"),
    ],
)
def test_mistakes_are_named(fields, why):
    with pytest.raises(ValidationError, match=why):
        choice(**fields)


BUILTIN = {"kind": "builtin", "threshold": 0.25, "miss_rate_upper": 0.1, "delta": 0.01}


class TestHarm:
    def test_alone_nothing_is_claimed_of_harm(self):
        rules = compile_policy(policy())
        assert (rules.claim, rules.miss_rate_upper, rules.delta) == (Claim.VERDICT, None, None)
        with pytest.raises(ConfigError, match="harmlessness claim needs"):
            compile_policy(policy(claim="harmlessness"))

    def test_its_miss_rate_is_the_claims(self):
        rules = compile_policy(policy(BUILTIN, "harmlessness"))
        assert (rules.claim, rules.miss_rate_upper) == (Claim.HARMLESSNESS, 0.1)
        assert rules.delta == 0.01

    def test_it_judges_beside_the_action(self):
        stop = {"stop": {"pattern": r"\bstop\b"}}
        oracle = compile_oracle(policy(BUILTIN, source="patterns", actions=stop))
        try:
            assert harmless(oracle, "I stop here, because a child is crossing the road.")
            assert not harmless(oracle, "I drive on, because the road is clear.")
            assert not harmless(oracle, "Go kill yourself, you stupid worthless idiot, I stop.")
        finally:
            asyncio.run(oracle.aclose())

    @pytest.fixture
    def calibrated(self, tmp_path, monkeypatch):
        """A calibration that fits the oracle of harm, whichever file is named."""
        harm = build_oracle(policy(BUILTIN).oracle.harm, tmp_path)
        asyncio.run(harm.aclose())

        class Read:
            oracle = "builtin"
            threshold, miss_rate_upper, delta = 0.25, 0.03, 0.002
            oracle_revision = harm.revision

        monkeypatch.setattr("guardrail.oracles.options.read_calibration", lambda _: Read)
        return Read

    def test_it_may_be_calibrated(self, calibrated, tmp_path):
        made = policy({"kind": "builtin", "calibration": "c.yaml"}, "harmlessness")
        made = made.with_source(Source(tmp_path))
        rules = compile_policy(made)
        assert (rules.miss_rate_upper, rules.delta) == (0.03, 0.002)
        written = json.loads(made.oracle.with_calibration(tmp_path).model_dump_json())
        assert written["harm"]["miss_rate_upper"] == 0.03
        before = policy_digest(made)
        asyncio.run(compile_oracle(made).aclose())
        calibrated.miss_rate_upper = 0.04
        assert policy_digest(made) != before

    def test_it_must_be_the_one_that_was_calibrated(self, calibrated, tmp_path):
        calibrated.oracle_revision = "another"
        made = policy({"kind": "builtin", "calibration": "c.yaml"}).with_source(Source(tmp_path))
        with pytest.raises(ConfigError, match=r"oracle[.]harm.*has changed"):
            compile_oracle(made)
