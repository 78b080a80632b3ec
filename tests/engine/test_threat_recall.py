"""Shares of forbidden requests that are held against threats, as certificates repeat them."""

import dataclasses
import json

import pytest

from guardrail.engine.certificate.codec import (
    decode_certificate,
    encode_certificate,
    seal_certificate,
)
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.promise import Claim
from guardrail.engine.recall import RecallStatement
from guardrail.engine.threat_recall import Against, HeldShare, statements_of
from guardrail.engine.threat_wording import describe_extent, held_sentence, promise_sentence
from guardrail.engine.threats import Crops, Stickers, Suffix, SuffixUnit, Threat, Threats
from guardrail.errors import CertificationError
from guardrail.stats import RECALLS, RecallReach, recall_lower

CROPS, STICKERS = Crops(4, 3), Stickers(4, 0.02)
WORDS, CHARACTERS = Suffix(SuffixUnit.WORDS, 2), Suffix(SuffixUnit.CHARACTERS, 3)
THREATS = Threats(
    floor=0.1, expected_harmless_rate=0.99, power=0.9, crops=CROPS, stickers=STICKERS, suffix=WORDS
)
SHOWN = {
    Against.CROPS: 270,
    Against.STICKERS: 90,
    Against.STICKER_PLACE: 240,
    Against.SUFFIX: 290,
}
CLEAN = "Of 40 clean requests, 39 passed under the same policy."


def shares_of(statements=tuple(Against), requests=300):
    delta = 0.01 / max(1, len(statements))
    return tuple(
        HeldShare(one, SHOWN[one], recall_lower(SHOWN[one], requests, delta, 0.2))
        for one in statements
    )


def engine_of(kit, *, shares=None, **changes):
    options = {"claim": Claim.VERDICT, "alpha": 0.01, "canvas_max_side_px": None}
    engine = kit.make_engine(["A cat."], threats=THREATS, **options)
    shares = shares_of() if shares is None else shares
    fields = {
        "requests": 300,
        "draws": 100,
        "beta": 0.2,
        "delta": 0.01,
        "alpha": engine.rules.alpha,
        "reaches": tuple(map(RecallReach, RECALLS, (0.96, 0.31, None))),
        "clean_requests": 40,
        "clean_passed": 39,
        "view_draws": 150 if shares else 0,
        "shares": shares,
        "model": kit.make_chat(1).model,
        "upstream_revision": engine.upstream.revision,
        "oracle_revision": engine.oracle.revision,
        "digest": "ab" * 32,
    }
    recall = RecallStatement(**{**fields, **changes})
    engine.rules = dataclasses.replace(engine.rules, recall=recall)
    return engine


@pytest.fixture
def certificate(kit):
    return kit.decide(engine_of(kit), 1).certificate


def test_each_threat_of_a_certificate_has_its_share(certificate):
    data = json.loads(json.dumps(encode_certificate(certificate), allow_nan=False))
    said = {claim["threat"]: claim["recall_statement"] for claim in data["claims"]}
    assert said["l2"] == certificate.recall_statement
    assert "no change of their pixels" in said["l2"]
    for threat, words in (
        ("crops", "have some window such that"),
        ("stickers", "are held at every place: "),
        ("suffix", "put behind that text with nothing else changed"),
    ):
        assert words in said[threat]
        assert said[threat].endswith(CLEAN)
    assert said["stickers"].count("Of requests drawn like the 300 that were measured") == 2
    sentences = certificate.recall_statements
    assert list(sentences) == list(said)
    assert all(said[threat].startswith(sentence) for threat, sentence in sentences.items())
    back = decode_certificate(data)
    assert back == certificate
    verify_certificate(back, data)


def test_the_promise_covers_the_shares(kit, certificate):
    fewer = (dataclasses.replace(shares_of()[0], shown=1), *shares_of()[1:])
    other = kit.decide(engine_of(kit, shares=fewer), 1).certificate
    assert other.promise_digest != certificate.promise_digest


def test_what_was_not_measured_is_not_claimed(kit):
    certificate = kit.decide(engine_of(kit, shares=()), 1).certificate
    verify_certificate(certificate)
    assert certificate.recall.shares == ()
    said = {claim["threat"]: claim["recall_statement"] for claim in certificate.claims}
    assert said == {"l2": certificate.recall_statement, "crops": "", "stickers": "", "suffix": ""}
    assert list(certificate.recall_statements) == ["l2"]
    unmeasured = kit.decide(engine_of(kit, upstream_revision="another"), 1).certificate
    assert unmeasured.recall is None
    assert unmeasured.recall_statements == {}
    assert {claim["recall_statement"] for claim in unmeasured.claims} == {""}


def test_a_text_carries_no_share_of_requests_with_pictures(kit):
    certificate = kit.decide(engine_of(kit), 0).certificate
    verify_certificate(certificate)
    assert [claim["recall_statement"] for claim in certificate.claims] == [""]


def test_of_a_threat_whose_numbers_are_not_its_own_nothing_is_said(certificate):
    (tested, *_), recall = certificate.threats, certificate.recall
    assert tested.state_recall(recall)
    assert dataclasses.replace(tested, windows=None).state_recall(recall) == ""
    broken = dataclasses.replace(tested, windows=None)
    forged = dataclasses.replace(certificate, threats=(broken, *certificate.threats[1:]))
    assert "crops" not in forged.recall_statements


def change_share(**changes):
    first, *others = shares_of()
    return (dataclasses.replace(first, **changes), *others)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shares": change_share(share_lower=0.9)}, "does not follow from its requests"),
        ({"shares": change_share(shown=271)}, "does not follow from its requests"),
        ({"shares": change_share(shown=301)}, "more requests held against crops"),
        ({"shares": change_share(shown=-1)}, "more requests held against crops"),
        ({"shares": shares_of()[1:]}, "does not follow from its requests"),
        ({"shares": shares_of([Against.CROPS])}, "about other threats"),
        ({"shares": shares_of([*Against][::-1])}, "about other threats"),
        ({"shares": shares_of([Against.CROPS, *Against])}, "about other threats"),
        ({"view_draws": 0}, "an impossible number of draws"),
        ({"view_draws": -1, "shares": ()}, "an impossible number of draws"),
        ({"view_draws": 1}, "too few draws to show anything held against crops"),
        ({"view_draws": 10**12}, "more draws of a view than are ever made"),
        ({"view_draws": 150, "shares": ()}, "an impossible number of draws"),
    ],
)
def test_shares_that_cannot_be_are_found_even_under_a_new_digest(certificate, changes, words):
    recall = dataclasses.replace(certificate.recall, **changes)
    data = json.loads(json.dumps(encode_certificate(certificate)))
    data["recall"] = json.loads(json.dumps(recall.to_dict()))
    with pytest.raises(CertificationError, match=words):
        verify_certificate(seal_certificate(decode_certificate(data)))


@pytest.mark.parametrize(
    "change",
    [
        lambda recall: recall.pop("shares"),
        lambda recall: recall.pop("view_draws"),
        lambda recall: recall["shares"][0].update(against="everything"),
        lambda recall: recall["shares"][0].update(shown=1.5),
        lambda recall: recall["shares"][0].update(more=1),
    ],
)
def test_what_is_no_share_is_refused(certificate, change):
    data = json.loads(json.dumps(encode_certificate(certificate)))
    change(data["recall"])
    with pytest.raises(CertificationError, match="the field 'recall'"):
        decode_certificate(data)


@pytest.mark.parametrize(
    ("against", "setting", "words"),
    [
        (
            Against.CROPS,
            CROPS,
            (
                "at least 0.1234 have some window such that no change of its picture that leaves "
                "this one whole window as it is lets them pass"
            ),
        ),
        (
            Against.STICKERS,
            STICKERS,
            (
                "at least 0.1234 are held at every place: no sticker inside a square of at most "
                "0.02 of a picture's area lets them pass, wherever the square is"
            ),
        ),
        (
            Against.STICKER_PLACE,
            STICKERS,
            (
                "with one place of a square of 0.02 of a picture's area drawn at random for each "
                "beforehand, at least 0.1234 are held at that place: no sticker inside that square "
                "lets them pass"
            ),
        ),
        (
            Against.SUFFIX,
            WORDS,
            (
                "at least 0.1234 have a text of the user with a word in it and, without the white "
                "space at the end of the last such text, are such that white space and then at "
                "most 2 words, put behind that text with nothing else changed, do not let them pass"
            ),
        ),
        (
            Against.SUFFIX,
            CHARACTERS,
            (
                "at least 0.1234 have a text of the user that is not empty and, as it is, are such "
                "that at most 3 characters (code points), put behind that text with nothing else "
                "changed, do not let them pass"
            ),
        ),
    ],
)
def test_the_sentences_name_their_own_statement_and_round_to_the_safe_side(against, setting, words):
    numbers = {"requests": 1300, "alpha": 0.00100001, "delta": 0.0123456}
    said = held_sentence(HeldShare(against, 900, 0.123499), setting, **numbers)
    assert said.startswith("Of requests drawn like the 1,300 that were measured")
    assert words in said
    assert said.endswith(
        ", except with probability 0.001001 a try (confidence 0.9876 in this calibration, for all "
        "threats together)."
    )
    others = {"some window", "every place", "drawn at random"} - {
        part for part in ("some window", "every place", "drawn at random") if part in words
    }
    assert not any(part in said for part in others)
    none = held_sentence(HeldShare(against, 0, 0.0), setting, **numbers)
    assert "no share was shown to be held against" in none


def test_what_is_said_of_which_threats():
    assert statements_of(Threat) == tuple(Against)
    assert statements_of([Threat.SUFFIX]) == (Against.SUFFIX,)
    assert statements_of([]) == ()
    assert {one.threat for one in Against} == set(Threat)
    numbers = {"unit": "words", "most": 2, "floor": 0.1}
    assert THREATS.numbers(Threat.SUFFIX) == {**numbers, "temperature": "that of the request"}
    cold = dataclasses.replace(THREATS, temperature=0.0)
    assert cold.numbers(Threat.SUFFIX) == {**numbers, "temperature": 0.0}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (CROPS, "outside one of 4 windows"),
        (STICKERS, "a square of 2 % of a picture"),
        (WORDS, "white space and then at most 2 words"),
        (CHARACTERS, "at most 3 characters (code points)"),
    ],
)
def test_how_much_is_covered_is_said_in_a_few_words(setting, words):
    assert describe_extent(setting) == words


def test_a_sticker_is_never_said_to_be_larger_than_what_is_covered():
    setting = Stickers(9, 0.01234567)
    said = [
        promise_sentence(setting, floor=0.1, alpha=0.001),
        *(
            held_sentence(
                HeldShare(against, 90, 0.8), setting, requests=100, alpha=0.001, delta=0.05
            )
            for against in (Against.STICKERS, Against.STICKER_PLACE)
        ),
    ]
    assert all(" 0.01234567 of " in sentence for sentence in said)
    assert describe_extent(setting) == "a square of 1.234567 % of a picture"
    assert describe_extent(Stickers(9, 0.29)) == "a square of 29 % of a picture"
