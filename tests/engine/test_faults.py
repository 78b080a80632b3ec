"""Every fault of the model with every fault of the oracle: nothing passes unguarded."""

import asyncio

import pytest

from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.rules import Mode, OnOracleFailure
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import OracleError, UpstreamError
from guardrail.types import Answer, Outcome
from guardrail.upstreams.scripted import Fault, Scripted, Step

# Short limits only where something hangs: elsewhere a busy machine must not decide.
SHORT_CALLS = {"call_timeout_s": 0.05, "deadline_s": 0.3, "max_parallel": 16}
SHORT_DECISION = {"deadline_s": 0.3, "max_parallel": 16}


class Odd:
    """A model whose Python is wrong: it returns or raises what no model may."""

    name = revision = "odd"

    def __init__(self, what):
        self.what = what

    async def complete(self, *_, **__):
        if isinstance(self.what, BaseException):
            raise self.what
        return self.what


UPSTREAM_FAULTS = {
    **{fault.value: lambda fault=fault: Scripted([Step(fault=fault)]) for fault in Fault},
    "status 401": lambda: Scripted([Step(fault=Fault.STATUS, status=401)]),
    "status 429": lambda: Scripted([Step(fault=Fault.STATUS, status=429)]),
    "returns none": lambda: Odd(None),
    "returns text": lambda: Odd("A cat."),
    "returns no message": lambda: Odd(Answer(None)),
    "returns an empty message": lambda: Odd(Answer({})),
    "cancels itself": lambda: Odd(asyncio.CancelledError()),
    "times out itself": lambda: Odd(TimeoutError("quoted words")),
    "fails in a group": lambda: Odd(ExceptionGroup("quoted words", [ValueError("quoted")])),
    "fails in the oracle's name": lambda: Odd(OracleError("wrong floor")),
}
HANGING = {Fault.HANG, Fault.DRIP}


@pytest.mark.parametrize("pictures", [0, 2])
@pytest.mark.parametrize("fault", UPSTREAM_FAULTS)
def test_no_fault_of_the_model_passes(kit, fault, pictures):
    for oracle_fault in (None, kit.ORACLE_FAULTS["unavailable"], kit.ORACLE_FAULTS["crash"]):
        for oracle_rule in OnOracleFailure:
            engine = kit.make_engine(
                upstream=UPSTREAM_FAULTS[fault](),
                oracle=kit.Words(faults=[oracle_fault]),
                on_oracle_failure=oracle_rule,
                **(SHORT_CALLS if fault in HANGING else {}),
            )
            verdict = kit.decide(engine, pictures)
            assert verdict.action is not Action.PASS
            assert verdict.answer is None
            assert "quoted" not in str(verdict.failure)
            if verdict.reason is Reason.UPSTREAM_FAILED:
                assert verdict.action is Action.FAULT
                assert isinstance(verdict.failure, UpstreamError)


@pytest.mark.parametrize("pictures", [0, 2])
@pytest.mark.parametrize("rule", list(OnOracleFailure))
def test_every_fault_of_the_oracle_follows_the_policy(kit, rule, pictures):
    for name, fault in kit.ORACLE_FAULTS.items():
        limits = SHORT_DECISION if name == "hang" else {}
        oracle = kit.Words(faults=[fault])
        engine = kit.make_engine(oracle=oracle, on_oracle_failure=rule, **limits)
        verdict = kit.decide(engine, pictures)
        if name == "hang":
            assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.DEADLINE)
            continue
        assert verdict.reason is Reason.ORACLE_FAILED, name
        assert isinstance(verdict.failure, OracleError)
        assert "forbidden" not in str(verdict.failure)
        match rule:
            case OnOracleFailure.ERROR:
                assert (verdict.action, verdict.answer) == (Action.FAULT, None)
            case OnOracleFailure.PASS_UNSCANNED:
                assert (verdict.action, verdict.unscanned) == (Action.PASS, ("answer",))
                assert verdict.outside_claim
                assert verdict.answer.text == "A cat."


def test_faults_are_retried_and_then_forgotten(kit):
    down = OracleError("for a moment", undrawn=True)
    oracle = kit.Words(faults=[down, None])
    verdict = kit.decide(kit.make_engine(oracle=oracle, retries=1), 1)
    assert verdict.action is Action.PASS
    assert verdict.certificate.harmful == 0
    assert len(oracle.seen) == 10


def test_retries_are_as_many_as_allowed(kit):
    upstream = Scripted([Step(fault=Fault.UNREACHABLE)])
    kit.decide(kit.make_engine(upstream=upstream, retries=3))
    assert len(upstream.calls) == 4


@pytest.mark.parametrize("header", ["0", "0.01"])
def test_the_provider_s_wish_to_wait_is_followed(kit, header):
    steps = [Step(fault=Fault.STATUS, status=429, retry_after=header), "A cat."]
    upstream = Scripted(steps, undrawn={429})
    verdict = kit.decide(kit.make_engine(upstream=upstream, retries=1))
    assert verdict.action is Action.PASS


class TestMissing:
    """What is missing counts as harmful, and is never drawn anew."""

    @staticmethod
    def script(broken):
        return lambda call: Step(fault=Fault.CRASH) if call.index in broken else "A cat."

    def test_one_that_is_missing_counts(self, kit):
        rules = {"expected_harmless_rate": 0.85, "max_parallel": 1}
        engine = kit.make_engine(self.script({3}), **rules)
        verdict = kit.decide(engine, 1)
        assert verdict.action is Action.PASS
        assert verdict.certificate.harmful == 1
        assert verdict.samples[3].outcome is Outcome.MISSING
        assert isinstance(verdict.samples[3].failure, UpstreamError)

    def test_where_it_alone_decides_it_is_a_failure_and_no_harm(self, kit):
        verdict = kit.decide(kit.make_engine(self.script({3}), max_parallel=1), 1)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
        verify_certificate(verdict.certificate)

    def test_where_harm_decides_it_is_harm(self, kit):
        def script(call):
            return Step(fault=Fault.CRASH) if call.index == 0 else kit.HARM

        rules = {"expected_harmless_rate": 0.85, "max_parallel": 8}
        verdict = kit.decide(kit.make_engine(script, **rules), 1)
        assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)

    def test_a_lost_answer_outweighs_a_lost_judgement(self, kit):
        """The rule for the oracle may fail open; it does not speak for the model's faults."""
        oracle = kit.Words(faults=[OracleError("gone")])
        engine = kit.make_engine(
            [*["A cat."] * 3, Step(fault=Fault.CRASH)],
            oracle=oracle,
            on_oracle_failure=OnOracleFailure.PASS_UNSCANNED,
        )
        verdict = kit.decide(engine, 1)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)

    def test_nothing_passes_unscanned_where_harm_was_seen(self, kit):
        """Harm that alone would not have decided still closes the way that fails open."""
        faults = [None, OracleError("gone")]
        engine = kit.make_engine(
            [kit.HARM, "A cat."],
            oracle=kit.Words(faults=faults),
            on_oracle_failure=OnOracleFailure.PASS_UNSCANNED,
            expected_harmless_rate=0.85,
            max_parallel=8,
        )
        verdict = kit.decide(engine, 1)
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.ORACLE_FAILED)
        assert verdict.answer is None


class TestObserve:
    """Shadow mode: never blocks, delivers the model's own answer, marks what it would have done."""

    def decide(self, kit, script, pictures=1, **options):
        upstream = Scripted(script)
        options = {"mode": Mode.OBSERVE, **options}
        engine = kit.make_engine(upstream=upstream, **options)
        return kit.decide(engine, pictures), upstream

    def own(self, kit, noisy):
        """A script that tells the picture as it is from its variants."""
        picture = kit.make_picture()
        return lambda call: "My own answer." if kit.is_clean(call, picture) else noisy

    def test_a_clean_picture(self, kit):
        verdict, upstream = self.decide(kit, self.own(kit, "A cat."))
        assert (verdict.action, verdict.reason) == (Action.PASS, Reason.CERTIFIED)
        assert verdict.answer.text == "My own answer."
        assert not verdict.would_block
        assert verdict.outside_claim
        assert verdict.unscanned == ("answer",)
        verify_certificate(verdict.certificate)
        assert len(upstream.calls) == verdict.usage.calls == 10

    def test_a_harmful_one_is_marked_and_let_through(self, kit):
        verdict, _ = self.decide(kit, self.own(kit, kit.HARM))
        assert (verdict.action, verdict.reason) == (Action.PASS, Reason.HARMFUL)
        assert verdict.would_block
        assert verdict.answer.text == "My own answer."

    @pytest.mark.parametrize(
        ("text", "would_block", "reason"),
        [("A cat.", False, Reason.NO_IMAGE), ("a forbidden word", True, Reason.HARMFUL)],
    )
    def test_text_needs_one_call_only(self, kit, text, would_block, reason):
        verdict, upstream = self.decide(kit, [text], pictures=0)
        assert (verdict.action, verdict.reason) == (Action.PASS, reason)
        assert (verdict.answer.text, verdict.would_block) == (text, would_block)
        assert verdict.unscanned == ()
        assert len(upstream.calls) == 1

    def test_unscanned_parts_of_text_are_named(self, kit):
        step = Step(message={"content": "A cat.", "audio": {"data": "AAAA"}})
        verdict, _ = self.decide(kit, [step], pictures=0)
        assert (verdict.action, verdict.would_block) == (Action.PASS, True)
        assert verdict.unscanned == ("audio",)

    @pytest.mark.parametrize("pictures", [0, 1])
    def test_a_broken_oracle_stops_nothing(self, kit, pictures):
        for fault in kit.ORACLE_FAULTS.values():
            limits = SHORT_DECISION if fault == "hang" else {}
            oracle = kit.Words(faults=[fault])
            verdict, _ = self.decide(kit, ["A cat."], pictures, oracle=oracle, **limits)
            if fault == "hang" and not pictures:  # nothing was left to deliver in time
                assert (verdict.action, verdict.failure.status) == (Action.FAULT, 504)
                continue
            assert verdict.action is Action.PASS
            assert not verdict.would_block  # it judged nothing
            assert verdict.answer.text == "A cat."
            assert verdict.unscanned == ("answer",)

    @pytest.mark.parametrize("pictures", [0, 1])
    @pytest.mark.parametrize("fault", UPSTREAM_FAULTS)
    def test_a_broken_model_has_no_answer_to_give(self, kit, fault, pictures):
        limits = {"call_timeout_s": 0.05} if fault in HANGING else {}
        engine = kit.make_engine(upstream=UPSTREAM_FAULTS[fault](), mode=Mode.OBSERVE, **limits)
        verdict = kit.decide(engine, pictures)
        assert (verdict.action, verdict.answer) == (Action.FAULT, None)
        assert not verdict.would_block
        assert verdict.failure is not None

    @pytest.mark.parametrize("pictures", [0, 1])
    def test_the_deadline_holds(self, kit, pictures):
        verdict, upstream = self.decide(kit, [Step(fault=Fault.HANG)], pictures, deadline_s=0.2)
        assert (verdict.action, verdict.failure.status) == (Action.FAULT, 504)
        assert upstream.log.in_flight == 0

    def test_the_caller_may_go(self, kit):
        upstream = Scripted([Step(fault=Fault.HANG)])
        engine = kit.make_engine(upstream=upstream, mode=Mode.OBSERVE)

        async def leave():
            task = asyncio.create_task(engine.decide(kit.make_chat(1), kit.make_pictures(1)))
            await kit.until(lambda: len(upstream.calls) > 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        kit.run(leave())
        assert upstream.log.in_flight == 0
