"""Several upstreams over real sockets: one decision, one model, and alpha shared among them."""

import asyncio
import json
import logging
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from guardrail.engine.certificate.codec import decode_certificate, encode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.failover import FailoverEngine
from guardrail.engine.promise import Claim
from guardrail.engine.rules import AnswerSource, Mode, OnOracleFailure
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import OracleError, RequestError, UpstreamError
from guardrail.oracles.base import Judgement, Reference
from guardrail.stats import Decision, failover_alpha
from guardrail.types import Outcome
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.breaker import BreakerState
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.limits.calls import CallEnd
from guardrail.upstreams.limits.unsent import OVERLOADED
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.prices import Price, PriceBook, Tier
from guardrail.upstreams.scripted import Fault, Scripted, State, Step
from guardrail.upstreams.scripted_server import scripted_server

FINE = CallEnd(alive=True, tokens=0)
DOWN = [Step(fault=Fault.STATUS, status=503)]
HANG = [Step(fault=Fault.HANG)]


class Team:
    """Servers named one, two, three, and the engine in front of them."""

    def __init__(self, engine, servers, upstreams):
        self.engine, self.servers, self.upstreams = engine, servers, upstreams

    @property
    def calls(self):
        return [len(server.calls) for server in self.servers]


@asynccontextmanager
async def team(kit, *scripts, limits=None, oracle=None, **rules):
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(scripted_server(script, model=name))
            for script, name in zip(scripts, ("one", "two", "three"), strict=False)
        ]
        upstreams = [
            LimitedUpstream(OpenAICompatible(server.base_url), limits or CallLimits())
            for server in servers
        ]
        rules = kit.make_rules(**{"canvas_max_side_px": 8, **rules})
        engine = FailoverEngine(rules, upstreams, oracle or kit.Words(), kit.KEY)
        stack.push_async_callback(engine.aclose)
        yield Team(engine, servers, upstreams)


def decided(kit, *scripts, pictures=1, alpha=None, **options):
    """(the verdict, calls at each server, the engine)"""

    async def scene():
        async with team(kit, *scripts, **options) as built:
            chat = kit.make_chat(pictures)
            verdict = await built.engine.decide(chat, kit.make_pictures(pictures), alpha=alpha)
            return verdict, built.calls, built.engine

    return asyncio.run(scene())


def decided_in_process(kit, *scripts, pictures=1, **rules):
    """The same without sockets, so that the clock stands still while anything works."""
    members = [
        Scripted(script, model=name) for script, name in zip(scripts, ("one", "two"), strict=False)
    ]
    engine = FailoverEngine(kit.make_rules(**rules), members, kit.Words(), kit.KEY)
    verdict = kit.decide(engine, pictures)
    return verdict, [len(member.calls) for member in members], engine


def models(verdict):
    """Who answered the samples and the client."""
    answers = [sample.answer for sample in verdict.samples] + [verdict.answer]
    return {answer.model for answer in answers if answer is not None}


class TestWhoAnswers:
    def test_the_first_one_decides_alone_while_it_lives(self, kit):
        verdict, calls, engine = decided(kit, ["A cat."], ["A dog."])
        assert (verdict.action, models(verdict)) == (Action.PASS, {"one"})
        assert calls[1] == 0
        certificate = verdict.certificate
        assert certificate.alpha == failover_alpha(0.05, 0, 2)
        assert certificate.upstream == verdict.upstream == engine.upstream.members[0].name
        assert certificate.upstream_revision == verdict.upstream_revision

    def test_the_next_one_makes_the_whole_decision(self, kit, caplog):
        with caplog.at_level(logging.WARNING, "guardrail.engine.failover"):
            verdict, calls, engine = decided(kit, DOWN, ["A dog."])
        assert (verdict.action, verdict.reason) == (Action.PASS, Reason.CERTIFIED)
        assert models(verdict) == {"two"}
        certificate = verdict.certificate
        assert certificate.alpha == failover_alpha(0.05, 1, 2)
        assert certificate.upstream == verdict.upstream == engine.upstream.members[1].name
        assert verdict.upstream_revision == engine.upstream.members[1].revision
        assert calls[1] == certificate.samples == len(verdict.samples)
        (line,) = caplog.messages
        assert engine.upstream.members[0].name in line
        assert engine.upstream.members[1].name in line
        assert "HTTP 503" in line

    def test_the_verdict_tells_the_alpha_that_all_tests_share(self, kit):
        for scripts in (["A cat."], ["A dog."]), (DOWN, ["A dog."]):
            verdict, _, _ = decided(kit, *scripts, alpha=0.02)
            assert verdict.alpha == 0.02
            assert verdict.certificate.alpha < 0.02
        assert decided(kit, ["A cat."], ["A dog."], pictures=0)[0].alpha is None

    def test_one_that_has_no_test_at_its_share_covers_up_no_fault(self, kit):
        """20 samples are enough for nine tenths of this alpha, and not for the last tenth."""
        rules = {"max_samples": 20, "power": 0.5, "expected_harmless_rate": 0.999}
        verdict, calls, _ = decided(kit, DOWN, ["A dog."], alpha=1e-3, **rules)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
        assert verdict.failure.status == 503
        assert calls[1] == 0
        verdict, calls, _ = decided(kit, ["A cat."], ["A dog."], alpha=1e-4, **rules)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.NOT_CERTIFIABLE)
        assert calls == [0, 0]

    def test_its_certificate_can_be_verified(self, kit):
        verdict, _, _ = decided(kit, DOWN, DOWN, ["A dog."])
        data = json.loads(json.dumps(encode_certificate(verdict.certificate)))
        again = decode_certificate(data)
        verify_certificate(again, data)
        assert again.alpha == failover_alpha(0.05, 2, 3)
        assert again.decision is Decision.PASS
        assert f"an event of probability at most {again.alpha:.4f} occurred" in again.statement

    def test_answers_of_two_models_are_never_counted_together(self, kit):
        """The first one answers for a while: what it said is gone with it."""
        first = [*["A cat."] * 6, *DOWN]
        verdict, calls, _ = decided(kit, first, ["A dog."], max_parallel=2)
        assert models(verdict) == {"two"}
        assert [sample.index for sample in verdict.samples] == list(range(calls[1]))
        assert verdict.usage.calls == 6 + calls[1]
        assert verdict.usage.completion_tokens == 5 * (6 + calls[1])

    @pytest.mark.no_cover
    def test_a_failover_starts_with_zero_counts_at_a_share_fixed_beforehand(self, kit):
        """Whatever the first one brought before it failed: answers, harm, and missing ones."""
        wide = {"expected_harmless_rate": 0.9, "max_samples": 300, "max_parallel": 1}
        for first in ([*DOWN], ["A cat.", *DOWN], ["A cat.", kit.HARM, *DOWN]):
            verdict, calls, engine = decided(kit, first, ["A dog."], **wide)
            assert models(verdict) == {"two"}
            assert [sample.index for sample in verdict.samples] == list(range(calls[1]))
            certificate = verdict.certificate
            assert (certificate.harmful, certificate.samples) == (0, calls[1])
            assert certificate.counts[0].samples == certificate.looks[0]
            assert certificate.alpha == failover_alpha(engine.rules.alpha, 1, 2)

    def test_a_429_that_ends_a_decision_lets_the_next_one_make_it(self, kit):
        limited = [Step(fault=Fault.STATUS, status=429, retry_after="0")]
        verdict, calls, _ = decided(kit, limited, ["A dog."], max_parallel=1)
        assert (verdict.action, models(verdict)) == (Action.PASS, {"two"})
        assert calls[0] == 1

    def test_harm_seen_by_a_model_that_fails_later_does_not_follow(self, kit):
        """Nor does its goodness: the next one's test starts at nothing."""
        wide = {"expected_harmless_rate": 0.9, "max_samples": 300, "max_parallel": 1}
        verdict, _, _ = decided(kit, ["A cat.", kit.HARM, *DOWN], ["A dog."], **wide)
        assert verdict.action is Action.PASS
        assert verdict.certificate.harmless == verdict.certificate.samples

    def test_a_clean_answer_that_fails_is_made_again_with_its_whole_test(self, kit):
        def script(call):
            return Step(fault=Fault.RESET) if call.index == 9 else "A cat."

        verdict, calls, _ = decided(kit, script, ["A dog."], answer=AnswerSource.CLEAN)
        assert (verdict.action, models(verdict)) == (Action.PASS, {"two"})
        assert calls[0] == 10
        assert verdict.certificate.alpha == failover_alpha(0.05, 1, 2)

    def test_chats_without_pictures_go_on_too(self, kit):
        verdict, calls, engine = decided(kit, DOWN, ["A dog."], pictures=0)
        assert (verdict.action, verdict.reason) == (Action.PASS, Reason.NO_IMAGE)
        assert verdict.answer.model == "two"
        assert verdict.upstream == engine.upstream.members[1].name
        assert calls == [1, 1]

    def test_a_smaller_alpha_of_the_decision_is_shared_the_same_way(self, kit):
        verdict, _, _ = decided(kit, DOWN, ["A dog."], alpha=0.04)
        assert verdict.certificate.alpha == failover_alpha(0.04, 1, 2)
        verdict, _, _ = decided(kit, ["A cat."], ["A dog."], alpha=0.9)
        assert verdict.certificate.alpha == failover_alpha(0.05, 0, 2)

    def test_the_times_of_all_are_added_up(self, kit):
        class Slow(Scripted):
            async def complete(self, *asked, **options):
                time.sleep(0.05)  # noqa: ASYNC251 (on the clock of the machine)
                return await super().complete(*asked, **options)

        members = [Slow(DOWN), Slow(["A dog."])]
        engine = FailoverEngine(kit.make_rules(), members, kit.Words(), kit.KEY)
        verdict = kit.run(engine.decide(kit.make_chat()))
        assert verdict.answer.text == "A dog."
        assert verdict.elapsed_s >= 0.1
        assert 0.0 <= verdict.overhead_s <= verdict.elapsed_s


class TestWhatIsNeverAskedTwice:
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
    @pytest.mark.parametrize("pictures", [0, 1])
    def test_refusals_are_told(self, kit, status, pictures):
        """A wrong key or an unknown model is never covered up by another model's answer."""
        script = [Step(fault=Fault.STATUS, status=status)]
        verdict, calls, engine = decided(kit, script, ["A dog."], pictures=pictures)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
        assert (verdict.failure.upstream_status or verdict.failure.status) == status
        assert verdict.answer is None
        assert calls[1] == 0
        assert verdict.upstream == engine.upstream.members[0].name

    def test_harm_is_harm(self, kit):
        verdict, calls, _ = decided(kit, [kit.HARM], ["A dog."])
        assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
        assert calls[1] == 0

    def test_harm_among_faults_is_harm(self, kit):
        script = [*[kit.HARM] * 20, *DOWN]
        verdict, calls, _ = decided(kit, script, ["A dog."], max_parallel=1)
        assert verdict.reason is Reason.HARMFUL
        assert calls[1] == 0

    @pytest.mark.parametrize("policy", list(OnOracleFailure))
    def test_a_fault_of_the_oracle_is_the_oracles(self, kit, policy):
        oracle = kit.Words(faults=[OracleError("gone")])
        verdict, calls, _ = decided(
            kit, ["A cat."], ["A dog."], oracle=oracle, on_oracle_failure=policy
        )
        assert verdict.reason is Reason.ORACLE_FAILED
        assert calls[1] == 0

    def test_a_wrong_number_of_pictures_is_raised(self, kit):
        async def scene():
            async with team(kit, ["A cat."], ["A dog."]) as built:
                with pytest.raises(RequestError):
                    await built.engine.decide(kit.make_chat(2), kit.make_pictures(1))
                return built.calls

        assert asyncio.run(scene()) == [0, 0]


class TestWhereAllFail:
    @pytest.mark.parametrize("pictures", [0, 1])
    def test_nothing_passes(self, kit, pictures):
        verdict, calls, engine = decided(kit, DOWN, DOWN, pictures=pictures)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
        assert verdict.answer is None
        assert verdict.failure.status == 503
        assert min(calls) > 0
        assert verdict.upstream == engine.upstream.members[1].name

    def test_a_refusal_by_the_second_is_told(self, kit):
        verdict, _, _ = decided(kit, DOWN, [Step(fault=Fault.STATUS, status=401)])
        assert (verdict.action, verdict.failure.code) == (Action.FAULT, "upstream_auth")

    def test_harm_found_by_the_second_blocks(self, kit):
        verdict, _, _ = decided(kit, DOWN, [kit.HARM])
        assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)


class TestTheDeadline:
    def test_it_is_one_for_all(self, kit):
        """A model that hangs uses it up; nothing is left for the next one, and nothing passes."""
        verdict, calls, _ = decided_in_process(
            kit, HANG, ["A dog."], call_timeout_s=60.0, deadline_s=0.3
        )
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.DEADLINE)
        assert calls[1] == 0

    def test_a_model_that_hangs_for_less_leaves_the_rest(self, kit):
        verdict, _, engine = decided_in_process(kit, HANG, ["A dog."], call_timeout_s=0.2)
        assert (verdict.action, models(verdict)) == (Action.PASS, {"two"})
        assert verdict.upstream == engine.upstream.members[1].name

    def test_the_second_one_has_no_more_than_the_rest(self, kit):
        limits = {"call_timeout_s": 0.2, "deadline_s": 0.3}
        verdict, calls, _ = decided_in_process(kit, HANG, HANG, pictures=0, **limits)
        assert verdict.reason is Reason.DEADLINE
        assert calls == [1, 1]

    def test_after_it_nobody_is_asked(self, kit):
        class Late(Scripted):
            async def complete(self, *_, **__):
                asyncio.get_running_loop().hold_up(0.2)  # past the deadline
                raise UpstreamError("gone", transient=True)

        second = Scripted(["A dog."])
        rules = kit.make_rules(deadline_s=0.1)
        engine = FailoverEngine(rules, [Late([]), second], kit.Words(), kit.KEY)
        verdict = kit.run(engine.decide(kit.make_chat()))
        assert verdict.reason is Reason.UPSTREAM_FAILED
        assert second.calls == []


class TestTheBudget:
    def test_calls_are_limited_for_all_together(self, kit):
        """Nine are enough for the first one's test; with its failed ones none is left after 12."""
        first = [*["A cat."] * 6, *DOWN]
        verdict, calls, _ = decided(kit, first, ["A dog."], max_calls=12, max_parallel=1)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.MAX_CALLS)
        assert sum(calls) == 12
        assert verdict.answer is None

    def test_what_all_of_them_cost_is_added_up(self, kit):
        prices = PriceBook({"model": Price((Tier(0, 1.0, 10.0),))})
        first = [*["A cat."] * 6, *DOWN]
        verdict, calls, _ = decided(kit, first, ["A dog."], max_parallel=1, prices=prices)
        assert models(verdict) == {"two"}
        # Seven tokens in and five out, by the script.
        assert verdict.cost_usd == pytest.approx((6 + calls[1]) * (7 * 1.0 + 5 * 10.0))


EAGER = CallLimits(breaker_faults=1, breaker_after_s=0.0, breaker_open_s=3600.0)


class TestLimitsAndBreakers:
    def test_one_that_is_known_to_be_down_is_passed_over(self, kit):
        async def scene():
            async with team(kit, DOWN, ["A dog."], limits=EAGER) as built:
                verdicts, calls = [], []
                for seed in range(3):
                    picture = [kit.make_picture(seed=seed)]
                    verdicts.append(await built.engine.decide(kit.make_chat(1), picture))
                    calls.append(built.calls[0])
                return verdicts, calls, [one.limiter.state for one in built.upstreams]

        verdicts, calls, states = asyncio.run(scene())
        assert [verdict.action for verdict in verdicts] == [Action.PASS] * 3
        assert {verdict.certificate.alpha for verdict in verdicts} == {failover_alpha(0.05, 1, 2)}
        assert calls[0] > 0
        assert calls == [calls[0]] * 3
        assert states == [BreakerState.OPEN, BreakerState.CLOSED]

    def test_where_both_are_known_to_be_down_nobody_is_asked(self, kit):
        async def scene():
            async with team(kit, DOWN, DOWN, limits=EAGER) as built:
                await built.engine.decide(kit.make_chat(1), kit.make_pictures(1))
                before = built.calls
                verdict = await built.engine.decide(kit.make_chat(1), kit.make_pictures(1))
                return verdict, before == built.calls

        verdict, silent = asyncio.run(scene())
        assert silent
        assert (verdict.action, verdict.failure.status) == (Action.FAULT, 503)
        assert verdict.failure.retry_after_s > 0

    def test_calls_cut_off_as_too_late_open_the_breaker(self, kit):
        async def scene():
            hanging = LimitedUpstream(Scripted(HANG), EAGER)
            engine = kit.make_engine(upstream=hanging, call_timeout_s=0.1)
            await engine.decide(kit.make_chat(1), kit.make_pictures(1))
            return hanging.limiter.state

        assert kit.run(scene()) is BreakerState.OPEN

    def test_a_full_line_spills_over(self, kit):
        async def scene():
            tight = CallLimits(max_concurrency=1, max_queue=1)
            async with team(kit, ["A cat."], ["A dog."], limits=tight, max_parallel=2) as built:
                gate = built.upstreams[0].limiter
                held = await gate.enter("another decision")
                waiting = asyncio.create_task(gate.enter("a third one"))
                await asyncio.sleep(0)
                verdict = await built.engine.decide(kit.make_chat(1), kit.make_pictures(1))
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
                gate.leave(held, FINE)
                return verdict, built.calls

        verdict, calls = asyncio.run(scene())
        assert (verdict.action, models(verdict)) == (Action.PASS, {"two"})
        assert calls[0] == 0

    def test_a_full_line_everywhere_is_told(self, kit):
        async def scene():
            tight = CallLimits(max_concurrency=1, max_queue=1)
            rules = {"limits": tight, "max_parallel": 8, "retries": 5, "call_timeout_s": 600.0}
            async with team(kit, HANG, **rules, deadline_s=600.0) as built:
                verdict = await built.engine.decide(kit.make_chat(1), kit.make_pictures(1))
                return verdict, built.calls

        verdict, (calls,) = asyncio.run(scene())
        assert (verdict.action, verdict.failure.code) == (Action.FAULT, OVERLOADED)
        assert calls <= 1  # no retry storm

    def test_waiting_for_a_turn_is_no_part_of_a_calls_time(self, kit):
        async def scene():
            upstream = LimitedUpstream(Scripted(["A cat."]), CallLimits(max_concurrency=1))
            engine = kit.make_engine(upstream=upstream, call_timeout_s=0.5)
            held = await upstream.limiter.enter("another decision")
            deciding = asyncio.create_task(engine.decide(kit.make_chat(1), kit.make_pictures(1)))
            await asyncio.sleep(0.8)
            assert upstream.limiter.waiting
            upstream.limiter.leave(held, FINE)
            return await deciding

        assert kit.run(scene()).action is Action.PASS

    def test_a_short_chat_does_not_wait_for_all_variants_of_a_picture(self, kit):
        async def scene():
            upstream = LimitedUpstream(
                Scripted([Step("A cat.", delay_s=0.001)]), CallLimits(max_concurrency=1)
            )
            engine = kit.make_engine(
                upstream=upstream, max_parallel=64, max_samples=100, alpha=1e-6
            )
            calls = upstream.upstream.calls
            picture = asyncio.create_task(engine.decide(kit.make_chat(1), kit.make_pictures(1)))
            await kit.until(lambda: upstream.limiter.waiting > 20)
            before = len(calls)
            text = await engine.decide(kit.make_chat())
            place = next(call.index for call in calls if not call.pictures)
            return text.action, place - before, (await picture).action, len(calls)

        text, place, picture, total = kit.run(scene())
        assert (text, picture) == (Action.PASS, Action.PASS)
        assert place <= 3  # one call may end, and one turn pass, while it is on its way
        assert total > 30


class TestCancelling:
    @pytest.mark.parametrize("down", [True, False], ids=["at the second", "at the first"])
    def test_outstanding_calls_are_cancelled(self, kit, down):
        async def scene():
            scripts = (DOWN, HANG) if down else (HANG, ["A dog."])
            limits = CallLimits(max_concurrency=2)
            async with team(kit, *scripts, limits=limits, deadline_s=600.0) as built:
                server = built.servers[int(down)]
                decision = asyncio.create_task(
                    built.engine.decide(kit.make_chat(1), kit.make_pictures(1))
                )
                await kit.until(lambda: server.log.in_flight == 2)
                decision.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await decision
                gates = [one.limiter for one in built.upstreams]
                left = [(gate.in_flight, gate.waiting) for gate in gates]
                await kit.until(lambda: server.log.in_flight == 0)
                return left, Counter(call.state for call in server.calls), built.calls

        left, states, calls = asyncio.run(scene())
        assert left == [(0, 0), (0, 0)]
        assert states == {State.CANCELLED: 2}
        assert down or calls[1] == 0


class TestEarlyStop:
    def test_variants_are_watched_through_a_limiter(self, kit):
        """As they are without one: harm at the start of an answer breaks it off."""
        long = kit.HARM + " and so on" * 50

        async def scene():
            async with team(kit, [long], ["A dog."], judge_every_chars=20) as built:
                verdict = await built.engine.decide(kit.make_chat(1), kit.make_pictures(1))
                return verdict, [call.body.get("stream") for call in built.servers[0].calls]

        verdict, streamed = asyncio.run(scene())
        assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
        assert set(streamed) == {True}
        assert all(len(sample.answer.text) < len(long) for sample in verdict.samples)


class TestWatching:
    def test_the_models_own_answer_comes_from_the_next_one_too(self, kit):
        verdict, _, _ = decided(kit, DOWN, ["A dog."], mode=Mode.OBSERVE)
        assert (verdict.action, verdict.would_block) == (Action.PASS, False)
        assert models(verdict) == {"two"}

    def test_harm_passes_marked_and_is_not_asked_for_again(self, kit):
        verdict, calls, _ = decided(kit, [kit.HARM], ["A dog."], mode=Mode.OBSERVE)
        assert (verdict.action, verdict.would_block) == (Action.PASS, True)
        assert calls[1] == 0

    def test_the_engine_with_another_oracle_has_the_same_upstreams(self, kit):
        class Strict(kit.Words):
            async def judge(self, exchanges):
                return [Judgement(Outcome.HARMFUL, 1.0) for _ in exchanges]

        async def scene():
            async with team(kit, DOWN, ["A dog."]) as built:
                engine = built.engine.with_oracle(Strict())
                assert isinstance(engine, FailoverEngine)
                assert engine.upstream.members == built.engine.upstream.members
                return await engine.decide(kit.make_chat(1), kit.make_pictures(1))

        verdict = asyncio.run(scene())
        assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)

    def test_so_has_an_engine_of_one(self, kit):
        engine = kit.make_engine(["A cat."])
        again = engine.with_oracle(kit.Words())
        assert (again.upstream, again.rules, again.key) == (engine.upstream, engine.rules, kit.KEY)


class Same:
    """A reference oracle: harmless is what the first draw said, word for word."""

    revision = "same"
    n0 = 3

    def __init__(self):
        self.selections = []

    async def judge(self, exchanges):
        return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

    async def reference(self, selection):
        self.selections.append([exchange.response for exchange in selection])
        return Reference("meaning", self.selections[-1][0], _Equal(self.selections[-1][0]))

    async def aclose(self):
        pass


class _Equal:
    revision = "equal"

    def __init__(self, text):
        self.text = text

    async def judge(self, exchanges):
        same = [exchange.response == self.text for exchange in exchanges]
        return [Judgement(Outcome.HARMLESS if s else Outcome.HARMFUL, 0.0) for s in same]


def test_a_reference_is_chosen_anew_on_the_answers_of_the_next_one(kit):
    oracle = Same()
    first = [*["A cat."] * 4, *DOWN]
    verdict, _, _ = decided(kit, first, ["A dog."], oracle=oracle, claim=Claim.VERDICT)
    assert oracle.selections == [["A cat."] * 3, ["A dog."] * 3]
    assert (verdict.action, verdict.certificate.reference) == (Action.PASS, "A dog.")
    assert models(verdict) == {"two"}
