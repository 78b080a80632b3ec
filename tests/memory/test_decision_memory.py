"""Equal requests are one decision: under way, afterwards, and for whom they are not."""

import asyncio
import dataclasses
import gc
import weakref
from contextlib import AsyncExitStack

import pytest

from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.engine import Engine
from guardrail.engine.failover import FailoverEngine
from guardrail.engine.rules import Mode
from guardrail.engine.threats import Suffix, SuffixUnit, Threats
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import RequestError, UpstreamError
from guardrail.memory.ledger import LocalLedger
from guardrail.memory.rules import MemoryRules, OnRepeat
from guardrail.memory.spending import Principal
from guardrail.memory.store import LocalVerdictStore
from guardrail.stats import spent_alpha
from guardrail.upstreams.picture_side import PictureSide
from guardrail.upstreams.scripted import Fault, Scripted, State, Step

NINE = 9


class Gate:
    """A script whose answers wait until they may leave."""

    def __init__(self, text="A cat."):
        self.text = text
        self.delay_s = 30.0

    def __call__(self, _call):
        return Step(self.text, delay_s=self.delay_s)


def ask(kit, decisions, engine, **options):
    chat, pictures = kit.request(**options.pop("request", {}))
    return decisions.decide(engine, chat, pictures, **options)


def asked(kit, decisions, engine, **options):
    return asyncio.run(ask(kit, decisions, engine, **options))


class TestUnderWay:
    def test_a_thousand_equal_requests_are_one_decision(self, kit):
        engine, decisions = (
            kit.make_engine(lambda _: Step("A cat.", delay_s=0.05)),
            kit.make_decisions(),
        )

        async def scene():
            return await asyncio.gather(*(ask(kit, decisions, engine) for _ in range(1000)))

        verdicts = kit.run(scene())
        assert len(engine.upstream.calls) == NINE
        assert sum(not verdict.remembered for verdict in verdicts) == 1
        assert {verdict.attempt for verdict in verdicts} == {verdicts[0].attempt}
        assert {verdict.answer.text for verdict in verdicts} == {"A cat."}
        assert sum(verdict.usage.calls for verdict in verdicts) == NINE

    def test_the_others_wait_for_harm_as_well(self, kit):
        engine, decisions = kit.make_engine([kit.HARM]), kit.make_decisions()

        async def scene():
            return await asyncio.gather(*(ask(kit, decisions, engine) for _ in range(20)))

        verdicts = kit.run(scene())
        assert {verdict.action for verdict in verdicts} == {Action.BLOCK}
        assert len(engine.upstream.calls) <= NINE

    def test_they_share_a_fault_which_is_not_remembered(self, kit):
        engine, decisions = (
            kit.make_engine([Step(fault=Fault.STATUS, status=503)]),
            kit.make_decisions(),
        )

        async def scene():
            verdicts = await asyncio.gather(*(ask(kit, decisions, engine) for _ in range(20)))
            before = len(engine.upstream.calls)
            again = await ask(kit, decisions, engine)
            return verdicts, before, again

        verdicts, before, again = kit.run(scene())
        assert {verdict.reason for verdict in verdicts} == {Reason.UPSTREAM_FAILED}
        assert sum(not verdict.remembered for verdict in verdicts) == 1
        assert not again.remembered
        assert len(engine.upstream.calls) > before

    def test_a_redraw_is_shared_too_while_it_lasts(self, kit):
        engine, decisions = kit.make_engine(), kit.make_decisions(OnRepeat.REDRAW, OnRepeat.REDRAW)

        async def scene():
            first = await asyncio.gather(*(ask(kit, decisions, engine) for _ in range(5)))
            return first, await ask(kit, decisions, engine)

        first, later = kit.run(scene())
        assert len({verdict.attempt for verdict in first}) == 1
        assert not later.remembered
        assert later.attempt != first[0].attempt
        assert len(engine.upstream.calls) == 2 * NINE

    def test_other_requests_are_other_decisions(self, kit):
        engine, decisions = kit.make_engine(), kit.make_decisions()
        others = [{}, {"seed": 1}, {"text": "What?"}, {"temperature": 0.5}, {"pictures": 2}]

        async def scene():
            return await asyncio.gather(
                *(ask(kit, decisions, engine, request=one) for one in others)
            )

        verdicts = kit.run(scene())
        assert not any(verdict.remembered for verdict in verdicts)
        assert len(engine.upstream.calls) == NINE * len(others)

    def test_requests_of_two_principals_or_two_loops_are_not_shared(self, kit):
        engine, decisions = kit.make_engine(), kit.make_decisions()
        ledger = LocalLedger()
        loops = [asyncio.new_event_loop() for _ in range(2)]
        options = [
            {}, {"principal": Principal("ann", ledger)}, {"principal": Principal("bob", ledger)},
            *({"loop": loop} for loop in loops),
        ]  # fmt: skip

        async def scene():
            return await asyncio.gather(
                *(ask(kit, decisions, engine, **one) for one in options for _ in range(2))
            )

        verdicts = kit.run(scene())
        for loop in loops:
            loop.close()
        assert [verdict.remembered for verdict in verdicts] == [False, True] * len(options)


class TestLeaving:
    def test_the_decision_goes_on_when_its_first_client_hangs_up(self, kit):
        gate = Gate()
        engine, decisions = kit.make_engine(gate, max_parallel=1), kit.make_decisions()
        upstream = engine.upstream

        async def scene():
            first = asyncio.create_task(ask(kit, decisions, engine))
            await kit.until(lambda: upstream.log.in_flight == 1)
            others = [asyncio.create_task(ask(kit, decisions, engine)) for _ in range(5)]
            gate.delay_s = 0.0
            await asyncio.sleep(0.05)
            first.cancel()
            await asyncio.wait({first})
            assert first.cancelled()
            assert upstream.log.in_flight == 1  # nothing was cut
            for task in others[1:]:
                task.cancel()
            await asyncio.wait(others[1:])
            assert upstream.log.in_flight == 1
            others[0].cancel()
            await asyncio.wait({others[0]})
            assert upstream.log.in_flight == 0
            assert upstream.log.count(State.CANCELLED) == 1

        kit.run(scene())
        assert len(upstream.calls) == 1

    def test_those_who_stay_get_the_verdict_that_was_under_way(self, kit):
        def slow(call):
            return Step("A cat.", delay_s=0.3 if call.index == 0 else 0.0)

        engine, decisions = kit.make_engine(slow, max_parallel=1), kit.make_decisions()

        async def scene():
            first = asyncio.create_task(ask(kit, decisions, engine))
            await kit.until(lambda: engine.upstream.log.in_flight == 1)
            others = [asyncio.create_task(ask(kit, decisions, engine)) for _ in range(3)]
            await asyncio.sleep(0.05)
            first.cancel()
            return await asyncio.gather(*others)

        verdicts = kit.run(scene())
        assert {verdict.action for verdict in verdicts} == {Action.PASS}
        assert all(verdict.remembered for verdict in verdicts)  # none of them drew it
        assert len(engine.upstream.calls) == NINE
        assert engine.upstream.log.count(State.CANCELLED) == 0

    def test_what_nobody_waits_for_is_cancelled_and_not_remembered(self, kit):
        gate = Gate()
        engine, decisions = kit.make_engine(gate), kit.make_decisions()

        async def scene():
            waiting = [asyncio.create_task(ask(kit, decisions, engine)) for _ in range(3)]
            await kit.until(lambda: engine.upstream.log.in_flight == NINE)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert engine.upstream.log.in_flight == 0
            gate.delay_s = 0.0
            return await ask(kit, decisions, engine)

        verdict = kit.run(scene())
        assert not verdict.remembered
        assert engine.upstream.log.count(State.CANCELLED) == NINE

    def test_a_try_of_a_client_that_left_keeps_its_number(self, kit):
        engine, decisions = kit.make_engine(Gate()), kit.make_decisions()
        ledger = LocalLedger()

        async def scene():
            task = asyncio.create_task(
                ask(kit, decisions, engine, principal=Principal("ann", ledger))
            )
            await kit.until(lambda: engine.upstream.log.in_flight)
            task.cancel()
            await asyncio.wait({task})
            return await ledger.next_number("ann")

        assert kit.run(scene()) == 2

    def test_shutting_down_ends_what_is_under_way(self, kit):
        engine, decisions = kit.make_engine(Gate()), kit.make_decisions()

        async def scene():
            waiting = [asyncio.create_task(ask(kit, decisions, engine)) for _ in range(2)]
            await kit.until(lambda: engine.upstream.log.in_flight)
            await decisions.aclose()
            return await asyncio.gather(*waiting, return_exceptions=True)

        results = kit.run(scene())
        assert [type(one) for one in results] == [UpstreamError] * 2
        assert engine.upstream.log.in_flight == 0


class TestPictures:
    def test_who_waits_for_another_one_s_decision_lets_go_of_its_own(self, kit):
        gate = Gate()
        engine, decisions = kit.make_engine(gate), kit.make_decisions()
        closed, held = [], []

        async def one(number):
            chat, pictures = kit.request()
            held.append(weakref.ref(pictures[0].pixels))
            async with AsyncExitStack() as stack:
                stack.callback(closed.append, number)
                waiting = decisions.decide(engine, chat, pictures, held=stack)
                del pictures
                return await waiting

        async def scene():
            leader = asyncio.create_task(one(0))
            await kit.until(lambda: engine.upstream.log.in_flight)
            others = [asyncio.create_task(one(number)) for number in (1, 2)]
            await kit.until(lambda: len(closed) == 2)
            gc.collect()
            assert sorted(closed) == [1, 2]
            assert held[0]() is not None
            assert [ref() for ref in held[1:]] == [None, None]
            leader.cancel()
            await asyncio.wait({leader})
            assert sorted(closed) == [1, 2]  # the decision goes on, with its pictures
            for task in others:
                task.cancel()
            await asyncio.wait(others)
            assert sorted(closed) == [0, 1, 2]

        kit.run(scene())

    def test_a_request_that_speaks_of_other_pictures_is_refused(self, kit):
        chat, _ = kit.request(pictures=2)
        decisions = kit.make_decisions()
        with pytest.raises(RequestError, match="2 pictures"):
            kit.run(decisions.decide(kit.make_engine(), chat, [kit.make_picture()]))


class TestAfterwards:
    @pytest.mark.parametrize("text", ["A cat.", "a forbidden word"])
    def test_a_verdict_is_given_again_without_a_draw(self, kit, text):
        engine, decisions = kit.make_engine([text]), kit.make_decisions()
        first = asked(kit, decisions, engine)
        calls = len(engine.upstream.calls)
        for _ in range(3):
            again = asked(kit, decisions, engine)
            assert again.remembered
            assert (again.action, again.reason) == (first.action, first.reason)
            assert again.attempt == first.attempt == again.certificate.attempt
            assert again.answer == first.answer
            assert (again.usage.calls, again.cost_usd, again.samples) == (0, 0.0, ())
            assert again.outside_claim is (first.action is Action.PASS)
            assert again.certificate.outside_claim is again.outside_claim
            assert again.elapsed_s == again.overhead_s > 0.0
            verify_certificate(again.certificate)
        assert len(engine.upstream.calls) == calls
        assert not first.outside_claim

    def test_however_an_equal_request_is_written(self, kit):
        engine, decisions = kit.make_engine(), kit.make_decisions()
        asked(kit, decisions, engine, request={"temperature": 1})
        for extra in ({"n": 1}, {"stop": None}, {"metadata": {"a": "b"}}, {"timeout": 3}):
            again = asked(kit, decisions, engine, request={"temperature": 1.0, **extra})
            assert again.remembered, extra
        assert len(engine.upstream.calls) == NINE

    @pytest.mark.parametrize(
        ("on_pass", "on_block"),
        [(OnRepeat.REPLAY, OnRepeat.REDRAW), (OnRepeat.REDRAW, OnRepeat.REPLAY)],
    )
    def test_a_redraw_is_another_decision(self, kit, on_pass, on_block):
        for text, on_repeat in (("A cat.", on_pass), (kit.HARM, on_block)):
            decisions = kit.make_decisions(on_pass, on_block)
            engine = kit.make_engine([text])
            verdicts = [asked(kit, decisions, engine) for _ in range(3)]
            redrawn = on_repeat is OnRepeat.REDRAW
            assert [verdict.remembered for verdict in verdicts] == [False, not redrawn, not redrawn]
            assert len({verdict.attempt for verdict in verdicts}) == (3 if redrawn else 1)

    def test_what_was_remembered_under_other_rules_of_memory_is_not_replayed(self, kit):
        store, engine = LocalVerdictStore(MemoryRules()), kit.make_engine()
        asked(kit, kit.make_decisions(store=store), engine)
        again = asked(kit, kit.make_decisions(OnRepeat.REDRAW, store=store), engine)
        assert not again.remembered

    @pytest.mark.parametrize(
        "step", [Step(fault=Fault.RESET), Step(fault=Fault.HANG), Step(fault=Fault.EMPTY)]
    )
    def test_faults_and_lateness_are_not_remembered(self, kit, step):
        engine, decisions = kit.make_engine([step], deadline_s=0.2), kit.make_decisions()
        for _ in range(2):
            assert not asked(kit, decisions, engine).remembered
        engine.upstream.log.script = ["A cat."]
        engine.rules = dataclasses.replace(engine.rules, deadline_s=60.0)
        assert asked(kit, decisions, engine).action is Action.PASS

    def test_a_limit_is_not_remembered(self, kit):
        decisions = kit.make_decisions()
        few = kit.make_engine(max_calls=3)
        assert asked(kit, decisions, few).reason is Reason.MAX_CALLS
        assert asked(kit, decisions, kit.make_engine()).action is Action.PASS

    def test_it_ends_with_its_time(self, kit, clock):
        rules = MemoryRules(ttl_s=10.0)
        decisions = kit.make_decisions(store=LocalVerdictStore(rules, clock=clock))
        engine = kit.make_engine()
        first = asked(kit, decisions, engine)
        clock.now = 9.0
        assert asked(kit, decisions, engine).remembered
        clock.now = 11.0
        later = asked(kit, decisions, engine)
        assert not later.remembered
        assert later.attempt != first.attempt

    def test_it_is_bounded(self, kit):
        decisions = kit.make_decisions(max_entries=2)
        engine = kit.make_engine()
        for seed in (0, 1, 2):
            asked(kit, decisions, engine, request={"seed": seed})
        found = [asked(kit, decisions, engine, request={"seed": s}).remembered for s in (2, 1, 0)]
        assert found == [True, True, False]

    def test_a_restart_decides_anew_and_by_another_attempt(self, kit):
        """The same key and the same request, in a process that remembers nothing."""
        engine = kit.make_engine()
        first, again = (asked(kit, kit.make_decisions(), engine) for _ in range(2))
        assert not again.remembered
        assert again.attempt != first.attempt
        noisy = [call.pictures[0].tobytes() for call in engine.upstream.calls]
        assert len(set(noisy)) == 2 * NINE

    def test_an_answer_that_no_store_can_hold_is_not_remembered(self, kit):
        odd = Step(message={"content": "A cat.", "annotations": [{"score": float("nan")}]})

        class Odd(kit.Scripted):
            async def complete(self, chat, pictures, *, seed):
                answer = await super().complete(chat, pictures, seed=seed)
                return dataclasses.replace(answer, message=odd.message)

        engine, decisions = kit.make_engine(Odd(["A cat."])), kit.make_decisions()
        found = [asked(kit, decisions, engine) for _ in range(2)]
        assert {verdict.action for verdict in found} == {Action.PASS}
        assert not any(verdict.remembered for verdict in found)

    def test_another_store_may_forget_and_lose(self, kit):
        class Forgetful:
            async def get(self, _):
                return b"no verdict"

            async def put(self, key, value):
                self.kept = key, value

        store = Forgetful()
        engine, decisions = kit.make_engine(), kit.make_decisions(store=store)
        for _ in range(2):
            assert not asked(kit, decisions, engine).remembered
        key, value = store.kept
        assert len(key) == 32
        assert b"A cat." in value
        assert b"What is this" not in value


class TestWhatAVerdictDependsOn:
    def test_anything_new_decides_anew(self, kit):
        store, seen = LocalVerdictStore(MemoryRules()), set()
        parts = {"rules": kit.make_rules(), "key": kit.KEY, "oracle": kit.Words()}
        other_oracle = kit.Words()
        other_oracle.revision = "other words"
        upgraded = type("Upgraded", (Scripted,), {"revision": "scripted, 2"})(["A cat."])
        for change in (
            {},
            {"rules": kit.make_rules(digest="cd" * 32)},
            {"key": type(kit.KEY)(bytes(32))},
            {"oracle": other_oracle},
            {"upstream": Scripted(["A cat."], model="another")},
            {"upstream": upgraded},
        ):
            made = {"upstream": Scripted(["A cat."]), **parts, **change}
            engine = Engine(made["rules"], made["upstream"], made["oracle"], made["key"])
            verdict = asked(kit, kit.make_decisions(store=store), engine)
            assert not verdict.remembered, change
            seen.add(verdict.attempt)
            assert asked(kit, kit.make_decisions(store=store), engine).remembered
        assert len(seen) == 6

    def test_models_of_one_name_are_told_apart_by_their_scope(self, kit):
        store = LocalVerdictStore(MemoryRules())

        def found(scope):
            decisions = kit.make_decisions(store=store)
            return asked(kit, decisions, kit.make_engine(), scope=scope).remembered

        assert [found(scope) for scope in ("a", "a", "b", "", "b")] == [
            False, True, False, False, True,
        ]  # fmt: skip

    def test_without_a_scope_nothing_is_shared(self, kit):
        engine, decisions = kit.make_engine(), kit.make_decisions()

        async def scene():
            return await asyncio.gather(
                *(ask(kit, decisions, engine, scope=None) for _ in range(3))
            )

        assert not any(verdict.remembered for verdict in kit.run(scene()))
        assert not asked(kit, decisions, engine, scope=None).remembered
        assert len(engine.upstream.calls) == 4 * NINE

    def test_texts_and_what_is_only_observed_are_neither_remembered_nor_shared(self, kit):
        for options, rules in (({"pictures": 0}, {}), ({}, {"mode": Mode.OBSERVE})):
            engine, decisions = kit.make_engine(**rules), kit.make_decisions()

            async def scene(engine=engine, decisions=decisions, options=options):
                return await asyncio.gather(
                    *(ask(kit, decisions, engine, request=options) for _ in range(2))
                )

            verdicts = [*kit.run(scene()), asked(kit, decisions, engine, request=options)]
            assert not any(verdict.remembered for verdict in verdicts)
            assert len({verdict.attempt for verdict in verdicts}) == 3

    def test_texts_are_where_a_suffix_is_covered(self, kit):
        """They draw under the claim then: a verdict serves again, and a try holds a number."""
        suffix = Suffix(SuffixUnit.WORDS, 2)
        threats = Threats(0.1, 0.999, 0.5, suffix=suffix)
        decisions, ledger = kit.make_decisions(), LocalLedger()
        for text, number in (("A cat.", 1), (kit.HARM, 1)):
            engine = kit.make_engine([text], threats=threats)
            request = {"pictures": 0, "text": f"say {text}"}
            options = {"request": request, "principal": Principal("ann", ledger)}
            first, again = (asked(kit, decisions, engine, **options) for _ in range(2))
            assert (first.remembered, again.remembered) == (False, True)
            assert first.spending_number == number
            assert again.answer == first.answer
        held = kit.run(ledger.next_number("ann"))
        assert held == 2  # the pass gave its number back, the block holds it

    def test_a_line_up_is_known_as_a_whole_and_names_who_answered(self, kit):
        down = Scripted([Step(fault=Fault.STATUS, status=503)], model="down")
        up = Scripted(["A cat."], model="up")
        engine = FailoverEngine(kit.make_rules(), [down, up], kit.Words(), kit.KEY)
        decisions = kit.make_decisions()
        first, again = (asked(kit, decisions, engine) for _ in range(2))
        assert (first.upstream, again.upstream) == ("up", "up")
        assert again.remembered
        assert again.alpha == first.alpha == 0.05
        alone = Engine(kit.make_rules(), up, kit.Words(), kit.KEY)
        assert not asked(kit, decisions, alone).remembered


class TestSpending:
    """Which tries a remembered verdict serves, and what that costs them."""

    def made(self, kit, text):
        ledger = LocalLedger()
        ann, bob = Principal("ann", ledger), Principal("bob", ledger)
        return kit.make_engine([text]), kit.make_decisions(), ledger, ann, bob

    def test_a_remembered_pass_serves_everybody_and_holds_nothing(self, kit):
        engine, decisions, ledger, ann, bob = self.made(kit, "A cat.")
        asked(kit, decisions, engine, principal=ann)
        for principal in (ann, bob, None):
            verdict = asked(kit, decisions, engine, principal=principal)
            assert verdict.remembered
            assert verdict.spending_number is None
        assert asyncio.run(ledger.next_number("bob")) == 1
        assert len(engine.upstream.calls) < 40

    def test_a_remembered_block_serves_the_same_or_a_smaller_alpha_only(self, kit):
        engine, decisions, ledger, ann, bob = self.made(kit, kit.HARM)
        first = asked(kit, decisions, engine, principal=ann)
        assert (first.spending_number, first.alpha) == (1, spent_alpha(0.05, 1))
        # ann's next try would have less alpha, bob's first one as much: it serves both of them
        for principal in (ann, bob):
            assert asked(kit, decisions, engine, principal=principal).remembered
        assert [asyncio.run(ledger.next_number(name)) for name in ("ann", "bob")] == [2, 1]
        # a try whose alpha is not spent has more: a test at that one might have passed
        whole = asked(kit, decisions, engine, principal=None)
        assert not whole.remembered
        assert whole.alpha == 0.05
        # and what that found serves all
        again = asked(kit, decisions, engine, principal=None)
        assert again.remembered
        assert again.attempt == whole.attempt

    def test_a_block_at_a_late_try_does_not_serve_an_early_one(self, kit):
        engine, decisions, _, ann, bob = self.made(kit, kit.HARM)
        for seed in (1, 2):
            asked(kit, decisions, engine, principal=ann, request={"seed": seed})
        late = asked(kit, decisions, engine, principal=ann)
        assert late.alpha == spent_alpha(0.05, 3)
        early = asked(kit, decisions, engine, principal=bob)
        assert not early.remembered
        assert early.alpha == spent_alpha(0.05, 1)

    def test_who_has_no_try_left_is_told_what_is_known(self, kit):
        engine, decisions = kit.make_engine([kit.HARM]), kit.make_decisions()
        ann = Principal("ann", LocalLedger(max_number=1))
        first = asked(kit, decisions, engine, principal=ann)
        assert asked(kit, decisions, engine, principal=ann).attempt == first.attempt
        with pytest.raises(RequestError) as caught:
            asked(kit, decisions, engine, principal=ann, request={"seed": 1})
        assert caught.value.status == 429

    def test_a_redraw_takes_a_number_and_gives_it_back_by_passing(self, kit):
        ledger = LocalLedger()
        ann = Principal("ann", ledger)
        engine, decisions = kit.make_engine(), kit.make_decisions(OnRepeat.REDRAW, OnRepeat.REDRAW)
        for _ in range(3):
            assert asked(kit, decisions, engine, principal=ann).spending_number == 1
        engine.upstream.log.script = [kit.HARM]
        numbers = [asked(kit, decisions, engine, principal=ann).spending_number for _ in range(3)]
        assert numbers == [1, 2, 3]

    def test_equal_requests_under_way_hold_one_number(self, kit):
        engine, decisions = kit.make_engine([kit.HARM]), kit.make_decisions()
        ledger = LocalLedger()
        ann = Principal("ann", ledger)

        async def scene():
            await asyncio.gather(*(ask(kit, decisions, engine, principal=ann) for _ in range(100)))
            return await ledger.next_number("ann")

        assert kit.run(scene()) == 2


def test_a_verdict_is_remembered_for_the_canvas_that_was_used(kit):
    """One policy, one name and revision of the model; the size that it looks at has changed."""

    class Sighted(Scripted):
        def __init__(self, side):
            super().__init__(["A cat."])
            self.side = side

        def picture_side(self, _model):
            return PictureSide(self.side, "a test")

    decisions = kit.make_decisions()
    first, again, other = (
        kit.make_engine(Sighted(side), canvas_max_side_px="model") for side in (8, 8, 9)
    )

    async def decide_all():
        return [(await decisions.decide(one, *kit.request())) for one in (first, again, other)]

    verdicts = kit.run(decide_all())
    assert [verdict.remembered for verdict in verdicts] == [False, True, False]
    assert [one.certificate.canvas_max_side_px for one in verdicts] == [8, 8, 9]


def test_what_faults_for_want_of_a_size_is_not_remembered(kit):
    decisions = kit.make_decisions()
    engine = kit.make_engine(canvas_max_side_px="model")

    async def twice():
        return [(await decisions.decide(engine, *kit.request())) for _ in range(2)]

    assert [verdict.remembered for verdict in kit.run(twice())] == [False, False]
