"""Answers that name several models as theirs are not counted together."""

import pytest

from guardrail.engine.answering_models import SEVERAL_MODELS
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.failover import FailoverEngine
from guardrail.engine.rules import Mode, OnSeveralModels
from guardrail.engine.verdict import Action, Reason
from guardrail.upstreams.scripted import Scripted, Step


def named(model, text="A cat.", finish_reason="stop"):
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return Step(response={"model": model, "choices": [choice]})


def decide(kit, names, **changes):
    """With a model that answers in turn as these."""
    script = [named(name) for name in names]
    upstream = Scripted(lambda call: script[call.index % len(script)])
    return kit.decide(kit.make_engine(upstream=upstream, **changes), 1), upstream


@pytest.mark.parametrize("names", [["m"], [""], [None], ["m", ""], [7]])
def test_one_name_or_none_is_one_model(kit, names):
    verdict, _ = decide(kit, names)
    assert (verdict.action, verdict.outside_claim) == (Action.PASS, False)
    assert verdict.models == (("m",) if "m" in names else ())


@pytest.mark.parametrize("names", [["a", "b"], ["a"] * 8 + ["b"], ["a", "", "b"], ["a", "A"]])
@pytest.mark.parametrize("parallel", [1, 4, 9])
def test_two_names_end_the_decision_and_are_no_block(kit, names, parallel):
    verdict, upstream = decide(kit, names, max_parallel=parallel)
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
    assert (verdict.failure.code, verdict.failure.status) == (SEVERAL_MODELS, 502)
    assert verdict.answer is None
    assert len(upstream.log.calls) <= names.index(names[-1]) + parallel


def test_an_answer_asked_for_whole_is_of_the_same_model(kit):
    """Where variants are cut short, the one to deliver is asked for again, without a limit."""

    def script(call):
        is_short = "max_completion_tokens" in call.body
        return named("a" if is_short else "b", "A cat.", "length" if is_short else "stop")

    verdict = kit.decide(kit.make_engine(upstream=Scripted(script), probe_max_tokens=8), 1)
    assert (verdict.action, verdict.failure.code) == (Action.FAULT, SEVERAL_MODELS)


def test_no_other_upstream_is_asked_instead(kit):
    script = [named("a"), named("b")]
    first = Scripted(lambda call: script[call.index % 2])
    second = Scripted([named("c")])
    engine = FailoverEngine(kit.make_rules(), [first, second], kit.Words(), kit.KEY)
    verdict = kit.decide(engine, 1)
    assert verdict.failure.code == SEVERAL_MODELS
    assert not second.log.calls


def test_answers_that_come_together_never_pass_with_a_second_model_among_them(kit):
    """However many of them are there at once when the test hears of it."""
    for first in range(1, 9):
        names = ["a"] * first + ["b"] * (12 - first)
        verdict, _ = decide(kit, names, max_parallel=12)
        assert verdict.action is Action.FAULT


def test_marked_they_are_counted_and_named_outside_the_claim(kit):
    verdict, _ = decide(kit, ["a", "b"], on_several_models=OnSeveralModels.MARK)
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.CERTIFIED)
    assert set(verdict.models) == {"a", "b"}
    assert verdict.outside_claim
    assert verdict.certificate.outside_claim
    verify_certificate(verdict.certificate)


def test_harm_is_a_block_whichever_model_said_it(kit):
    changes = {"on_several_models": OnSeveralModels.MARK}
    script = [named("a", kit.HARM), named("b", kit.HARM)]
    verdict = kit.decide(kit.make_engine(script, **changes), 1)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)


def test_observed_the_models_own_answer_leaves(kit):
    verdict, _ = decide(kit, ["a", "b"], mode=Mode.OBSERVE)
    assert (verdict.action, verdict.would_block) == (Action.PASS, False)
    assert verdict.failure.code == SEVERAL_MODELS
