"""Answers that repeat are read and judged once, and nothing else is taken for a repetition.

What a judgement makes of an answer is tested with the engine.
"""

import asyncio
import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine import judge as module
from guardrail.engine.judge import Judge
from guardrail.engine.sampler import Sampler
from guardrail.engine.verdict import Action
from guardrail.engine.visible_text import extract_text
from guardrail.errors import OracleError
from guardrail.oracles.base import Judgement
from guardrail.oracles.worker import ThreadedOracle
from guardrail.types import Answer, Outcome
from guardrail.upstreams.scripted import Scripted

VALUES = st.none() | st.sampled_from(["", "a", "b", "yes"]) | st.lists(st.just("a"), max_size=1)
FIELDS = st.dictionaries(st.sampled_from(["content", "refusal", "name", "audio", "new"]), VALUES)
ANSWERS = st.builds(
    Answer, FIELDS, st.sampled_from(["stop", "content_filter"]), extra=FIELDS
)  # few values, so that many are alike


@pytest.fixture
def read(monkeypatch):
    """The answers that were read in truth."""
    seen = []

    async def noted(answer):
        seen.append(answer)
        return extract_text(answer)

    monkeypatch.setattr(module, "read_answer", noted)
    return seen


def readings(answers, judge=None):
    async def main():
        reader = judge or Judge(None, None, None)
        return [await reader.read(answer) for answer in answers]

    return asyncio.run(main())


@pytest.mark.no_cover
@given(st.lists(ANSWERS, max_size=8))
def test_what_is_remembered_is_what_would_be_read(answers):
    assert readings([*answers, *answers]) == [
        extract_text(answer) for answer in [*answers, *answers]
    ]


def test_equal_plain_answers_are_read_once(read):
    one = Answer({"role": "assistant", "content": "A cat."}, extra={"system_fingerprint": "f"})
    same = Answer({"role": "assistant", "content": "A cat.", "refusal": None}, extra=one.extra)
    readings([one, same, Answer({"content": "A dog."})])
    assert len(read) == 2


def test_answers_of_more_than_texts_are_read_each_time(read):
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    both = [Answer({"tool_calls": [call]}), Answer({"content": "a"}, extra={"n": [1]})]
    readings([*both, *map(copy.copy, both)])
    assert len(read) == 4


def test_one_answer_is_read_once_however_often_it_is_asked_for(read):
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    readings([Answer({"tool_calls": [call]})] * 3)
    assert len(read) == 1


def test_memory_of_texts_is_bounded(read, monkeypatch):
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 1)
    a, b = Answer({"content": "a"}), Answer({"content": "b"})
    judge = Judge(None, None, None)
    assert [each.text for each in readings([a, b, a, b], judge)] == ["a", "b", "a", "b"]
    assert read == [a, b, b]


def test_memory_of_judgements_is_bounded(kit, monkeypatch):
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 1)
    scorer = Length()
    take_samples(kit, ThreadedOracle(scorer, threshold=0.5), ["a", "b", "a", "b"])
    assert scorer.asked == ["a", "b", "b"]


class Length:
    """Scores by length; counts how often it is asked, and fails the first time if so told."""

    revision = "length"

    def __init__(self, faults=0):
        self.asked, self.faults = [], faults

    def scores(self, exchanges):
        self.asked += [exchange.response for exchange in exchanges]
        if self.faults:
            self.faults -= 1
            raise OracleError("gone")
        return [min(1.0, len(exchange.response) / 100) for exchange in exchanges]


def take_samples(kit, oracle, texts, pictures=1, **rules):
    async def main():
        upstream = Scripted(texts)
        sampler = Sampler(kit.make_rules(**rules), upstream, oracle, kit.make_chat(pictures))
        shown = (np.zeros((2, 2, 3), np.uint8),) * pictures
        try:
            return [await sampler.sample(index, shown, seed=index) for index in range(len(texts))]
        finally:
            await oracle.aclose()

    return asyncio.run(main())


def test_an_oracle_of_texts_judges_equal_answers_once(kit):
    scorer = Length()
    samples = take_samples(
        kit, ThreadedOracle(scorer, threshold=0.5), ["A cat.", "A dog!!", "A cat."]
    )
    assert scorer.asked == ["A cat.", "A dog!!"]
    assert [sample.score for sample in samples] == [0.06, 0.07, 0.06]
    assert [sample.index for sample in samples] == [0, 1, 2]


def test_without_pictures_there_is_one_answer_and_nothing_is_shared(kit):
    scorer = Length()
    take_samples(kit, ThreadedOracle(scorer, threshold=0.5), ["A cat.", "A cat."], pictures=0)
    assert scorer.asked == ["A cat.", "A cat."]


def test_a_failed_judgement_is_not_remembered(kit):
    scorer = Length(faults=1)
    oracle = ThreadedOracle(scorer, threshold=0.5)
    first, second = take_samples(kit, oracle, ["A cat.", "A cat."], retries=0)
    assert (first.outcome, second.outcome) == (Outcome.MISSING, Outcome.HARMLESS)
    assert len(scorer.asked) == 2


def test_other_oracles_are_asked_about_every_answer(kit):
    oracle = kit.Words()
    take_samples(kit, oracle, ["A cat.", "A cat."])
    assert oracle.seen == ["A cat.", "A cat."]


WAVE = 9  # samples of a decision by the kit's rules


class Slow:
    """A judge that ends a call once the whole wave asks again; `by_text` as it is told."""

    revision = "slow"

    def __init__(self, kit, monkeypatch, *, by_text, faults=0):
        self.by_text, self.faults, self.asked, self.asking = by_text, faults, 0, 0
        self.until, ask_once = kit.until, Judge._ask_once

        async def counted(judge, oracle, exchanges):
            self.asking += 1
            return await ask_once(judge, oracle, exchanges)

        monkeypatch.setattr(Judge, "_ask_once", counted)

    async def judge(self, exchanges):
        self.asked += 1
        fails, self.faults = self.faults > 0, self.faults - 1
        wanted = WAVE * (self.asked if self.by_text else 1)
        await self.until(lambda: self.asking == wanted)
        if fails:
            raise OracleError("gone", undrawn=True)
        return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

    async def aclose(self):
        pass


@pytest.mark.parametrize(("by_text", "asked"), [(True, 1), (False, WAVE)])
def test_a_slow_oracle_of_texts_is_asked_once_for_a_wave_of_equal_answers(
    kit, monkeypatch, by_text, asked
):
    """One that draws is asked for each: samples that share its draw would not be independent."""
    oracle = Slow(kit, monkeypatch, by_text=by_text)
    verdict = kit.decide(kit.make_engine(oracle=oracle, max_parallel=WAVE), 1)
    assert verdict.action is Action.PASS
    assert (len(verdict.samples), oracle.asked) == (WAVE, asked)


def test_a_fault_of_a_shared_judgement_is_one_of_all_and_is_asked_again_once(kit, monkeypatch):
    oracle = Slow(kit, monkeypatch, by_text=True, faults=1)
    verdict = kit.decide(kit.make_engine(oracle=oracle, max_parallel=WAVE, retries=1), 1)
    assert verdict.action is Action.PASS
    assert (oracle.asked, oracle.asking) == (2, 2 * WAVE)


def test_a_shared_judgement_ends_with_the_decision(kit, monkeypatch):
    """`kit.decide` fails where a task is left behind."""
    oracle = Slow(kit, monkeypatch, by_text=True)
    oracle.judge = lambda _: asyncio.Event().wait()
    verdict = kit.decide(kit.make_engine(oracle=oracle, max_parallel=9, deadline_s=0.05), 1)
    assert verdict.action is Action.FAULT
