"""Limits of calls and cost: the decision ends undecided, and nothing is spent unseen."""

import asyncio

import pytest

from guardrail.engine.budget import check_prices, has_price
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.rules import AnswerSource, Mode
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import ConfigError, LimitError
from guardrail.oracles.base import Judgement, Reference
from guardrail.stats import Decision
from guardrail.types import Outcome
from guardrail.upstreams.chain import UpstreamChain
from guardrail.upstreams.prices import ANY_MODEL, Price, PriceBook, Tier
from guardrail.upstreams.scripted import Fault, Scripted, Step

NINE = 9  # samples of a decision by the tests' own rules
CENT = Price((Tier(0, 0.001, 0.0006),))  # 7 and 5 tokens: one cent
BOOK = PriceBook({"model": CENT})


def test_the_cost_of_every_answer_is_added_up(kit):
    verdict = kit.decide(kit.make_engine(prices=BOOK), 1)
    assert verdict.action is Action.PASS
    assert verdict.cost_usd == pytest.approx(NINE * 0.01)


@pytest.mark.parametrize("pictures", [0, 1])
def test_without_a_price_the_cost_is_not_known(kit, pictures):
    assert kit.decide(kit.make_engine(), pictures).cost_usd is None


def test_a_text_costs_one_call(kit):
    assert kit.decide(kit.make_engine(prices=BOOK), 0).cost_usd == pytest.approx(0.01)


def test_tokens_that_nobody_counted_have_no_known_cost(kit):
    choice = {"index": 0, "message": {"role": "assistant", "content": "A cat."}}
    uncounted = Step(response={"choices": [choice]})
    assert kit.decide(kit.make_engine([uncounted], prices=BOOK), 1).cost_usd is None
    free = PriceBook({"model": Price((Tier(0, 0.0, 0.0),))})
    assert kit.decide(kit.make_engine([uncounted], prices=free), 1).cost_usd == 0.0


class TestCalls:
    @pytest.mark.parametrize("most", [1, 4, 8])
    def test_no_more_calls_are_made_than_allowed(self, kit, most):
        upstream = Scripted(["A cat."])
        verdict = kit.decide(kit.make_engine(upstream=upstream, max_calls=most), 1)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.MAX_CALLS)
        assert len(upstream.calls) == most
        assert verdict.certificate.decision is Decision.UNCERTAIN
        verify_certificate(verdict.certificate)

    def test_exactly_enough_calls_pass(self, kit):
        assert kit.decide(kit.make_engine(max_calls=NINE), 1).action is Action.PASS

    def test_repeated_calls_count(self, kit):
        flaky = [Step(fault=Fault.STATUS, status=429, retry_after="0"), *["A cat."] * 20]
        upstream = Scripted(flaky, undrawn={429})
        engine = kit.make_engine(upstream=upstream, max_calls=NINE, retries=2, max_parallel=1)
        verdict = kit.decide(engine, 1)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.MAX_CALLS)
        assert len(engine.upstream.calls) == NINE

    def test_harm_that_decides_before_the_limit_is_harm(self, kit):
        verdict = kit.decide(kit.make_engine([kit.HARM], max_calls=8), 1)
        assert verdict.reason is Reason.HARMFUL

    def test_the_clean_answer_is_one_call_more(self, kit):
        few = kit.make_engine(answer=AnswerSource.CLEAN, max_calls=NINE)
        assert kit.decide(few, 1).reason is Reason.MAX_CALLS
        enough = kit.make_engine(answer=AnswerSource.CLEAN, max_calls=NINE + 1)
        assert kit.decide(enough, 1).action is Action.PASS

    def test_the_model_s_own_answer_is_free_where_the_guard_only_watches(self, kit):
        engine = kit.make_engine(mode=Mode.OBSERVE, max_calls=3, prices=BOOK)
        verdict = kit.decide(engine, 1)
        assert (verdict.action, verdict.reason) == (Action.PASS, Reason.MAX_CALLS)
        assert not verdict.would_block
        assert verdict.answer.text == "A cat."
        assert verdict.cost_usd == pytest.approx(0.01 * len(engine.upstream.calls))


class TestCost:
    @pytest.mark.parametrize(("limit", "calls"), [(0.05, 5), (0.085, 8), (0.011, 1)])
    def test_the_limit_ends_the_decision(self, kit, limit, calls):
        engine = kit.make_engine(prices=BOOK, max_cost_usd=limit, max_parallel=1)
        verdict = kit.decide(engine, 1)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.MAX_COST)
        assert verdict.certificate.decision is Decision.UNCERTAIN
        assert len(engine.upstream.calls) == calls
        assert verdict.cost_usd <= limit

    def test_calls_in_flight_are_reckoned(self, kit):
        """After the first wave, of which nothing is known, the limit holds."""
        engine = kit.make_engine(prices=BOOK, max_cost_usd=0.0705, max_parallel=4)
        verdict = kit.decide(engine, 1)
        assert verdict.reason is Reason.MAX_COST
        assert len(engine.upstream.calls) == 7

    def test_enough_money_passes(self, kit):
        engine = kit.make_engine(prices=BOOK, max_cost_usd=0.0901)
        assert kit.decide(engine, 1).action is Action.PASS

    @pytest.mark.parametrize("pictures", [0, 1])
    def test_a_model_without_a_price_is_refused_before_any_call(self, kit, pictures):
        engine = kit.make_engine(max_cost_usd=1.0)
        verdict = kit.decide(engine, pictures)
        assert verdict.action is Action.FAULT
        assert isinstance(verdict.failure, ConfigError)
        assert "prices" in str(verdict.failure)
        assert engine.upstream.calls == []

    def test_what_cannot_be_counted_ends_the_decision(self, kit):
        choice = {"index": 0, "message": {"role": "assistant", "content": "A cat."}}
        uncounted = Step(response={"choices": [choice]})
        engine = kit.make_engine([uncounted], prices=BOOK, max_cost_usd=1.0, max_parallel=1)
        assert kit.decide(engine, 1).reason is Reason.MAX_COST
        assert len(engine.upstream.calls) == 1

    def test_every_model_may_have_the_same_price(self, kit):
        book = PriceBook({ANY_MODEL: CENT})
        engine = kit.make_engine(prices=book, max_cost_usd=1.0)
        assert kit.decide(engine, 1).cost_usd == pytest.approx(NINE * 0.01)


class FirstOfThree:
    """Compares with the first of three draws; harmless is what says the same."""

    revision, n0 = "first", 3

    async def judge(self, exchanges):
        return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

    async def reference(self, selection):
        return Reference("meaning", selection[0].response, self)

    async def aclose(self):
        pass


@pytest.mark.parametrize(("most", "action"), [(2, Action.FAULT), (NINE + 2, Action.FAULT),
                                              (NINE + 3, Action.PASS)])  # fmt: skip
def test_draws_for_a_reference_count(kit, most, action):
    engine = kit.make_engine(oracle=FirstOfThree(), max_calls=most, prices=BOOK)
    verdict = kit.decide(engine, 1)
    assert verdict.action is action
    assert verdict.cost_usd == pytest.approx(0.01 * len(engine.upstream.calls))
    if action is Action.FAULT:
        assert verdict.reason is Reason.MAX_CALLS


@pytest.mark.parametrize(
    ("limits", "reason", "status", "code", "field"),
    [
        ({"max_calls": 3}, Reason.MAX_CALLS, 503, "call_limit", "advanced.limits.max_calls"),
        ({"max_cost_usd": 0.03}, Reason.MAX_COST, 503, "cost_limit", "max_cost_usd_per_request"),
        ({"deadline_s": 0.1}, Reason.DEADLINE, 504, "deadline", "advanced.limits.deadline_s"),
    ],
)
@pytest.mark.parametrize("oracle", [None, FirstOfThree()])
def test_a_limit_says_what_it_is(kit, limits, reason, status, code, field, oracle):
    """Also where it is met while the reference is chosen."""
    slow = [Step("A cat.", delay_s=5.0 if reason is Reason.DEADLINE else 0.0)]
    given = {} if oracle is None else {"oracle": oracle}
    engine = kit.make_engine(slow, prices=BOOK, max_parallel=1, **limits, **given)
    verdict = kit.decide(engine, 1)
    assert (verdict.action, verdict.reason) == (Action.FAULT, reason)
    assert isinstance(verdict.failure, LimitError)
    assert (verdict.failure.status, verdict.failure.code) == (status, code)
    assert field in str(verdict.failure)
    assert "no judgement" in str(verdict.failure)
    assert verdict.answer is None


def test_cancellation_gives_the_place_back(kit):
    async def scenario():
        engine = kit.make_engine(["A cat."], max_calls=NINE)
        task = asyncio.create_task(engine.decide(kit.make_chat(1), kit.make_pictures(1)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await engine.decide(kit.make_chat(1), kit.make_pictures(1))

    assert kit.run(scenario()).action is Action.PASS


class Mapped(Scripted):
    """Knows two names of models, one of which the provider calls otherwise."""

    known_models = ("big", "small")

    def provider_model(self, model):
        return {"big": "vision-large"}.get(model, model)


class TestPricesThatAreNeeded:
    """Where the cost is limited: found at the start, where the names are known by then."""

    @pytest.mark.parametrize(
        "names", [("big", "small"), ("vision-large", "small"), (ANY_MODEL,), ("big", ANY_MODEL)]
    )
    def test_either_name_will_do(self, kit, names):
        rules = kit.make_rules(max_cost_usd=1.0, prices=PriceBook(dict.fromkeys(names, CENT)))
        check_prices(rules, Mapped([]))
        assert has_price(rules, Mapped([]), "big")

    @pytest.mark.parametrize(("names", "missing"), [(("big",), "small"), (("small",), "big")])
    def test_one_that_has_none_is_named(self, kit, names, missing):
        rules = kit.make_rules(max_cost_usd=1.0, prices=PriceBook(dict.fromkeys(names, CENT)))
        with pytest.raises(ConfigError, match=f"price of '{missing}'"):
            check_prices(rules, Mapped([]))
        assert not has_price(rules, UpstreamChain([Scripted([]), Mapped([])]), missing)

    def test_no_price_at_all_fits_no_model(self, kit):
        with pytest.raises(ConfigError, match="price of every model"):
            check_prices(kit.make_rules(max_cost_usd=1.0, prices=PriceBook()), Scripted([]))

    def test_without_a_limit_none_is_needed(self, kit):
        check_prices(kit.make_rules(), Mapped([]))
        assert has_price(kit.make_rules(), Mapped([]), "big")

    def test_answers_are_charged_by_the_providers_name(self, kit):
        rules = {"max_cost_usd": 1.0, "prices": PriceBook({"provider's": CENT})}
        upstream = Scripted(["A cat."])
        upstream.provider_model = lambda _: "provider's"
        verdict = kit.decide(kit.make_engine(upstream=upstream, **rules), 1)
        assert verdict.action is Action.PASS
        assert verdict.cost_usd == pytest.approx(NINE * 0.01)
