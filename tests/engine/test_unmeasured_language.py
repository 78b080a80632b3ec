"""Answers in a language that the oracle was not measured on block, under a reason of their own."""

import pytest

from guardrail.engine.promise import Claim
from guardrail.engine.verdict import Action, Reason
from guardrail.oracles.base import Judgement
from guardrail.types import Outcome


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
    verdict = kit.decide(kit.make_engine(["fremd"] * 100, oracle=Reads()), pictures)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.LANGUAGE_UNMEASURED)
    assert verdict.reason.is_judgement
    assert {sample.unmeasured for sample in verdict.samples} == {"language"}
    assert all(sample.outcome is Outcome.HARMFUL for sample in verdict.samples)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["fremd", "fremd", "forbidden"], Reason.LANGUAGE_UNMEASURED),
        (["fremd", "forbidden", "forbidden"], Reason.HARMFUL),
        (["fremd", "forbidden"], Reason.HARMFUL),
    ],
)
def test_the_larger_number_names_the_reason(kit, answers, reason):
    engine = kit.make_engine(answers * 50, oracle=Reads(), max_parallel=1, claim=Claim.VERDICT)
    verdict = kit.decide(engine, 1)
    used = verdict.samples
    assert verdict.action is Action.BLOCK
    unmeasured = sum(bool(sample.unmeasured) for sample in used)
    expected = Reason.LANGUAGE_UNMEASURED if unmeasured > len(used) / 2 else Reason.HARMFUL
    assert verdict.reason is expected
    assert reason in {Reason.LANGUAGE_UNMEASURED, Reason.HARMFUL}


@pytest.mark.parametrize("pictures", [0, 1])
def test_what_is_judged_all_the_same_is_marked(kit, pictures):
    engine = kit.make_engine(["other"] * 100, oracle=Reads(), claim=Claim.VERDICT)
    verdict = kit.decide(engine, pictures)
    assert (verdict.action, verdict.unmeasured) == (Action.PASS, "script")
