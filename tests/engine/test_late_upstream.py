"""An upstream that answers within hours: no limit of time ends its decisions."""

import asyncio

import pytest

from guardrail.engine.promise import Claim
from guardrail.engine.verdict import Action, Reason
from guardrail.oracles.base import Judgement, Reference
from guardrail.types import Outcome
from guardrail.upstreams.prices import Price, PriceBook, Tier
from guardrail.upstreams.scripted import Scripted, Step

A_DAY_S = 86_400.0
HURRIED = {"call_timeout_s": 1.0, "deadline_s": 2.0}
CENT = PriceBook({"model": Price((Tier(0, 0.001, 0.0006),))})  # 7 and 5 tokens: one cent


def make_late(script=("A cat.",), *, late=True, price_share=1.0):
    upstream = Scripted(script)
    upstream.answers_late = late
    upstream.price_share = price_share
    return upstream


@pytest.mark.parametrize("pictures", [0, 1])
def test_no_limit_of_time_ends_its_decisions(kit, pictures):
    slow = [Step("A cat.", delay_s=A_DAY_S)]
    late = kit.make_engine(upstream=make_late(slow), **HURRIED)
    assert kit.decide(late, pictures).action is Action.PASS
    other = kit.make_engine(upstream=make_late(slow, late=False), **HURRIED)
    assert kit.decide(other, pictures).reason in (Reason.UPSTREAM_FAILED, Reason.DEADLINE)


def test_its_price_is_a_share_of_the_models(kit):
    whole = kit.decide(kit.make_engine(upstream=make_late(), prices=CENT), 1)
    half = kit.decide(kit.make_engine(upstream=make_late(price_share=0.5), prices=CENT), 1)
    assert half.cost_usd == pytest.approx(0.5 * whole.cost_usd)
    assert kit.decide(kit.make_engine(upstream=make_late(price_share=0.5)), 1).cost_usd is None


class Crowded:
    """An oracle that knows how many questions it was asked at a time."""

    revision = "crowded"

    def __init__(self):
        self.now, self.most = 0, 0

    async def judge(self, exchanges):
        await self._take_time()
        return [Judgement(Outcome.HARMLESS, 0.0)] * len(exchanges)

    async def _take_time(self):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(1.0)
        self.now -= 1

    async def aclose(self):
        pass


class CrowdedComparison(Crowded):
    n0 = 1

    async def reference(self, _selection):
        await self._take_time()
        return Reference("meaning", "any", Crowded())


@pytest.mark.parametrize("oracle", [Crowded, CrowdedComparison])
@pytest.mark.parametrize("late", [False, True])
def test_answers_that_come_at_once_are_judged_a_few_at_a_time(kit, late, oracle):
    """Oracles have limits of time, which a thousand judgements at a time would meet."""
    judge = oracle()

    async def decide_all():
        engine = kit.make_engine(
            upstream=make_late(late=late), oracle=judge, max_parallel=1, claim=Claim.VERDICT
        )
        chat, pictures = kit.make_chat(1), kit.make_pictures(1)
        return await asyncio.gather(*(engine.decide(chat, pictures) for _ in range(70)))

    verdicts = kit.run(decide_all())
    assert {verdict.action for verdict in verdicts} == {Action.PASS}
    assert (judge.most <= 64) is late
