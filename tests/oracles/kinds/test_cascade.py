"""A policy's cascade: the band comes from the cheap oracle's threshold, the bound from both."""

import asyncio

import pytest

from guardrail.oracles.base import Exchange
from guardrail.oracles.options import MissRateBound
from guardrail.policy.schema import Policy
from guardrail.types import Outcome

WORDS = """\
version: 1
entries:
  - {phrase: perhaps, category: doubt, weight: 0.4}
  - {phrase: surely, category: harm, weight: 0.9}
"""


def choice(**oracle):
    oracle = {"kind": "cascade", "cheap": {}, "expensive": {}, **oracle}
    return Policy.model_validate({"name": "p", "oracle": oracle}).oracle


def test_words_in_doubt_go_to_the_model(tmp_path):
    (tmp_path / "words.yaml").write_text(WORDS)
    (tmp_path / "more.yaml").write_text(WORDS.replace("perhaps", "indeed"))
    lexicon = {"kind": "lexicon", "file": "words.yaml", "threshold": 0.3}
    oracle = choice(
        cheap=lexicon,
        expensive={"kind": "lexicon", "file": "more.yaml", "threshold": 0.3},
        high=0.8,
    ).build(tmp_path)

    async def judge(*texts):
        try:
            return await oracle.judge([Exchange("", text) for text in texts])
        finally:
            await oracle.aclose()

    found = asyncio.run(judge("indeed a cat", "perhaps a cat", "perhaps, indeed", "surely a cat"))
    assert [one.outcome is Outcome.HARMFUL for one in found] == [False, False, True, True]
    assert [one.reason for one in found[2:]] == [
        "cascade: lexicon 2: lexicon: doubt",
        "cascade: lexicon 1: lexicon: harm",
    ]


def test_misses_and_deltas_add_up(tmp_path):
    parts = {
        "cheap": {"miss_rate_upper": 0.05, "delta": 0.01},
        "expensive": {"miss_rate_upper": 0.2, "delta": 0.02},
    }
    found = choice(**parts).bound_miss_rate(tmp_path)
    assert found.miss_rate_upper == pytest.approx(0.25)
    assert found.delta == pytest.approx(0.03)
    assert choice(**parts, miss_rate_upper=0.21).bound_miss_rate(tmp_path) == MissRateBound(
        0.21, 0.001
    )
    assert choice(**parts, threshold=0.6).bound_miss_rate(tmp_path) is None


@pytest.mark.parametrize(("cheap", "expensive"), [(0.1, None), (None, 0.1), (0.6, 0.5)])
def test_where_nothing_follows_nothing_is_claimed(tmp_path, cheap, expensive):
    parts = {"cheap": {"miss_rate_upper": cheap}, "expensive": {"miss_rate_upper": expensive}}
    assert choice(**parts).bound_miss_rate(tmp_path) is None
