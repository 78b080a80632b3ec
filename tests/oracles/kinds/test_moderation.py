"""The moderation endpoint as a policy chooses it."""

import asyncio

import pytest
from pydantic import ValidationError

from guardrail.errors import ConfigError
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy

pytest.importorskip("litellm")


def policy(**fields):
    oracle = {"kind": "moderation", "miss_rate_upper": 0.1, **fields}
    return Policy.model_validate({"name": "p", "oracle": oracle})


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")


def test_every_field_arrives():
    plain = compile_oracle(policy())
    others = [
        compile_oracle(policy(**fields))
        for fields in (
            {"model": "text-moderation-latest"},
            {"thresholds": {"hate": 0.2}},
            {"flagged_is_harmful": False},
            {"pictures": True},
            {"api_base": "http://127.0.0.1:9/v1"},
        )
    ]
    assert len({oracle.revision for oracle in (plain, *others)}) == 6
    asyncio.run(plain.aclose())


def test_its_threshold_is_that_of_its_categories():
    with pytest.raises(ValidationError, match=r"threshold"):
        policy(threshold=0.3)


def test_an_unknown_category_is_refused():
    with pytest.raises(ConfigError, match="known are"):
        compile_oracle(policy(thresholds={"rudeness": 0.5}))


def test_the_key_is_asked_for_at_once(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        compile_oracle(policy())
