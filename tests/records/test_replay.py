"""Replay: the same noise, counts and verdict, or a loud no."""

import dataclasses

import numpy as np
import pytest

from guardrail.engine.certificate.codec import (
    decode_certificate,
    encode_certificate,
    seal_certificate,
)
from guardrail.engine.certifier import Certifier
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError
from guardrail.images.keys import NoiseKey
from guardrail.images.known_pictures import KnownPicture
from guardrail.memory.remembered_verdict import as_delivered_again
from guardrail.records.recorder import build_record
from guardrail.records.replay import check_outcomes, replay
from guardrail.stats import Decision
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Fault, Step


def changed(record, position, **fields):
    samples = list(record.samples)
    samples[position] = dataclasses.replace(samples[position], **fields)
    return dataclasses.replace(record, samples=tuple(samples))


@pytest.mark.parametrize("pictures", [1, 2])
def test_variants_are_those_that_the_model_saw(kit, pictures):
    engine = kit.make_engine(kit.every_other)
    record = build_record(*kit.decide(engine, pictures), engine)
    again = replay(record, *kit.request(pictures), kit.KEY)
    sent = {call.seed: call.pictures for call in engine.upstream.calls}
    made = [again.variants(sample.index) for sample in record.samples]
    for seen in sent.values():
        assert any(all(map(np.array_equal, seen, variant)) for variant in made)
    assert len(made) == len(sent) == len(record.samples)
    assert again.noise_digest == record.noise_digest


@pytest.mark.parametrize(
    ("sides", "scaled", "canvas"),
    [
        ({}, [9, 12], [28, 28]),
        ({"canvas_max_side_px": 8, "canvas_min_side_px": 8}, [6, 8], [8, 8]),
        ({"canvas_max_side_px": 8, "canvas_min_side_px": 1}, [6, 8], [6, 8]),
        ({"canvas_min_side_px": 1}, [9, 12], [9, 12]),
    ],
)
def test_resized_and_padded_pictures_are_replayed_too(kit, sides, scaled, canvas):
    engine = kit.make_engine(smoothing=sides)
    record = build_record(*kit.decide(engine), engine)
    (size,) = record.certificate["pictures"]
    assert size == {"client": [9, 12], "scaled": scaled, "canvas": canvas}
    first = replay(record, *kit.request(), kit.KEY).variants(0)
    assert any(np.array_equal(first[0], call.pictures[0]) for call in engine.upstream.calls)


@pytest.mark.parametrize("name", ["passed", "blocked"])
def test_outcomes_lead_to_the_same_verdict(kit, name, request):
    record = request.getfixturevalue(name)
    decision = Decision.PASS if name == "passed" else Decision.BLOCK
    assert check_outcomes(record) is decision
    assert replay(record, *kit.request(), kit.KEY).decision is decision


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.OTHER_MEANING, Reason.OTHER_MEANING),
        (Outcome.OTHER_ACTION, Reason.OTHER_ACTION),
    ],
)
def test_answers_unlike_the_reference_are_replayed_as_what_they_are(request, outcome, reason):
    blocked = request.getfixturevalue("blocked")
    samples = tuple(
        dataclasses.replace(sample, outcome=outcome)
        if sample.outcome is Outcome.HARMFUL else sample
        for sample in blocked.samples
    )  # fmt: skip
    record = dataclasses.replace(blocked, samples=samples, reason=reason)
    assert check_outcomes(record) is Decision.BLOCK


def test_uncertain_and_missing_outcomes_are_replayed(kit):
    mixed = kit.make_record(lambda call: kit.HARM if call.index % 5 == 4 else kit.CLEAN)
    assert check_outcomes(mixed).value == mixed.certificate["decision"]
    lost = kit.make_record((Step(fault=Fault.RESET),))
    assert lost.reason is Reason.UPSTREAM_FAILED
    assert check_outcomes(lost) is Decision.BLOCK


def test_a_test_cut_short_is_replayed(kit):
    slow = kit.make_record(
        lambda call: Step(kit.CLEAN, delay_s=0 if call.index % 3 else 30),
        limits={"retries": 0, "call_timeout_s": 30.0, "deadline_s": 0.5},
    )
    assert slow.reason is Reason.DEADLINE
    assert slow.samples
    assert check_outcomes(slow) is Decision.UNCERTAIN


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"max_calls": 40}, Reason.MAX_CALLS),
        ({"max_cost_usd_per_request": 0.000_25}, Reason.MAX_COST),
    ],
)
def test_a_test_that_met_a_limit_is_replayed(kit, limit, reason):
    # Calls that are not sent at first: every sample takes two.
    def script(call):
        fails = call.index % 2 == 0
        return Step(fault=Fault.UNREACHABLE) if fails else kit.CLEAN

    prices = {"*": {"input_usd_per_million": 1.0, "output_usd_per_million": 1.0}}
    record = kit.make_record(
        script, limits={"retries": 2, **limit}, sampling={"max_parallel": 1}, prices=prices
    )
    assert (record.action, record.reason) == (Action.FAULT, reason)
    assert record.cost_usd > 0
    assert check_outcomes(record) is Decision.UNCERTAIN


def test_a_beginning_certified_and_the_whole_harmful_fits(kit):
    def script(call):
        if "max_completion_tokens" in call.body:
            return Step(kit.CLEAN, finish_reason="length")
        return kit.HARM

    record = kit.make_record(script, sampling={"probe_max_tokens": 8})
    assert (record.action, record.reason) == (Action.BLOCK, Reason.HARMFUL)
    assert record.certificate["probe_max_tokens"] == 8
    assert check_outcomes(record) is Decision.PASS


def test_speculation_changes_nothing(kit):
    record = kit.make_record(sampling={"speculate": True, "max_parallel": 8})
    assert len(record.samples) >= record.certificate["samples"]
    assert check_outcomes(record) is Decision.PASS


def test_an_answer_that_fails_after_a_pass_fits(kit):
    def script(call):
        return kit.HARM if np.array_equal(call.pictures[0], original.pixels) else kit.CLEAN

    original = kit.make_picture(0)
    record = kit.make_record(script, answer="clean")
    assert (record.action, record.reason) == (Action.BLOCK, Reason.HARMFUL)
    assert check_outcomes(record) is Decision.PASS


def test_another_key_is_refused(kit, passed):
    with pytest.raises(CertificationError, match="key is not the one"):
        replay(passed, *kit.request(), NoiseKey(bytes(32)))


def test_another_request_is_refused(kit, passed):
    chat, pictures = kit.request()
    with pytest.raises(CertificationError, match="request is not the one"):
        replay(passed, dataclasses.replace(chat, model="other"), pictures, kit.KEY)
    with pytest.raises(CertificationError, match="request is not the one"):
        replay(passed, chat, [kit.make_picture(5)], kit.KEY)


def test_noise_of_other_variants_is_found_out(kit, passed):
    with pytest.raises(CertificationError, match="noise digest"):
        replay(dataclasses.replace(passed, noise_digest="00" * 32), *kit.request(), kit.KEY)


def test_nothing_to_replay(kit):
    record = kit.make_record(pictures=0)
    assert check_outcomes(record) is None
    with pytest.raises(CertificationError, match="nothing to replay"):
        replay(record, *kit.request(0), kit.KEY)


def test_a_changed_outcome_is_found_out(passed):
    with pytest.raises(CertificationError, match="other counts"):
        check_outcomes(changed(passed, 3, outcome=Outcome.HARMFUL))
    with pytest.raises(CertificationError, match="other counts"):
        check_outcomes(changed(passed, 0, outcome=Outcome.MISSING))


def test_a_lost_or_moved_sample_is_found_out(passed):
    with pytest.raises(CertificationError, match="other counts"):
        check_outcomes(dataclasses.replace(passed, samples=passed.samples[1:]))
    with pytest.raises(CertificationError, match="not in order"):
        check_outcomes(dataclasses.replace(passed, samples=passed.samples[::-1]))
    twice = (passed.samples[0], *passed.samples)
    with pytest.raises(CertificationError, match="not in order"):
        check_outcomes(dataclasses.replace(passed, samples=twice))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [({"action": Action.PASS}, "without a proof"),
     ({"reason": Reason.CERTIFIED}, "reason does not fit"),
     ({"reason": Reason.NO_IMAGE}, "reason does not fit"),
     ({"policy_digest": "00"}, "policy_digest is not that"),
     ({"key_id": "00"}, "key_id is not that"),
     ({"upstream": "x"}, "upstream is not that"),
     ({"pictures": 2}, "another number of pictures"),
     ({"known_picture": KnownPicture("a", 1, 2)}, "known picture does not fit"),
     ({"reason": Reason.KNOWN_PICTURE}, "known picture does not fit"),
     ({"alpha": 1e-9}, "alpha is smaller"),
     ({"alpha": None}, "alpha is smaller"),
     ({"certificate": None, "action": Action.PASS}, "has no certificate"),
     ({"certificate": None, "reason": Reason.CERTIFIED}, "without a certificate")],
)  # fmt: skip
def test_contradictions_are_found_out(blocked, fields, problem):
    with pytest.raises(CertificationError, match=problem):
        check_outcomes(dataclasses.replace(blocked, **fields))


def test_an_oracle_that_fails_open_is_no_contradiction(kit):
    record = kit.make_record()
    opened = dataclasses.replace(
        record, reason=Reason.ORACLE_FAILED, unscanned=("answer",), outside_claim=True
    )
    with pytest.raises(CertificationError, match="does not say that the answer lies outside"):
        check_outcomes(opened)
    outside = seal_certificate(dataclasses.replace(record.read_certificate(), outside_claim=True))
    opened = dataclasses.replace(opened, certificate=encode_certificate(outside))
    assert check_outcomes(opened) is Decision.PASS


def test_replay_runs_the_engines_own_certifier(passed, monkeypatch):
    """A certifier that decides otherwise must make the replay fail."""
    monkeypatch.setattr(Certifier, "counts", property(lambda _: ()))
    with pytest.raises(CertificationError, match="other counts"):
        check_outcomes(passed)


class TestRemembered:
    """An answer given again: no draws of its own, and the certificate of the decision that drew."""

    @pytest.fixture(params=["passed", "blocked"])
    def remembered(self, kit, request):
        engine = kit.make_engine() if request.param == "passed" else kit.make_engine((kit.HARM,))
        verdict, chat = kit.decide(engine)
        return build_record(as_delivered_again(verdict), chat, engine)

    def test_it_holds_and_says_what_it_is(self, remembered):
        assert remembered.remembered
        assert (remembered.samples, remembered.noise_digest, remembered.calls) == ((), "", 0)
        assert check_outcomes(remembered).value == remembered.certificate["decision"]

    def test_it_is_replayed_from_the_record_that_drew(self, kit, remembered):
        with pytest.raises(CertificationError, match="was remembered"):
            replay(remembered, *kit.request(), kit.KEY)

    def test_nothing_is_drawn_and_remembered(self, passed, remembered):
        for fields in (
            {"samples": passed.samples},
            {"noise_digest": passed.noise_digest},
            {"calls": 3},
        ):
            with pytest.raises(CertificationError, match="something was drawn"):
                check_outcomes(dataclasses.replace(remembered, **fields))

    def test_a_pass_is_outside_its_claim(self, kit):
        engine = kit.make_engine()
        verdict, chat = kit.decide(engine)
        record = build_record(as_delivered_again(verdict), chat, engine)
        with pytest.raises(CertificationError, match="remembered and claimed"):
            check_outcomes(dataclasses.replace(record, outside_claim=False))

    def test_a_drawn_one_cannot_be_passed_off_as_remembered(self, passed):
        with pytest.raises(CertificationError, match="something was drawn"):
            check_outcomes(dataclasses.replace(passed, remembered=True, outside_claim=True))

    def test_nor_a_remembered_one_as_drawn(self, remembered):
        with pytest.raises(CertificationError, match="other counts"):
            check_outcomes(dataclasses.replace(remembered, remembered=False))

    def test_a_block_is_not_remembered_as_a_pass(self, kit):
        engine = kit.make_engine((kit.HARM,))
        verdict, chat = kit.decide(engine)
        record = build_record(as_delivered_again(verdict), chat, engine)
        forged = dataclasses.replace(
            record, action=Action.PASS, answer_chars=3, outside_claim=True, reason=Reason.CERTIFIED
        )
        with pytest.raises(CertificationError, match="does not fit"):
            check_outcomes(forged)


def test_another_attempt_is_found_out(kit, passed):
    other = "0" * 31 + "7"
    with pytest.raises(CertificationError, match="attempt is not that"):
        check_outcomes(dataclasses.replace(passed, attempt=other))
    certificate = decode_certificate(passed.certificate)
    moved = encode_certificate(seal_certificate(dataclasses.replace(certificate, attempt=other)))
    with pytest.raises(CertificationError, match="noise digest"):
        replay(
            dataclasses.replace(passed, attempt=other, certificate=moved), *kit.request(), kit.KEY
        )
    edited = {**passed.certificate, "attempt": other}
    with pytest.raises(CertificationError, match="digest"):
        dataclasses.replace(passed, certificate=edited).read_certificate()


def test_a_second_decision_on_the_request_replays_by_its_own_attempt(kit):
    engine = kit.make_engine(kit.every_other)
    first, second = (build_record(*kit.decide(engine), engine) for _ in range(2))
    assert first.attempt != second.attempt
    assert first.noise_digest != second.noise_digest
    for record in (first, second):
        again = replay(record, *kit.request(), kit.KEY)
        noisy = again.variants(0)[0]
        assert any(np.array_equal(noisy, call.pictures[0]) for call in engine.upstream.calls)
    assert not np.array_equal(
        replay(first, *kit.request(), kit.KEY).variants(0)[0],
        replay(second, *kit.request(), kit.KEY).variants(0)[0],
    )
