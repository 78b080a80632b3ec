"""A policy's choice becomes the oracle that judges: kind, options and threshold arrive."""

import asyncio

import pytest

from guardrail.errors import ConfigError
from guardrail.oracles.base import Exchange
from guardrail.policy import oracle as compiled
from guardrail.policy.schema import OracleChoice
from guardrail.types import Outcome


class Lengths:
    """Scores an answer by its length."""

    revision = "lengths"

    def scores(self, exchanges):
        return [len(exchange.response) / 100 for exchange in exchanges]


@pytest.fixture
def asked(monkeypatch):
    """What the scorers' registry was asked for."""
    calls = []

    def build(kind, options):
        calls.append((kind, dict(options)))
        return Lengths()

    monkeypatch.setattr(compiled, "build_scorer", build)
    return calls


def outcomes(oracle, *responses):
    async def judge():
        try:
            return await oracle.judge([Exchange("", response) for response in responses])
        finally:
            await oracle.aclose()

    return [judgement.outcome for judgement in asyncio.run(judge())]


def test_the_threshold_is_that_of_the_policy(asked):
    choice = OracleChoice(miss_rate_upper=0.1, threshold=0.05)
    found = outcomes(compiled.compile_oracle(choice), "1234", "12345", "123456")
    assert found == [Outcome.HARMLESS, Outcome.HARMFUL, Outcome.HARMFUL]
    assert asked == [("builtin", {})]


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"model": "unbiased"}, {"model_type": "unbiased"}),
        (
            {"checkpoint": "a.ckpt", "config_path": "folder"},
            {"checkpoint": "a.ckpt", "huggingface_config_path": "folder"},
        ),
        ({}, {}),
    ],
)
def test_only_the_options_that_are_given_arrive(asked, fields, options):
    choice = OracleChoice(kind="detoxify", miss_rate_upper=0.1, **fields)
    asyncio.run(compiled.compile_oracle(choice).aclose())
    assert asked == [("detoxify", options)]


def test_two_thresholds_are_two_revisions(asked):
    made = [
        compiled.compile_oracle(OracleChoice(miss_rate_upper=0.1, threshold=threshold))
        for threshold in (0.1, 0.2)
    ]
    assert made[0].revision != made[1].revision


def test_what_the_registry_refuses_is_refused(monkeypatch):
    def refuse(kind, options):
        raise ConfigError("install the extra")

    monkeypatch.setattr(compiled, "build_scorer", refuse)
    with pytest.raises(ConfigError, match="install the extra"):
        compiled.compile_oracle(OracleChoice(miss_rate_upper=0.1))
