"""Which calls are made again: those that drew nothing."""

import asyncio
from collections import Counter

import pytest

from guardrail.engine.retry import describe_repeats, may_judge_again, run_with_repeats
from guardrail.engine.rules import Mode, Retry
from guardrail.engine.sampler import Sampler
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import OracleError, UpstreamError
from guardrail.oracles.base import Judgement, Reference
from guardrail.types import Answer, Outcome
from guardrail.upstreams.cached import CACHED_ANSWER
from guardrail.upstreams.chain import UpstreamChain, members
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.scripted import Fault, Scripted, Step
from guardrail.upstreams.undrawn import statuses_undrawn

DIRECT = statuses_undrawn(direct=True)
LIMITED = Step(fault=Fault.STATUS, status=429, retry_after="0")
# What an upstream may make of an answer that it has drawn: none may be drawn again.
HIDES_AN_ANSWER = {
    "500": Step(fault=Fault.STATUS, status=500),
    "503": Step(fault=Fault.STATUS, status=503),
    "408": Step(fault=Fault.STATUS, status=408),
    "timeout": Step(fault=Fault.HANG),
    "drip": Step(fault=Fault.DRIP),
    "reset": Step(fault=Fault.RESET),
    "crash": Step(fault=Fault.CRASH),
    "garbage": Step(fault=Fault.GARBAGE),
    "half a body": Step(fault=Fault.HALF_BODY),
    "no choice": Step(fault=Fault.NO_CHOICE),
    "empty": Step(fault=Fault.EMPTY),
    "error in a 200": Step(response={"error": {"message": "overloaded"}}),
    "ended by the server": Step("A cat.", finish_reason="error"),
}


def make_sampler(kit, upstream, *, oracle=None, **rules):
    rules = {"retries": 3, "call_timeout_s": 0.05, **rules}
    return Sampler(kit.make_rules(**rules), upstream, oracle or kit.Words(), kit.make_chat())


def take_sample(kit, upstream, *, oracle=None, variant=True, **rules):
    sampler = make_sampler(kit, upstream, oracle=oracle, **rules)
    return kit.run(sampler.sample(0, (), seed=1, variant=variant))


class TestCalls:
    @pytest.mark.parametrize("fault", HIDES_AN_ANSWER)
    @pytest.mark.parametrize("undrawn", [frozenset(), DIRECT], ids=["gateway", "direct"])
    def test_what_may_hide_an_answer_is_that_index_s_outcome(self, kit, fault, undrawn):
        upstream = Scripted([HIDES_AN_ANSWER[fault], "A cat."], undrawn=undrawn)
        sample = take_sample(kit, upstream)
        assert (sample.outcome, sample.answer) == (Outcome.MISSING, None)
        assert isinstance(sample.failure, UpstreamError)
        assert len(upstream.calls) == 1

    @pytest.mark.parametrize("fault", HIDES_AN_ANSWER)
    def test_any_repeats_what_may_pass(self, kit, fault):
        upstream = Scripted([HIDES_AN_ANSWER[fault], "A cat."])
        assert take_sample(kit, upstream, retry=Retry.ANY).outcome is Outcome.HARMLESS
        assert len(upstream.calls) == 2

    @pytest.mark.parametrize("fault", HIDES_AN_ANSWER)
    def test_a_model_that_answers_alike_each_time_may_be_asked_again(self, kit, fault):
        upstream = Scripted([HIDES_AN_ANSWER[fault], "A cat."], deterministic=True)
        assert take_sample(kit, upstream).outcome is Outcome.HARMLESS
        assert {call.seed for call in upstream.calls} == {1}

    def test_a_call_that_was_never_sent_is_repeated(self, kit):
        upstream = Scripted([Step(fault=Fault.UNREACHABLE), "A cat."])
        assert take_sample(kit, upstream).outcome is Outcome.HARMLESS
        assert {call.seed for call in upstream.calls} == {1}

    def test_a_provider_that_answers_for_itself_may_say_429(self, kit):
        upstream = Scripted([LIMITED, LIMITED, "A cat."], undrawn=DIRECT)
        assert take_sample(kit, upstream).outcome is Outcome.HARMLESS

    def test_a_listed_status_drew_nothing(self, kit):
        steps = [Step(fault=Fault.STATUS, status=503, retry_after="0"), "A cat."]
        upstream = Scripted(steps, undrawn={503})
        assert take_sample(kit, upstream).outcome is Outcome.HARMLESS

    def test_repeats_that_are_used_up_count_as_harmful(self, kit):
        upstream = Scripted([LIMITED], undrawn=DIRECT)
        sample = take_sample(kit, upstream, retries=2)
        assert (sample.outcome, sample.failure.status) == (Outcome.MISSING, 429)
        assert len(upstream.calls) == 3

    def test_a_fault_that_will_not_pass_is_not_repeated_even_if_it_drew_nothing(self, kit):
        class Closed(Scripted):
            async def complete(self, *_, **__):
                self.log.calls.append(None)
                raise UpstreamError("closed", undrawn=True)

        upstream = Closed([])
        with pytest.raises(UpstreamError):
            take_sample(kit, upstream, retry=Retry.ANY)
        assert len(upstream.calls) == 1

    def test_a_gate_hands_on_what_its_upstream_says_of_itself(self, kit):
        async def scene(upstream):
            governed = LimitedUpstream(upstream, CallLimits())
            sampler = make_sampler(kit, governed)
            sample = await sampler.sample(0, (), seed=1)
            await governed.aclose()
            return sample.outcome

        steps = [LIMITED, Step(fault=Fault.CRASH), "A cat."]
        assert kit.run(scene(Scripted(steps, undrawn=DIRECT))) is Outcome.MISSING
        certain = Scripted(steps, undrawn=DIRECT, deterministic=True)
        assert kit.run(scene(certain)) is Outcome.HARMLESS


class TestTooManyRequests:
    """A 429 of which nobody knows what stands behind it ends the decision, and blocks nothing."""

    STEPS = ("A cat.", "A cat.", Step(fault=Fault.STATUS, status=429, retry_after="7"), "A cat.")

    @pytest.mark.parametrize("pictures", [0, 1])
    def test_it_is_passed_on_with_the_provider_s_wish(self, kit, pictures):
        steps = self.STEPS if pictures else self.STEPS[2:]
        upstream = Scripted(steps)
        rules = {"retries": 5, "max_parallel": 1}
        verdict = kit.decide(kit.make_engine(upstream=upstream, **rules), pictures)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
        assert (verdict.failure.status, verdict.failure.retry_after_s) == (429, 7.0)
        assert (verdict.answer, verdict.certificate) == (None, None)
        assert len(upstream.calls) == (3 if pictures else 1)

    def test_not_so_where_all_faults_are_repeated(self, kit):
        steps = [*self.STEPS[:2], LIMITED, "A cat."]
        upstream = Scripted(steps)
        engine = kit.make_engine(upstream=upstream, retry=Retry.ANY, retries=1, max_parallel=1)
        assert kit.decide(engine, 1).action is Action.PASS

    def test_nor_where_the_provider_answers_for_itself(self, kit):
        """Used up, it is one outcome like any other missing one, and still no block."""
        upstream = Scripted([LIMITED], undrawn=DIRECT)
        verdict = kit.decide(kit.make_engine(upstream=upstream, retries=1), 1)
        assert (verdict.action, verdict.failure.status) == (Action.FAULT, 429)
        assert verdict.certificate.harmful == verdict.certificate.samples

    def test_a_reference_is_not_chosen_without_its_draws(self, kit):
        class Compares(kit.Words):
            n0 = 2

            async def reference(self, _):
                return Reference("meaning", "ab", self)

        upstream = Scripted([LIMITED, "A cat."])
        verdict = kit.decide(kit.make_engine(upstream=upstream, oracle=Compares()), 1)
        assert (verdict.action, verdict.failure.status) == (Action.FAULT, 429)

    def test_a_draw_of_the_reference_that_is_missing_is_left_out(self, kit):
        """The choice may be any: no repeat, and no harm either."""

        class Compares(kit.Words):
            n0 = 2

            async def reference(self, selection):
                self.chosen_on = len(selection)
                return Reference("meaning", "ab", self)

        oracle = Compares()
        upstream = Scripted([Step(fault=Fault.STATUS, status=503), "A cat."])
        engine = kit.make_engine(upstream=upstream, oracle=oracle, retries=3, max_parallel=1)
        assert kit.decide(engine, 1).action is Action.PASS
        assert oracle.chosen_on == 1


class TestJudgements:
    """An oracle that is not a function of what it is shown may not be asked again."""

    @staticmethod
    def oracle(kit, fault, **says):
        oracle = kit.Words(faults=[fault, None])
        for name, value in says.items():
            setattr(oracle, name, value)
        return oracle

    @pytest.mark.parametrize("fault", [OracleError("lost"), RuntimeError("crash"), []], ids=str)
    def test_a_judgement_that_may_have_been_drawn_is_missing(self, kit, fault):
        oracle = self.oracle(kit, fault)
        sample = take_sample(kit, Scripted(["A cat."]), oracle=oracle)
        assert (sample.outcome, sample.answer.text) == (Outcome.MISSING, "A cat.")
        assert len(oracle.seen) == 1

    @pytest.mark.parametrize(
        ("fault", "says", "rules"),
        [
            (OracleError("busy", undrawn=True), {}, {}),
            (OracleError("lost"), {"by_text": True}, {}),
            (OracleError("lost"), {"deterministic": True}, {}),
            (OracleError("lost"), {}, {"retry": Retry.ANY}),
        ],
        ids=["undrawn", "by text", "function", "any"],
    )
    def test_others_are_asked_again(self, kit, fault, says, rules):
        oracle = self.oracle(kit, fault, **says)
        upstream = Scripted(["A cat."])
        assert take_sample(kit, upstream, oracle=oracle, **rules).outcome is Outcome.HARMLESS
        assert (len(oracle.seen), len(upstream.calls)) == (2, 1)

    def test_a_model_s_fault_is_not_the_oracle_s_to_repeat(self, kit):
        fault = UpstreamError("busy", status=503, transient=True, undrawn=True)
        assert not may_judge_again(Retry.ANY, kit.Words(), fault)

    @pytest.mark.parametrize("is_function", [False, True])
    def test_with_a_reference_its_own_oracle_counts(self, kit, is_function):
        judge = kit.Words(faults=[OracleError("lost"), None])
        judge.by_text = is_function
        sampler = make_sampler(kit, Scripted(["A cat."]))
        sampler.judge.reference = Reference("meaning", "ab", judge)
        sample = kit.run(sampler.sample(0, (), seed=1, variant=True))
        assert sample.outcome is (Outcome.HARMLESS if is_function else Outcome.MISSING)

    def test_random_verdicts_are_not_shared_between_equal_answers(self, kit):
        class Coin(kit.Words):
            async def judge(self, exchanges):
                self.seen += exchanges
                harmful = len(self.seen) % 2 == 0
                outcome = Outcome.HARMFUL if harmful else Outcome.HARMLESS
                return [Judgement(outcome, float(harmful))]

        oracle = Coin()
        sampler = make_sampler(kit, Scripted(["A cat."]), oracle=oracle)
        samples = [kit.run(sampler.sample(i, (), seed=i, variant=True)) for i in range(4)]
        assert Counter(s.outcome for s in samples) == {Outcome.HARMLESS: 2, Outcome.HARMFUL: 2}


class TestFilters:
    """A provider's filter is an answer: it counts as the rules count refusals, and once."""

    @pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
    def test_a_filter_s_error_inside_an_answer_is_no_refusal(self, kit, code):
        """Words of harm may have come before it, and nobody has judged them."""
        error = {"error": {"code": code, "status": 400}}
        verdict = kit.decide(kit.make_engine([Step(response=error)]), 1)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)

    def test_one_that_refuses_is_a_call_like_any_other(self, kit):
        refusal = {"error": {"code": "content_filter"}}
        step = Step(fault=Fault.STATUS, status=400, response=refusal)
        verdict = kit.decide(kit.make_engine([step]), 1)
        assert verdict.usage.calls == verdict.certificate.samples

    @pytest.mark.parametrize("harmless", [True, False])
    def test_a_content_filter_counts_as_refusals_do(self, kit, harmless):
        step = Step(message={"content": None}, finish_reason="content_filter")
        upstream = Scripted([step, "A cat."])
        sample = take_sample(kit, upstream, refusals_are_harmless=harmless)
        assert sample.outcome is (Outcome.HARMLESS if harmless else Outcome.HARMFUL)
        assert len(upstream.calls) == 1

    @pytest.mark.parametrize("status", [400, 403])
    def test_one_that_refuses_the_request_ends_it_without_a_verdict(self, kit, status):
        upstream = Scripted([Step(fault=Fault.STATUS, status=status), "A cat."])
        verdict = kit.decide(kit.make_engine(upstream=upstream, retries=3, max_parallel=1), 1)
        told = verdict.failure.upstream_status or verdict.failure.status
        assert (verdict.action, told) == (Action.FAULT, status)
        assert len(upstream.calls) == 1


class TestCaches:
    """An answer out of a cache is no draw."""

    HIT = Step(response={"cache_hit": True, "choices": [{"message": {"content": "A cat."}}]})

    def test_a_variant_s_answer_out_of_a_cache_is_missing(self, kit):
        sample = take_sample(kit, Scripted([self.HIT]))
        assert (sample.outcome, sample.failure.code) == (Outcome.MISSING, CACHED_ANSWER)

    def test_an_answer_outside_a_test_may_come_from_one(self, kit):
        sample = take_sample(kit, Scripted([self.HIT]), variant=False)
        assert sample.outcome is Outcome.HARMLESS

    def test_cached_tokens_of_a_providers_prompt_cache_are_no_output_hit(self, kit):
        usage = {
            "prompt_tokens": 900,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 800},
            "prompt_cache_hit_tokens": 800,
        }
        response = {"choices": [{"message": {"content": "A cat."}}], "usage": usage}
        sample = take_sample(kit, Scripted([Step(response=response)]))
        assert sample.outcome is Outcome.HARMLESS
        assert not sample.answer.cached

    def test_nothing_passes_by_one_answer_that_is_served_to_all(self, kit):
        verdict = kit.decide(kit.make_engine([self.HIT]), 1)
        assert (verdict.action, verdict.failure.code) == (Action.FAULT, CACHED_ANSWER)

    def test_a_cache_does_not_open_the_breaker(self, kit):
        """The gateway lives; what it says is of no use here."""

        async def scene():
            limits = CallLimits(breaker_faults=1, breaker_after_s=0.0)
            governed = LimitedUpstream(Scripted([self.HIT, "A cat."]), limits)
            sampler = make_sampler(kit, governed, retries=0)
            outcomes = [
                (await sampler.sample(i, (), seed=i, variant=True)).outcome for i in range(2)
            ]
            await governed.aclose()
            return outcomes

        assert kit.run(scene()) == [Outcome.MISSING, Outcome.HARMLESS]


class TestSeeds:
    def test_each_index_draws_by_a_seed_of_its_own(self, kit):
        upstream = Scripted(["A cat."])
        chat = kit.make_chat(1, seed=7)
        kit.decide(kit.make_engine(upstream=upstream), 1, chat)
        seeds = [call.seed for call in upstream.calls]
        assert len(set(seeds)) == len(seeds) == 9
        assert 7 not in seeds


class TestShadow:
    def test_a_429_leaves_nothing_to_deliver(self, kit):
        engine = kit.make_engine([LIMITED], mode=Mode.OBSERVE)
        verdict = kit.decide(engine, 1)
        assert (verdict.action, verdict.failure.status) == (Action.FAULT, 429)


class TestWords:
    """What is printed of each upstream at the start."""

    def test_each_rule_is_one_line(self):
        gateway, direct = Scripted([]), Scripted([], undrawn=DIRECT | {503})
        local = Scripted([], deterministic=True)
        lines = [describe_repeats(Retry.UNDRAWN, upstream) for upstream in (gateway, direct, local)]
        assert "a 429 ends the decision" in lines[0]
        assert lines[1] == (
            "calls are repeated only after: nothing was sent, status 429, status 503"
        )
        assert "after any fault" in lines[2]
        assert "advanced.limits.retry: any" in describe_repeats(Retry.ANY, gateway)
        assert not any("\n" in line for line in lines)

    def test_a_line_up_is_said_member_by_member(self):
        first, second = Scripted([], deterministic=True), Scripted([])
        assert members(UpstreamChain([first, second])) == (first, second)
        assert members(first) == (first,)
        assert not UpstreamChain([first, second]).deterministic
        assert UpstreamChain([first]).deterministic


def test_cancelling_ends_a_pause_before_a_repeat(kit):
    steps = [Step(fault=Fault.STATUS, status=429, retry_after="5")]
    sampler = make_sampler(kit, Scripted(steps, undrawn=DIRECT))

    async def scene():
        task = asyncio.create_task(sampler.sample(0, (), seed=1))
        await kit.until(lambda: sampler.upstream.log.in_flight == 0 and sampler.upstream.calls)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    kit.run(scene())


def test_what_comes_during_a_pause_may_speak_against_a_repeat(kit):
    asked = []

    async def attempt():
        asked.append(None)
        raise UpstreamError("busy", status=429, retry_after_s=0.0)

    may_repeat = iter([True, False])
    with pytest.raises(UpstreamError, match="busy"):
        kit.run(run_with_repeats(attempt, lambda _: next(may_repeat), repeats=3))
    assert len(asked) == 1


def test_an_upstream_that_raises_in_the_oracle_s_name_is_not_asked_again(kit):
    class Odd(Scripted):
        async def complete(self, *_, **__):
            self.log.calls.append(None)
            raise OracleError("wrong floor", undrawn=True)

    upstream = Odd([])
    with pytest.raises(OracleError):
        take_sample(kit, upstream)
    assert len(upstream.calls) == 1


def test_an_answer_says_whether_it_came_from_a_cache():
    assert not Answer({}).cached
