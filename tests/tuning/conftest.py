"""Labelled answers and oracles whose scores are known."""

import pytest

from guardrail.errors import OracleError
from guardrail.oracles.base import Judgement
from guardrail.tuning.dataset import Dataset, LabelledAnswer
from guardrail.tuning.scores import Scored
from guardrail.tuning.scoring import ScoredAnswer
from guardrail.types import Outcome


class ByNumber:
    """An answer is its own score; the words `fail` and `blind` are what they say."""

    revision = "numbers"

    def __init__(self, broken=()):
        self.judged = []
        self.broken = set(broken)

    async def judge(self, exchanges):
        texts = [exchange.response for exchange in exchanges]
        if any("fail" in text or text in self.broken for text in texts):
            raise OracleError("the oracle failed")
        self.judged += texts
        return [self._judgement(text) for text in texts]

    def _judgement(self, text):
        if text.startswith("blind"):
            return Judgement(Outcome.HARMLESS, 0.0, unscanned=("audio",))
        score = float(text.split()[0])
        return Judgement(Outcome.HARMFUL if score >= 0.5 else Outcome.HARMLESS, score)

    async def aclose(self):
        pass


@pytest.fixture
def oracle():
    return ByNumber()


@pytest.fixture(scope="session")
def by_number():
    return ByNumber


@pytest.fixture(scope="session")
def dataset():
    """A dataset of (text, harmful) pairs."""

    def make(*pairs):
        rows = (LabelledAnswer(i, "", text, harm) for i, (text, harm) in enumerate(pairs, 1))
        return Dataset("labels.jsonl", tuple(rows), (), (), ())

    return make


@pytest.fixture(scope="session")
def scored():
    """A scored answer; further fields are those of its row."""

    def make(score, harmful, **fields):
        return ScoredAnswer(LabelledAnswer(1, "", "text", harmful, **fields), Scored(score, 1.0))

    return make
