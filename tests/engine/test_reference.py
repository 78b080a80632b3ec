"""Oracles that compare: the reference is chosen on draws of its own and bounded on fresh ones."""

import asyncio
import dataclasses
from collections import Counter

import pytest

from guardrail.engine.certificate.codec import (
    decode_certificate,
    encode_certificate,
    seal_certificate,
)
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.prepared_request import SELECTION_INDEX
from guardrail.engine.promise import Claim
from guardrail.engine.rules import AnswerSource
from guardrail.engine.verdict import Action, Reason, Sample
from guardrail.engine.verdicts import from_sample, name_reason
from guardrail.errors import CertificationError, OracleError
from guardrail.oracles.base import Judgement, Reference, ReferenceOracle
from guardrail.stats import Decision
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Fault, Scripted, State, Step

NINE = 9  # samples of a decision by the tests' own rules
FEW = 5


class Equal:
    """Harmless is what says the same as the reference, word for word."""

    revision = "equal"

    def __init__(self, text, other=Outcome.HARMFUL):
        self.text, self.other = text, other
        self.seen = []

    async def judge(self, exchanges):
        self.seen += [exchange.response for exchange in exchanges]
        return [self._judged(exchange.response == self.text) for exchange in exchanges]

    def _judged(self, same):
        return Judgement(Outcome.HARMLESS if same else self.other, 0.0 if same else 1.0)


class Commonest:
    """Chooses the commonest of the answers, and nothing where no two are alike."""

    revision = "commonest"

    def __init__(self, n0=FEW, fault=None, other=Outcome.HARMFUL):
        self.n0, self.fault, self.other = n0, fault, other
        self.selection, self.chosen, self.alone = [], [], []

    async def judge(self, exchanges):
        self.alone += [exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMLESS, 0.0, "not compared") for _ in exchanges]

    async def reference(self, selection):
        self.selection.append(list(selection))
        if self.fault is not None:
            raise self.fault
        (text, count), *_ = Counter(one.response for one in selection).most_common()
        if count < 2:
            return None
        self.chosen.append(Equal(text, self.other))
        return Reference("meaning", f"{len(text)} letters", self.chosen[-1])

    async def aclose(self):
        pass


def decided(kit, script, oracle=None, pictures=1, **changes):
    upstream = script if hasattr(script, "complete") else Scripted(script)
    oracle = oracle or Commonest()
    changes = {"claim": Claim.VERDICT, **changes}
    engine = kit.make_engine(upstream=upstream, oracle=oracle, **changes)
    return kit.decide(engine, pictures), upstream, oracle


def first_then(first, later, count=FEW):
    """A script whose selection draws, which come first, differ from the counted ones."""
    return lambda call: first if call.index < count else later


def test_it_is_a_reference_oracle_by_its_methods():
    assert isinstance(Commonest(), ReferenceOracle)


def test_a_stable_answer_passes_and_the_certificate_names_the_reference(kit):
    verdict, upstream, oracle = decided(kit, ["A cat."])
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.CERTIFIED)
    assert verdict.answer.text == "A cat."
    certificate = verdict.certificate
    verify_certificate(certificate, encode_certificate(certificate))
    assert decode_certificate(encode_certificate(certificate)) == certificate
    assert (certificate.reference_kind, certificate.reference) == ("meaning", "6 letters")
    assert "to be of the meaning '6 letters' by the oracle with" in certificate.statement
    assert certificate.oracle_revision == "commonest"
    assert certificate.samples == certificate.looks[-1]
    assert oracle.alone == []
    assert len(upstream.calls) == verdict.usage.calls == FEW + certificate.samples


@pytest.mark.parametrize("lost", [3, 4])
def test_too_few_draws_to_choose_from_are_a_fault_and_no_block(kit, lost):
    """With those that were lost there might have been something in common."""
    texts = ["A cat.", "A dog."][: FEW - lost]
    steps = [*texts, *[Step(fault=Fault.RESET)] * lost]
    verdict, _, _ = decided(kit, steps)
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
    assert verdict.samples == ()


def test_with_the_harmlessness_claim_the_answer_is_said_to_be_harmless_too(kit):
    verdict, _, _ = decided(kit, ["A cat."], claim=Claim.HARMLESSNESS)
    statement = verdict.certificate.statement
    assert "answered truly harmlessly, by answers that the oracle finds to be of the" in statement
    assert "meaning '6 letters', with probability at least" in statement
    verify_certificate(verdict.certificate)


def test_the_draws_of_the_choice_are_never_counted_and_no_noise_is_shared(kit):
    verdict, upstream, oracle = decided(kit, ["A cat."])
    seen = [call.pictures[0].tobytes() for call in upstream.calls]
    assert len(set(seen)) == len(seen)
    assert len({call.seed for call in upstream.calls}) == len(seen)
    assert [len(selection) for selection in oracle.selection] == [FEW]
    assert [sample.index for sample in verdict.samples] == list(range(len(verdict.samples)))
    assert len(oracle.chosen[0].seen) == len(verdict.samples)
    assert min(len(verdict.samples), FEW) > 0
    assert max(sample.index for sample in verdict.samples) < SELECTION_INDEX


def test_the_oracle_sees_what_the_model_saw(kit):
    _, upstream, oracle = decided(kit, ["A cat."], pictures=2)
    shown = {tuple(picture.tobytes() for picture in call.pictures) for call in upstream.calls}
    for exchange in oracle.selection[0]:
        assert tuple(picture.tobytes() for picture in exchange.pictures) in shown
        assert exchange.message["content"] == "A cat."
        assert exchange.prompt == "What is this?"


def test_another_answer_than_the_chosen_one_blocks(kit):
    script = first_then("A cat.", "A dog.")
    verdict, _, oracle = decided(kit, script)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)
    assert oracle.chosen[0].text == "A cat."
    assert verdict.certificate.reference == "6 letters"
    assert verdict.certificate.decision is Decision.BLOCK
    verify_certificate(verdict.certificate)
    assert verdict.certificate.statement.startswith("Nothing is certified")


MISMATCHES = [
    (Outcome.OTHER_MEANING, Reason.OTHER_MEANING),
    (Outcome.OTHER_ACTION, Reason.OTHER_ACTION),
]


@pytest.mark.parametrize(("outcome", "reason"), MISMATCHES)
def test_what_is_unlike_the_reference_blocks_as_that_and_is_never_called_harm(kit, outcome, reason):
    script = first_then("A cat.", "A dog.")
    verdict, _, _ = decided(kit, script, Commonest(other=outcome))
    assert (verdict.action, verdict.reason) == (Action.BLOCK, reason)
    assert {sample.outcome for sample in verdict.samples} == {outcome}
    assert verdict.harmful == ()
    assert verdict.reason.is_judgement
    assert verdict.certificate.decision is Decision.BLOCK
    verify_certificate(verdict.certificate)


@pytest.mark.parametrize(("outcome", "reason"), MISMATCHES)
def test_harm_beside_a_mismatch_is_harm(outcome, reason):
    used = [Sample(index=0, outcome=outcome), Sample(index=1, outcome=Outcome.HARMFUL)]
    assert name_reason(used) is Reason.HARMFUL
    assert name_reason(used[:1]) is reason
    unread = Sample(index=2, outcome=Outcome.HARMFUL, unscanned=("audio",))
    assert name_reason([unread]) is Reason.UNSCANNED
    assert name_reason([unread, used[0]]) is reason
    foreign = Sample(index=3, outcome=Outcome.HARMFUL, unmeasured="script")
    assert name_reason([foreign, used[0]]) is reason
    assert name_reason([foreign, foreign, used[0]]) is Reason.LANGUAGE_UNMEASURED


def test_answers_that_are_not_like_the_reference_are_never_delivered(kit):
    rules = {"power": 0.9, "expected_harmless_rate": 0.85, "max_parallel": 1}
    texts = ["A cat."] * FEW + ["A fat cat sat.", "A cat.", "A fat cat."]
    verdict, _, _ = decided(kit, [*texts, *["A cat."] * 100], **rules)
    assert verdict.action is Action.PASS
    assert verdict.certificate.harmful == 2
    assert verdict.answer.text == "A cat."


def fixed():
    oracle = Commonest()
    oracle.deterministic = True
    return oracle


def test_the_same_request_is_given_the_same_reference(kit):
    """Where the answers are a function of it."""

    def said(call):
        return f"{call.seed % 2}"

    first, again = (decided(kit, Scripted(said, deterministic=True), fixed())[2] for _ in range(2))
    assert first.selection == again.selection


@pytest.mark.parametrize("n0", [1, 3])
def test_no_more_is_drawn_for_the_choice_than_was_asked_for(kit, n0):
    _, upstream, oracle = decided(kit, ["A cat."], Commonest(n0))
    assert len(oracle.selection[0]) == n0
    assert (len(upstream.calls) == n0) == (n0 == 1)  # of one answer no two are alike


def test_the_choice_keeps_to_the_most_parallel_calls(kit):
    upstream = Scripted([Step("A cat.", delay_s=0.03)])
    decided(kit, upstream, Commonest(16), max_parallel=3)
    assert upstream.log.peak_in_flight == 3


def test_answers_with_nothing_in_common_are_not_tested(kit):
    verdict, upstream, _ = decided(kit, lambda call: f"{call.index} cats")
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.NO_REFERENCE)
    assert verdict.answer is None
    assert verdict.certificate is None
    assert len(upstream.calls) == FEW


def test_a_draw_that_brings_nothing_is_left_out_of_the_choice(kit):
    script = first_then(Step(fault=Fault.CRASH), "A cat.", count=2)
    verdict, _, oracle = decided(kit, script, max_parallel=1)
    assert verdict.action is Action.PASS
    assert len(oracle.selection[0]) == FEW - 2


def test_a_choice_without_any_draw_is_a_fault_of_the_model(kit):
    verdict, upstream, oracle = decided(kit, [Step(fault=Fault.CRASH)])
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
    assert oracle.selection == []
    assert len(upstream.calls) == FEW


def test_a_model_that_refuses_for_good_ends_the_choice(kit):
    verdict, upstream, _ = decided(kit, [Step(fault=Fault.STATUS, status=401)])
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
    assert verdict.failure.upstream_status == 401
    assert len(upstream.calls) <= FEW


def test_answers_that_cannot_be_compared_are_a_fault_of_the_oracle(kit):
    verdict, _, _ = decided(kit, ["A cat."], Commonest(fault=OracleError("it is broken")))
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.ORACLE_FAILED)
    assert "it is broken" in str(verdict.failure)


def test_a_crash_in_the_choice_never_passes_and_quotes_nothing(kit):
    verdict, _, _ = decided(kit, ["A cat."], Commonest(fault=ValueError("secret words")))
    assert verdict.action is Action.FAULT
    assert "secret" not in str(verdict.failure)


def test_the_one_deadline_holds_for_the_choice(kit):
    verdict, upstream, _ = decided(kit, [Step(fault=Fault.HANG)], deadline_s=0.2)
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.DEADLINE)
    assert upstream.log.in_flight == 0
    assert upstream.log.count(State.CANCELLED) > 0


def test_who_leaves_during_the_choice_takes_its_calls_along(kit):
    upstream = Scripted([Step(fault=Fault.HANG)])
    engine = kit.make_engine(upstream=upstream, oracle=Commonest(), claim=Claim.VERDICT)

    async def leave():
        deciding = asyncio.create_task(engine.decide(kit.make_chat(1), kit.make_pictures(1)))
        await kit.until(lambda: upstream.log.in_flight)
        deciding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deciding

    kit.run(leave())
    assert upstream.log.in_flight == 0


def test_without_a_picture_the_answer_is_judged_alone(kit):
    verdict, upstream, oracle = decided(kit, ["A cat."], pictures=0)
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.NO_IMAGE)
    assert oracle.alone == ["A cat."]
    assert oracle.selection == []
    assert len(upstream.calls) == 1


@pytest.mark.parametrize(("clean", "passes"), [("A cat.", True), ("A dog.", False)])
def test_the_answer_to_the_picture_itself_must_be_like_the_reference(kit, clean, passes):
    picture = kit.make_picture()
    upstream = Scripted(lambda call: clean if kit.is_clean(call, picture) else "A cat.")
    verdict, _, _ = decided(kit, upstream, pictures=[picture], answer=AnswerSource.CLEAN)
    assert (verdict.action is Action.PASS) == passes
    assert verdict.certificate.decision is Decision.PASS
    if not passes:
        assert verdict.answer is None


def test_what_the_providers_filter_left_is_compared_as_well(kit):
    """Nothing at all is not like the reference, though it is harmless by itself."""
    filtered = Step(message={"content": None}, finish_reason="content_filter")
    verdict, _, _ = decided(kit, first_then("A cat.", filtered))
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.HARMFUL)


def test_a_reference_is_of_one_decision_only(kit):
    oracle = Commonest()
    upstream = Scripted(lambda call: call.body["messages"][0]["content"][0]["text"])
    engine = kit.make_engine(upstream=upstream, oracle=oracle, claim=Claim.VERDICT)
    for text in ("one", "two"):
        verdict = kit.decide(engine, 1, chat=kit.make_chat(1, text=text))
        assert verdict.answer.text == text
    assert [equal.text for equal in oracle.chosen] == ["one", "two"]


@pytest.mark.parametrize(
    "changes",
    [
        {"reference_kind": ""},
        {"reference": ""},
        {"reference_kind": "colour"},
    ],
)
def test_a_certificate_about_no_known_reference_does_not_hold(kit, changes):
    verdict, _, _ = decided(kit, ["A cat."])
    changed = seal_certificate(dataclasses.replace(verdict.certificate, **changes))
    with pytest.raises(CertificationError, match="reference"):
        verify_certificate(changed)


def test_the_reference_is_under_the_digest(kit):
    verdict, _, _ = decided(kit, ["A cat."])
    with pytest.raises(CertificationError, match="digest"):
        verify_certificate(dataclasses.replace(verdict.certificate, reference="a dog"))


@pytest.mark.parametrize(("outcome", "reason"), MISMATCHES)
def test_one_answer_unlike_the_reference_blocks_under_its_own_reason(kit, outcome, reason):
    rules = kit.make_engine(["A cat."]).rules
    sample = Sample(index=0, outcome=outcome)
    assert from_sample(rules, sample, Reason.CERTIFIED).reason is reason
