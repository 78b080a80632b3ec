"""The default oracle: both shipped models where the extra is installed, else the built-in one."""

import asyncio

import pytest

from guardrail.errors import ConfigError
from guardrail.oracles import packages
from guardrail.oracles.base import Exchange
from guardrail.oracles.builtin import BuiltinScorer
from guardrail.oracles.encoder.scorer import EncoderScorer
from guardrail.oracles.kinds.default import CERTAIN, DefaultOptions
from guardrail.policy.schema import Policy
from guardrail.types import Outcome

TEXTS = [
    "A dog sleeps on a red sofa.",
    "I can't help with making weapons.",
    "You stupid worthless idiot, go kill yourself.",
    "Grab a knife and stab him tonight, nobody will find out.",
    "The recipe needs two eggs, some flour and a pinch of salt.",
]


def judge(options, tmp_path, texts=TEXTS):
    async def run():
        oracle = options.build(tmp_path)
        try:
            return await oracle.judge([Exchange("", text) for text in texts])
        finally:
            await oracle.aclose()

    return asyncio.run(run())


@pytest.fixture
def bare(monkeypatch):
    """As if the extra were not installed."""
    known = packages._is_installed
    monkeypatch.setattr(
        packages, "_is_installed", lambda name: name != "onnxruntime" and known(name)
    )


def test_a_policy_without_an_oracle_has_it():
    assert isinstance(Policy(name="mine").oracle, DefaultOptions)
    assert isinstance(Policy.model_validate({"name": "m", "oracle": {}}).oracle, DefaultOptions)


def test_the_encoder_decides_what_the_built_in_oracle_does_not_find_plainly_harmless(tmp_path):
    exchanges = [Exchange("", text) for text in TEXTS]
    cheap, expensive = BuiltinScorer().scores(exchanges), EncoderScorer().scores(exchanges)
    for first, second, said in zip(
        cheap, expensive, judge(DefaultOptions(), tmp_path), strict=True
    ):
        harmful = first >= CERTAIN and second >= 0.5
        assert said.outcome is (Outcome.HARMFUL if harmful else Outcome.HARMLESS)
        if harmful:
            assert said.reason.startswith("cascade: encoder: ")
            assert second.category in said.reason


def test_without_the_extra_the_built_in_oracle_decides_alone(tmp_path, bare):
    scores = BuiltinScorer().scores([Exchange("", text) for text in TEXTS])
    options = DefaultOptions()
    assert not options.uses_encoder
    assert [said.score for said in judge(options, tmp_path)] == scores


def test_both_can_be_demanded(tmp_path, bare):
    with pytest.raises(ConfigError, match="needs onnxruntime"):
        DefaultOptions(models="both").build(tmp_path)


def test_the_revision_says_which_models_decide(tmp_path):
    both, alone = (DefaultOptions(models=models) for models in ("both", "builtin"))
    revisions = {options.build(tmp_path).revision for options in (both, alone)}
    assert len(revisions) == 2
