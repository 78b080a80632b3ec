"""Recorded requests decided again by what was kept of them, without a call."""

import asyncio
import dataclasses

import numpy as np
import pytest

from guardrail.cases.case import AnswerCase, CaseDecision, KeptCase
from guardrail.cases.from_record import case_from_record
from guardrail.cases.reading import parse_cases
from guardrail.cases.writing import write_cases
from guardrail.errors import ConfigError
from guardrail.images.codec import decode_image
from guardrail.images.encode import encode_image
from guardrail.images.keys import KeyRing, NoiseKey
from guardrail.images.limits import ImageLimits
from guardrail.policy.schema import Policy
from guardrail.records.content import ContentKeys
from guardrail.records.recorder import build_record
from guardrail.types import Outcome, picture_chat
from guardrail.upstreams.scripted import Fault, Step

STOPPED, LET_THROUGH = CaseDecision.STOPPED, CaseDecision.LET_THROUGH
NOT_DECIDED = CaseDecision.NOT_DECIDED
KEYS = ContentKeys(KeyRing(NoiseKey(bytes(32))))
HOSTILE = "a private answer\n```\n- name: 1e3\n\x1b[31m <script> {{x}} \u202e"


@pytest.fixture
def record(kit):
    """Makes the record of a decision, with its content or without."""

    def make(script=(kit.CLEAN,), *, keep=False, pictures=1, engine=None, **sections):
        decider = engine or kit.make_engine(script, **sections)
        pixels = np.full((9, 12, 3), 90, dtype=np.uint8)
        shown = [
            decode_image(
                encode_image(pixels, "png"),
                declared_media_type=None,
                limits=ImageLimits(),
                param="p",
            )
        ] * pictures
        chat = picture_chat("scripted", "a secret question", pictures=pictures)
        verdict = asyncio.run(decider.decide(chat, shown))
        made = build_record(verdict, chat, decider, content_keys=KEYS if keep else None)
        return made.seal()

    return make


def decided(kit, case, **sections):
    """What the case comes to by way of a file, under a policy whose model must not be asked."""
    (read,) = parse_cases(write_cases([case]).encode(), file="cases.yaml")
    engine = kit.make_engine((Step(fault=Fault.CRASH),), **sections)
    (found,) = kit.run(engine, read)
    assert engine.upstream.calls == []
    return found


@pytest.mark.parametrize("pictures", [0, 1])
@pytest.mark.parametrize(
    "threats", [{"suffix": {"words": 2}}, {"crops": {"windows": 4, "sees": 3}}]
)
def test_kept_answers_do_not_say_what_a_policy_with_views_decides(kit, record, pictures, threats):
    case = case_from_record(record(pictures=pictures), keys=None)
    found = decided(kit, case, threats=threats)
    if pictures or "suffix" in threats:
        assert found.decision is NOT_DECIDED
        assert "records keep no answers to them" in found.error
    else:
        assert found.is_as_expected, (found.problems, found.error)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("pictures", [0, 1, 2])
def test_a_record_is_decided_again_as_it_was(kit, record, keep, pictures):
    for text, expected in ((kit.CLEAN, LET_THROUGH), (kit.HARM, STOPPED)):
        kept = record((text,), keep=keep, pictures=pictures)
        case = case_from_record(kept, keys=KEYS if keep else None)
        assert case.expect.decision is expected
        found = decided(kit, case)
        assert found.is_as_expected, (found.problems, found.error)
        certificate = kept.read_certificate()
        if certificate is not None:
            assert found.calls == certificate.samples
            assert found.radius == certificate.radius


def test_answers_that_were_kept_are_judged_by_another_oracle(kit, record):
    case = case_from_record(record((kit.CLEAN,), keep=True), STOPPED, keys=KEYS)
    assert case.given.prompt == "a secret question"
    assert decided(kit, case).problems
    stricter = decided(kit, case, oracle=kit.Words("private"))
    assert stricter.is_as_expected
    assert stricter.categories == ("violence",)
    looser = case_from_record(record((kit.HARM,), keep=True), LET_THROUGH, keys=KEYS)
    assert decided(kit, looser, oracle=kit.Words("nothing")).is_as_expected


def test_outcomes_alone_say_nothing_of_another_oracle(kit, record):
    case = case_from_record(record((kit.CLEAN,)))
    found = decided(kit, case, oracle=kit.Words("private"))
    assert found.decision is NOT_DECIDED
    assert "another oracle" in found.error


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"smoothing": {"sigma": 0.25, "radius": 0.1}}, "under noise 0.5, not 0.25"),
        ({"smoothing": {"canvas_min_side_px": 20}}, "another canvas"),
        ({"smoothing": {"canvas_limit_px": None}}, "was not that of the model"),
        ({"smoothing": {"denoise": "median"}}, "another filter (none)"),
        ({"answer": "clean"}, "answer: clean"),
        ({"smoothing": {"alpha": 2e-4}}, "this policy needs more"),
        ({"sampling": {"probe_max_tokens": 9}}, "beginnings of answers"),
    ],
)
def test_what_the_kept_answers_do_not_show_is_an_error(kit, record, sections, words):
    case = case_from_record(record((kit.CLEAN,), keep=True), keys=KEYS)
    found = decided(kit, case, **sections)
    assert found.decision is NOT_DECIDED
    assert words in found.error


@pytest.mark.parametrize("nested", [False, True])
def test_an_oracle_that_looks_at_pictures_judges_no_record(kit, record, nested):
    judge = {"kind": "moderation", "model": "m", "pictures": True}
    votes = {"kind": "ensemble", "members": [judge, {"kind": "builtin"}], "rule": "any"}
    policy = Policy.model_validate({"name": "test", "oracle": votes if nested else judge})
    case = case_from_record(record((kit.CLEAN,), keep=True), keys=KEYS)
    (found,) = kit.run(kit.make_engine(), case, policy=policy)
    assert "looks at pictures" in found.error


def test_missing_answers_are_no_harm(kit, record):
    """A record whose answers were lost has no decision, and neither has a case of it."""
    case = case_from_record(record((kit.CLEAN,)))
    lost = [
        dataclasses.replace(one, outcome=Outcome.MISSING, score=None) for one in case.given.answers
    ]
    gone = dataclasses.replace(case, given=dataclasses.replace(case.given, answers=tuple(lost)))
    found = decided(kit, gone)
    assert found.decision is NOT_DECIDED


def test_text_of_others_stays_text(kit, record):
    kept = record((HOSTILE,), keep=True)
    case = case_from_record(kept, keys=KEYS)
    (read,) = parse_cases(write_cases([case]).encode(), file="cases.yaml")
    assert {one.answer.text for one in read.given.answers} == {HOSTILE}
    assert "\x1b" not in write_cases([case])
    assert decided(kit, case).is_as_expected


def test_a_text_with_its_answer_becomes_a_case_of_an_answer(kit, record):
    case = case_from_record(record((kit.CLEAN,), keep=True, pictures=0), keys=KEYS)
    assert isinstance(case.given, AnswerCase)
    assert (case.given.answer.text, case.given.prompt) == (kit.CLEAN, "a secret question")
    closed = case_from_record(record((kit.CLEAN,), keep=True, pictures=0))
    assert isinstance(closed.given, KeptCase)
    assert closed.given.prompt == ""


def test_of_what_was_not_judged_there_is_no_case(kit, record):
    for made in (
        record((Step(fault=Fault.STATUS, status=500),)),
        dataclasses.replace(record(), remembered=True),
        dataclasses.replace(record(), samples=()),
        dataclasses.replace(record(), samples=record().samples[1:]),
    ):
        with pytest.raises(ConfigError, match=f"no case can be made of record {made.record_id}"):
            case_from_record(made)


def test_observe_mode_expects_what_it_would_have_blocked(kit, record):
    kept = record((kit.HARM,), mode="observe")
    assert (kept.action, kept.would_block) == ("pass", True)
    assert case_from_record(kept).expect.decision is STOPPED
