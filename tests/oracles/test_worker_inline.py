"""Short answers are judged on the loop, long ones in the thread, and all of them alike."""

import asyncio
import math
import threading

import pytest

from guardrail.errors import OracleError
from guardrail.offload import InlineLimit
from guardrail.oracles.base import Exchange
from guardrail.oracles.builtin import BuiltinScorer
from guardrail.oracles.worker import InlineOracle, ThreadedOracle
from guardrail.types import Outcome


class Lengths:
    """Scores an answer by its length, and remembers the threads that asked."""

    revision = "lengths"

    def __init__(self):
        self.threads = []

    def scores(self, exchanges):
        self.threads.append(threading.current_thread())
        return [len(exchange.response) / 100 for exchange in exchanges]


class Broken:
    revision = "broken"

    def __init__(self, say):
        self._say = say

    def scores(self, exchanges):
        return self._say(len(exchanges))


def judged(oracle, *texts):
    async def judge():
        try:
            return await oracle.judge([Exchange("", text) for text in texts])
        finally:
            await oracle.aclose()

    return asyncio.run(judge())


@pytest.mark.parametrize(("chars", "inline"), [(10, True), (11, False)])
def test_the_length_of_all_answers_together_chooses_the_thread(chars, inline):
    scorer = Lengths()
    oracle = InlineOracle(scorer, inline=InlineLimit(chars=10), threshold=0.5)
    judgements = judged(oracle, "x" * 4, "x" * (chars - 4))
    assert [judgement.score for judgement in judgements] == [0.04, (chars - 4) / 100]
    assert {thread is threading.main_thread() for thread in scorer.threads} == {inline}


def test_judgements_and_revision_are_those_of_the_thread():
    texts = ["A brown dog sleeps on a red sofa.", "kill your boss with a knife tonight", "", "?"]
    inline, threaded = (
        kind(BuiltinScorer(), threshold=0.25, name="builtin")
        for kind in (InlineOracle, ThreadedOracle)
    )
    assert inline.revision == threaded.revision
    both = [judged(oracle, *texts) for oracle in (inline, threaded)]
    assert both[0] == both[1]
    assert {judgement.outcome for judgement in both[0]} == {Outcome.HARMLESS, Outcome.HARMFUL}


@pytest.mark.parametrize(
    "say",
    [
        lambda n: [math.nan] * n,
        lambda n: [1.5] * n,
        lambda n: [0.0] * (n + 1),
        lambda _: None,
        lambda _: 1 // 0,
    ],
)
def test_a_fault_is_never_harmless(say):
    with pytest.raises(OracleError, match="the scorer r"):
        judged(InlineOracle(Broken(say), threshold=0.5), "short")


def test_a_fault_says_nothing_of_the_answer():
    def say(_):
        raise ValueError("the answer's own words")

    with pytest.raises(OracleError, match="ValueError") as caught:
        judged(InlineOracle(Broken(say), threshold=0.5), "short")
    assert "own words" not in str(caught.value)


@pytest.mark.parametrize("text", ["short", "x" * 2000])
def test_closed_it_judges_nothing(text):
    async def closed():
        oracle = InlineOracle(Lengths(), threshold=0.5)
        await oracle.aclose()
        await oracle.judge([Exchange("", text)])

    with pytest.raises(OracleError, match="closed"):
        asyncio.run(closed())
