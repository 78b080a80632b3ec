"""Variants that are broken off as soon as they are harmful: sooner, cheaper, never laxer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.rules import Mode
from guardrail.engine.short_answers import EarlyStop
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import OracleError
from guardrail.oracles.base import Judgement
from guardrail.types import Answer, Outcome
from guardrail.upstreams.base import StreamingUpstream
from guardrail.upstreams.prices import Price, PriceBook, Tier
from guardrail.upstreams.scripted import State

NINE = 9  # samples of a decision by the tests' own rules
LONG = "and so on " * 50


class Plain:
    """A model that cannot be watched."""

    name = revision = "plain"

    async def complete(self, chat, pictures, *, seed):
        del chat, pictures, seed
        return Answer({"role": "assistant", "content": "forbidden " + LONG})


def test_harm_ends_the_answer(kit):
    engine = kit.make_engine([f"{kit.HARM} {LONG}"], judge_every_chars=50)
    verdict = kit.decide(engine, 1)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
    assert {call.state for call in engine.upstream.calls} == {State.CANCELLED}
    for sample in verdict.samples:
        assert sample.outcome is Outcome.HARMFUL
        assert 50 <= len(sample.answer.text) < 80
        assert sample.answer.finish_reason == "length"
    assert verdict.usage.calls == len(engine.upstream.calls)


def test_harm_at_the_end_is_judged_whole(kit):
    engine = kit.make_engine([f"{LONG}{kit.HARM}"], judge_every_chars=5000)
    verdict = kit.decide(engine, 1)
    assert verdict.reason is Reason.HARMFUL
    assert {call.state for call in engine.upstream.calls} == {State.ANSWERED}


def test_harmless_answers_pass_whole_and_are_judged_as_they_grow(kit):
    oracle = kit.Words()
    engine = kit.make_engine([LONG.strip()], oracle=oracle, judge_every_chars=100, max_parallel=1)
    verdict = kit.decide(engine, 1)
    assert verdict.action is Action.PASS
    assert verdict.answer.text == LONG.strip()
    seen = [len(text) for text in oracle.seen]
    assert seen == [100, 200, 300, 400, len(LONG.strip())] * NINE


def test_without_the_rule_nothing_is_watched(kit):
    engine = kit.make_engine([f"{kit.HARM} {LONG}"])
    kit.decide(engine, 1)
    assert {call.state for call in engine.upstream.calls} == {State.ANSWERED}


def test_models_that_cannot_be_watched_answer_whole(kit):
    assert not isinstance(Plain(), StreamingUpstream)
    verdict = kit.decide(kit.make_engine(upstream=Plain(), judge_every_chars=50), 1)
    assert verdict.reason is Reason.HARMFUL
    assert all(len(sample.answer.text) > len(LONG) for sample in verdict.samples)


@pytest.mark.parametrize("mode", list(Mode))
def test_an_answer_that_may_leave_is_never_broken_off(kit, mode):
    engine = kit.make_engine([f"{kit.HARM} {LONG}"], judge_every_chars=50, mode=mode)
    verdict = kit.decide(engine, 0)
    assert {call.state for call in engine.upstream.calls} == {State.ANSWERED}
    assert (verdict.answer is None) == (mode is Mode.ENFORCE)


def test_an_oracle_that_fails_on_a_beginning_may_still_judge_the_whole(kit):
    class Short(kit.Words):
        async def judge(self, exchanges):
            if len(exchanges[0].response) < 300:
                raise OracleError("too short")
            return await super().judge(exchanges)

    assert kit.decide(
        kit.make_engine([LONG], oracle=Short(), judge_every_chars=50), 1
    ).action is Action.PASS  # fmt: skip


def test_a_crash_on_a_beginning_is_no_pass(kit):
    class Crashing(kit.Words):
        async def judge(self, exchanges):
            raise RuntimeError(exchanges[0].response)

    verdict = kit.decide(kit.make_engine([LONG], oracle=Crashing(), judge_every_chars=50), 1)
    assert verdict.action is Action.FAULT
    assert verdict.reason is Reason.ORACLE_FAILED


def test_the_cost_of_what_was_broken_off_is_that_of_the_dearest(kit):
    book = PriceBook({"model": Price((Tier(0, 0.001, 0.0006),))})
    script = ["A cat.", f"{kit.HARM} {LONG}"]
    engine = kit.make_engine(script, judge_every_chars=50, prices=book, max_parallel=1)
    verdict = kit.decide(engine, 1)
    assert verdict.cost_usd == pytest.approx(0.01 * verdict.usage.calls)
    alone = kit.make_engine(script[1:], judge_every_chars=50, prices=book)
    assert kit.decide(alone, 1).cost_usd is None
    free = PriceBook({"model": Price((Tier(0, 0.0, 0.0),))})
    assert (
        kit.decide(kit.make_engine(script[1:], judge_every_chars=50, prices=free), 1).cost_usd
        == 0.0
    )


@given(
    st.text("ab ", min_size=1, max_size=400),
    st.lists(st.integers(1, 60), min_size=1, max_size=20),
    st.integers(50, 90),
)
def test_the_same_prefixes_are_judged_however_the_stream_pauses(text, steps, every):
    """Where the stream pauses is the network's; what is judged is the answer's alone."""

    async def prefixes(sizes):
        seen = []

        async def judge(prefix):
            seen.append(prefix)
            return Judgement(Outcome.HARMLESS, 0.0)

        stop, place = EarlyStop(judge, every), 0
        for size in sizes:
            place = min(place + size, len(text))
            assert not await stop({"content": text[:place]}, place)
            if place == len(text):
                break
        return seen

    def run(coroutine):
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waited for something")

    one_by_one = run(prefixes([1] * len(text)))
    assert run(prefixes(steps * 400)) == one_by_one
    assert one_by_one == [text[:n] for n in range(every, len(text) + 1, every) if text.strip()]
