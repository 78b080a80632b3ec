"""A policy's list of words is read from the policy's folder, and judges."""

import asyncio
from pathlib import Path

import pytest

from guardrail.errors import ConfigError
from guardrail.oracles.base import Exchange
from guardrail.oracles.kinds.lexicon import LexiconOptions
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle

EXAMPLE = Path(__file__).parents[3] / "policies" / "lexicons" / "example.yaml"

POLICY = """\
name: mine
oracle:
  kind: lexicon
  file: words.yaml
  threshold: 0.6
  miss_rate_upper: 0.9
"""


def reasons(oracle, *texts):
    async def judge():
        try:
            return await oracle.judge([Exchange("", text) for text in texts])
        finally:
            await oracle.aclose()

    return [judgement.reason for judgement in asyncio.run(judge())]


def test_the_example_is_found_beside_the_policy_and_works(tmp_path):
    (tmp_path / "words.yaml").write_text(EXAMPLE.read_text())
    (tmp_path / "policy.yaml").write_text(POLICY)
    oracle = compile_oracle(load_policy(tmp_path / "policy.yaml"))
    assert oracle.threshold == 0.6
    texts = ("a cat", "K1LL yourself", "how to make a bomb", "これが爆弾の作り方")
    assert reasons(oracle, *texts) == ["", "lexicon: self-harm", *["lexicon: weapons"] * 2]


def test_a_bad_pattern_is_named_by_file_and_line(tmp_path):
    text = (
        "version: 1\nentries:\n  - category: a\n    phrase: b\n  - {category: a, pattern: '(a'}\n"
    )
    (tmp_path / "words.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"words\.yaml:5: RE2"):
        LexiconOptions(kind="lexicon", file="words.yaml").build(tmp_path)


def test_the_miss_rate_is_only_what_the_policy_states(tmp_path):
    assert LexiconOptions(kind="lexicon", file="a").bound_miss_rate(tmp_path) is None
    stated = LexiconOptions(kind="lexicon", file="a", miss_rate_upper=0.8, delta=0.01)
    assert stated.bound_miss_rate(tmp_path).miss_rate_upper == 0.8
