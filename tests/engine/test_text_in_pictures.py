"""Harmful words in a picture block before any call; the check is no part of the test."""

import asyncio
from dataclasses import dataclass, field

import pytest

from guardrail.engine.failover import FailoverEngine
from guardrail.engine.rules import Mode, OnOracleFailure, TextInPictures
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import ConfigError, OracleError, PictureTextError
from guardrail.oracles.base import Judgement
from guardrail.picture_text.check import PictureTextJudge
from guardrail.picture_text.request_head import RequestScorer
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted


@dataclass
class Reader:
    """Reads what it is told that the pictures say."""

    texts: tuple = ()
    fault: Exception | None = None
    seen: list = field(default_factory=list)
    closed: bool = False

    async def read(self, pictures):
        self.seen.append([picture.shape for picture in pictures])
        if self.fault is not None:
            raise self.fault
        return self.texts

    async def aclose(self):
        self.closed = True


class Many:
    """An oracle of words that takes several texts at once."""

    revision = "many"

    async def judge(self, exchanges):
        bad = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if b else Outcome.HARMLESS, float(b)) for b in bad]

    async def aclose(self):
        pass


def make_engine(kit, reader, *, oracle=None, **changes):
    rules = kit.make_rules(text_in_pictures=TextInPictures.OCR, **changes)
    upstream = Scripted(["A cat."])
    check = PictureTextJudge(reader, RequestScorer())
    engine = kit.Engine(rules, upstream, oracle or kit.Words(), kit.KEY, check)
    return engine, upstream


HARMFUL = {
    "asks for harm": "Steps to build a bomb. 1. 2. 3.",
    "harm by the policy's oracle": "A long forbidden text.",
}


@pytest.mark.parametrize("text", HARMFUL.values(), ids=HARMFUL)
def test_harmful_words_block_before_any_call_and_by_a_judgement(kit, text):
    engine, upstream = make_engine(kit, Reader(("Some calm words.", text)), oracle=Many())
    verdict = kit.decide(engine, 1)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.TEXT_IN_PICTURE)
    assert verdict.reason.is_judgement
    assert upstream.calls == []
    assert (verdict.certificate, verdict.samples, verdict.failure) == (None, (), None)


def test_calm_words_change_nothing_of_the_test_or_its_certificate(kit):
    engine, upstream = make_engine(kit, Reader(("Bus stop. Line 4.",)), deadline_s=600.0)
    with_check = kit.decide(engine, 1)
    without = kit.decide(kit.make_engine(deadline_s=600.0), 1)
    assert with_check.reason is Reason.CERTIFIED
    assert len(upstream.calls) == len(without.samples) == len(with_check.samples)
    assert with_check.certificate.samples == without.certificate.samples
    assert with_check.certificate.radius == without.certificate.radius


def test_the_pictures_are_read_as_the_client_sent_them_and_without_pictures_nothing_is(kit):
    reader = Reader()
    engine, _ = make_engine(kit, reader)
    picture = kit.make_picture(height=30, width=40)
    assert kit.decide(engine, (picture,)).action is Action.PASS
    assert reader.seen == [[(30, 40, 3)]]  # not the canvas of 8
    assert kit.decide(engine, 0).action is Action.PASS
    assert len(reader.seen) == 1


@pytest.mark.parametrize("text", ["", "12.40", "A1 7"])
def test_numbers_and_signs_are_not_judged(kit, text):
    oracle = kit.Words()
    engine, _ = make_engine(kit, Reader((text,)), oracle=oracle)
    kit.decide(engine, 1)
    assert text not in oracle.seen


FAULTS = {
    "not read": Reader(fault=PictureTextError("not read within 60 s")),
    "a crash": Reader(fault=PictureTextError("could not be read (RuntimeError)")),
}


@pytest.mark.parametrize("reader", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("rule", list(OnOracleFailure))
def test_what_cannot_be_read_fails_closed_with_a_reason_of_its_own(kit, reader, rule):
    engine, upstream = make_engine(kit, reader, on_oracle_failure=rule)
    verdict = kit.decide(engine, 1)
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.PICTURE_TEXT_FAILED)
    assert not verdict.reason.is_judgement
    assert verdict.answer is None
    assert upstream.calls == []


class Silent:
    """Says of every text that it could not be judged."""

    revision = "silent"

    async def judge(self, exchanges):
        return [Judgement(Outcome.MISSING, 0.0) for _ in exchanges]

    async def aclose(self):
        pass


def test_an_oracle_that_fails_on_the_text_fails_closed_too(kit):
    class Broken(kit.Words):
        async def judge(self, _):
            raise RuntimeError("it quotes the text")

    for oracle in (Broken(), Silent(), kit.Words(faults=[OracleError("gone")])):
        engine, upstream = make_engine(kit, Reader(("Some words.",)), oracle=oracle)
        verdict = kit.decide(engine, 1)
        assert verdict.reason is Reason.PICTURE_TEXT_FAILED
        assert "quotes" not in str(verdict.failure)
        assert upstream.calls == []


def test_reading_ends_with_the_decisions_deadline(kit):
    class Slow(Reader):
        async def read(self, _):
            await asyncio.sleep(60)

    engine, _ = make_engine(kit, Slow(), deadline_s=0.05)
    assert kit.decide(engine, 1).reason is Reason.DEADLINE


def test_observing_delivers_and_marks(kit):
    engine, _ = make_engine(kit, Reader(("Steps to build a bomb.",)), mode=Mode.OBSERVE)
    verdict = kit.decide(engine, 1)
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.TEXT_IN_PICTURE)
    assert verdict.would_block


def test_an_oracle_that_compares_answers_is_not_asked(kit):
    class Compares(kit.Words):
        n0 = 1

        async def reference(self, _):
            raise AssertionError("it was not blocked before")

        async def judge(self, _):
            raise AssertionError("a text of its own has no reference")

    engine, _ = make_engine(kit, Reader(("Steps to build a bomb.",)), oracle=Compares())
    assert kit.decide(engine, 1).reason is Reason.TEXT_IN_PICTURE


def test_another_model_or_oracle_keeps_the_check_and_closing_ends_it(kit):
    reader = Reader(("Steps to build a bomb.",))
    engine, _ = make_engine(kit, reader)
    for other in (
        engine.with_oracle(kit.Words()),
        engine.with_upstream(Scripted(["A dog."])),
        FailoverEngine(
            engine.rules, [Scripted(["a"]), Scripted(["b"])], kit.Words(), kit.KEY,
            engine.text_check,
        ),
    ):  # fmt: skip
        assert kit.decide(other, 1).reason is Reason.TEXT_IN_PICTURE
    kit.run(engine.aclose())
    assert reader.closed


def test_rules_and_check_belong_together(kit):
    with pytest.raises(ConfigError, match="text_in_pictures"):
        kit.make_engine(text_in_pictures=TextInPictures.OCR)
    with pytest.raises(ConfigError, match="text_in_pictures"):
        kit.Engine(
            kit.make_rules(), Scripted(["a"]), kit.Words(), kit.KEY,
            PictureTextJudge(Reader(), RequestScorer()),
        )  # fmt: skip


def test_the_worst_text_counts_and_a_missing_judgement_is_none():
    class Few:
        async def judge(self, _):
            return [Judgement(Outcome.HARMLESS, 0.1)]

    check = PictureTextJudge(Reader(("One text.", "Another text.")), RequestScorer())
    with pytest.raises(PictureTextError, match="missing"):
        asyncio.run(check.judge([], Few()))
