"""The semantic oracle as a policy chooses it."""

import asyncio

import pytest
from pydantic import ValidationError

from guardrail.engine.promise import Claim
from guardrail.errors import ConfigError
from guardrail.oracles.base import ReferenceOracle
from guardrail.policy.compile import compile_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy

pytest.importorskip("torch")
HARM = {"kind": "builtin", "threshold": 0.25, "miss_rate_upper": 0.1}


def policy(claim="verdict", **fields):
    oracle = {"kind": "semantic", **fields}
    return Policy.model_validate({"name": "p", "smoothing": {"claim": claim}, "oracle": oracle})


def test_it_compares():
    oracle = compile_oracle(policy(n0=3))
    assert isinstance(oracle, ReferenceOracle)
    assert oracle.n0 == 3
    asyncio.run(oracle.aclose())


def test_alone_it_is_for_the_verdict_claim():
    assert compile_policy(policy()).claim is Claim.VERDICT
    with pytest.raises(ConfigError, match="miss rate"):
        compile_policy(policy("harmlessness"))


def test_with_harm_beside_it_the_miss_rate_is_that_of_the_harm_oracle():
    rules = compile_policy(policy("harmlessness", harm=HARM))
    assert (rules.claim, rules.miss_rate_upper) == (Claim.HARMLESSNESS, 0.1)


def test_harm_must_be_judged_by_an_oracle_of_harm():
    with pytest.raises(ValidationError, match="oracle of harm"):
        policy(harm={"kind": "semantic"})


@pytest.mark.parametrize("fields", [{"method": "judge"}, {"upstream": "builtin"}])
def test_a_judge_and_its_upstream_belong_together(fields):
    with pytest.raises(ValidationError, match="upstream"):
        policy(**fields)


def test_a_judge_compares_too():
    oracle = compile_oracle(
        policy(
            method="judge", upstream="openai_compatible:http://127.0.0.1:9/v1", upstream_model="m"
        )
    )
    assert oracle.revision != compile_oracle(policy(n0=8)).revision
    asyncio.run(oracle.aclose())


def test_the_pair_model_is_no_other():
    with pytest.raises(ValidationError, match="leave 'model' out"):
        policy(method="pair", model="other/model")


def test_the_methods_differ():
    made = [compile_oracle(policy(method=method)) for method in ("pair", "embedding")]
    assert len({oracle.revision for oracle in made}) == 2
    for oracle in made:
        asyncio.run(oracle.aclose())


def test_entailment_needs_a_model():
    with pytest.raises(ValidationError, match="nli needs a 'model'"):
        policy(method="nli")
