"""Observe mode in two steps: the model's own answer first, and the decision when there is time."""

import pytest

from guardrail.engine.failover import FailoverEngine
from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import RequestError
from guardrail.upstreams.scripted import Fault, Scripted, Step

DOWN = [Step(fault=Fault.STATUS, status=503)]


def answered(kit, engine, pictures=1):
    given = [kit.make_picture()] * pictures
    return kit.run(engine.answer_unjudged(kit.make_chat(pictures), given))


@pytest.mark.parametrize("pictures", [0, 1])
def test_the_answer_comes_by_one_call_and_unjudged(kit, pictures):
    engine = kit.make_engine([kit.HARM], mode=Mode.OBSERVE)
    verdict = answered(kit, engine, pictures)
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.NOT_DECIDED)
    assert verdict.answer.text == kit.HARM
    assert verdict.outside_claim
    assert verdict.unscanned == ("answer",)
    assert verdict.usage.calls == len(engine.upstream.calls) == 1
    assert engine.oracle.seen == []


def test_a_model_that_is_down(kit):
    verdict = answered(kit, kit.make_engine(DOWN, mode=Mode.OBSERVE))
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)


def test_the_number_of_pictures_must_fit(kit):
    with pytest.raises(RequestError, match="refer to 1"):
        kit.run(kit.make_engine(mode=Mode.OBSERVE).answer_unjudged(kit.make_chat(1), []))


def test_the_decision_on_it_asks_nothing_twice(kit):
    engine = kit.make_engine([kit.HARM], mode=Mode.OBSERVE)
    own = answered(kit, engine).answer
    asked = len(engine.upstream.calls)
    verdict = kit.run(engine.decide(kit.make_chat(1), [kit.make_picture()], own=own))
    assert (verdict.action, verdict.would_block) == (Action.PASS, True)
    assert verdict.answer is own
    assert len(engine.upstream.calls) - asked == verdict.certificate.samples


class TestSeveralModels:
    def made(self, kit, *scripts):
        upstreams = [Scripted(script) for script in scripts]
        rules = kit.make_rules(mode=Mode.OBSERVE)
        return FailoverEngine(rules, upstreams, kit.Words(), kit.KEY), upstreams

    def test_the_first_that_answers(self, kit):
        engine, (_, second) = self.made(kit, DOWN, ["A cat."])
        verdict = answered(kit, engine)
        assert (verdict.action, verdict.answer.text) == (Action.PASS, "A cat.")
        assert len(second.calls) == 1
        later = kit.run(engine.decide(kit.make_chat(1), [kit.make_picture()], own=verdict.answer))
        assert later.answer is verdict.answer

    def test_none_answers(self, kit):
        engine, _ = self.made(kit, DOWN, DOWN)
        assert answered(kit, engine).reason is Reason.UPSTREAM_FAILED
