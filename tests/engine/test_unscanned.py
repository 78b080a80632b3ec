"""Parts of an answer that an oracle could not look into: harmful, unless the rules say so."""

import pytest

from guardrail.engine.promise import Claim
from guardrail.engine.rules import OnUnscanned
from guardrail.engine.verdict import Action, Reason
from guardrail.oracles.base import Judgement
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Step

AUDIO_ALONE = Step(
    message={"content": None, "audio": {"id": "audio_1"}}, finish_reason="content_filter"
)


class Blind:
    """Finds every answer harmless, and says that it could not look into a part of it."""

    revision = "blind"

    async def judge(self, exchanges):
        return [Judgement(Outcome.HARMLESS, 0.0, "", ("picture",)) for _ in exchanges]

    async def aclose(self):
        pass


@pytest.mark.parametrize("pictures", [0, 1])
@pytest.mark.parametrize("passes", [False, True])
def test_what_the_oracle_could_not_read_is_harmless_only_by_the_rules(kit, passes, pictures):
    rule = OnUnscanned.PASS_UNSCANNED if passes else OnUnscanned.BLOCK
    engine = kit.make_engine(oracle=Blind(), on_unscanned=rule, claim=Claim.VERDICT)
    verdict = kit.decide(engine, pictures)
    assert (verdict.action is Action.PASS) == passes
    assert verdict.samples[0].unscanned == ("picture",)
    if not passes:
        assert verdict.reason is Reason.UNSCANNED


def test_an_answer_without_any_text_needs_no_oracle_where_it_may_pass(kit):
    oracle = kit.Words()
    rules = {"on_unscanned": OnUnscanned.PASS_UNSCANNED, "claim": Claim.VERDICT}
    verdict = kit.decide(kit.make_engine([AUDIO_ALONE], oracle=oracle, **rules))
    assert verdict.action is Action.PASS
    assert verdict.unscanned == ("audio",)
    assert (verdict.samples[0].reason, oracle.seen) == ("unscanned", [])
