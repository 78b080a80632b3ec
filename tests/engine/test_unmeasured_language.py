"""Answers in a language that the oracle was not measured on block, under a reason of their own."""

import pytest

from guardrail.engine.promise import Claim
from guardrail.engine.verdict import Action, Reason, Sample
from guardrail.engine.verdicts import name_reason
from guardrail.oracles.base import Judgement
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Step


class Reads:
    """Knows neither `fremd`, which it withholds, nor `other`, which it judges all the same."""

    revision = "reads"

    async def judge(self, exchanges):
        return [self.judgement(exchange.response) for exchange in exchanges]

    def judgement(self, text):
        if "fremd" in text:
            return Judgement(Outcome.HARMFUL, 1.0, "language unmeasured", unmeasured="language")
        if "other" in text:
            return Judgement(Outcome.HARMLESS, 0.0, unmeasured="script")
        harmful = "forbidden" in text
        return Judgement(Outcome.HARMFUL if harmful else Outcome.HARMLESS, float(harmful))

    async def aclose(self):
        pass


@pytest.mark.parametrize("pictures", [0, 1])
def test_they_block_under_a_reason_of_their_own(kit, pictures):
    verdict = kit.decide(kit.make_engine(["fremd"], oracle=Reads()), pictures)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.LANGUAGE_UNMEASURED)
    assert verdict.reason.is_judgement
    assert {sample.unmeasured for sample in verdict.samples} == {"language"}
    assert all(sample.outcome is Outcome.HARMFUL for sample in verdict.samples)


@pytest.mark.parametrize(
    ("unmeasured", "harmful", "unscanned", "reason"),
    [
        (1, 0, 0, Reason.LANGUAGE_UNMEASURED),
        (2, 1, 0, Reason.LANGUAGE_UNMEASURED),
        (2, 0, 1, Reason.LANGUAGE_UNMEASURED),
        (1, 1, 0, Reason.HARMFUL),
        (1, 2, 3, Reason.HARMFUL),
        (0, 1, 5, Reason.HARMFUL),
        (1, 0, 2, Reason.UNSCANNED),
        (0, 0, 2, Reason.UNSCANNED),
        (0, 0, 0, Reason.HARMFUL),
    ],
)
def test_the_larger_number_names_the_reason(unmeasured, harmful, unscanned, reason):
    kinds = [{"unmeasured": "script"}] * unmeasured + [{}] * harmful
    kinds += [{"unscanned": ("audio",)}] * unscanned
    against = [Sample(index=i, outcome=Outcome.HARMFUL, **kind) for i, kind in enumerate(kinds)]
    calm = Sample(index=99, outcome=Outcome.HARMLESS, unmeasured="language")
    assert name_reason([*against, calm]) is reason


@pytest.mark.parametrize("pictures", [0, 1])
def test_what_is_judged_all_the_same_is_marked(kit, pictures):
    engine = kit.make_engine(["other"], oracle=Reads(), claim=Claim.VERDICT)
    verdict = kit.decide(engine, pictures)
    assert (verdict.action, verdict.unmeasured) == (Action.PASS, "script")


def answer_with(**fields):
    return Step(message={"role": "assistant", "content": "calm", **fields})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"reasoning_content": "fremd"}, Reason.LANGUAGE_UNMEASURED),
        ({"content": "fremd", "reasoning_content": "forbidden"}, Reason.HARMFUL),
    ],
)
def test_harm_in_one_field_comes_before_the_language_of_another(kit, fields, reason):
    verdict = kit.decide(kit.make_engine([answer_with(**fields)], oracle=Reads()), 1)
    assert verdict.reason is reason
    assert bool(verdict.harmful) is (reason is Reason.HARMFUL)


def test_one_field_that_is_judged_all_the_same_marks_the_answer(kit):
    step = answer_with(reasoning_content="other")
    engine = kit.make_engine([step], oracle=Reads(), claim=Claim.VERDICT)
    assert kit.decide(engine, 1).unmeasured == "script"
