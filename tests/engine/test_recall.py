"""What certificates repeat of a measured recall, and for whom."""

import copy
import dataclasses
import json
import math

import pytest

from guardrail.engine.certificate.codec import (
    decode_certificate,
    encode_certificate,
    seal_certificate,
)
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.recall import RecallStatement, check_recall
from guardrail.engine.wording import recall_sentence
from guardrail.errors import CertificationError, ConfigError
from guardrail.stats import RecallReach

REACHES = (RecallReach(0.5, 0.96), RecallReach(0.9, 0.31), RecallReach(0.99, None))


def statement(engine, **changes):
    fields = {
        "requests": 300,
        "draws": 100,
        "beta": 0.2,
        "delta": 0.01,
        "alpha": engine.rules.alpha,
        "reaches": REACHES,
        "clean_requests": 40,
        "clean_passed": 39,
        "view_draws": 0,
        "shares": (),
        "model": "test",
        "upstream_revision": engine.upstream.revision,
        "oracle_revision": engine.oracle.revision,
        "digest": "ab" * 32,
    }
    return RecallStatement(**{**fields, **changes})


def with_recall(kit, **changes):
    engine = kit.make_engine()
    model = kit.make_chat(1).model if hasattr(kit, "make_chat") else kit.chat_with(1).model
    found = statement(engine, **{"model": model, **changes})
    engine.rules = dataclasses.replace(engine.rules, recall=found)
    return engine, found


@pytest.fixture
def certificate(kit):
    engine, _ = with_recall(kit)
    return kit.decide(engine, 1).certificate


def test_a_certificate_repeats_it_and_holds(kit):
    engine, found = with_recall(kit)
    certificate = kit.decide(engine, 1).certificate
    assert certificate.recall == found
    data = json.loads(json.dumps(encode_certificate(certificate), allow_nan=False))
    assert data["recall_statement"] == certificate.recall_statement == found.sentence
    back = decode_certificate(data)
    assert back == certificate
    verify_certificate(back, data)


@pytest.mark.parametrize(
    "changes", [{"model": "other"}, {"upstream_revision": "x"}, {"oracle_revision": "x"}]
)
def test_what_was_measured_with_others_is_left_out(kit, changes):
    engine, _ = with_recall(kit, **changes)
    certificate = kit.decide(engine, 1).certificate
    assert certificate.recall is None
    assert certificate.recall_statement == ""
    verify_certificate(certificate)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"beta": 1.0}, "a probability out of range"),
        ({"requests": 0}, "an impossible number of requests"),
        ({"clean_passed": 41}, "more clean passes than clean requests"),
        ({"reaches": (REACHES[1], REACHES[0], REACHES[2])}, "other shares"),
        ({"reaches": (RecallReach(0.5, 0.1), *REACHES[1:])}, "farther for a larger share"),
        ({"reaches": (RecallReach(0.5, math.inf), *REACHES[1:])}, "not a finite length"),
        ({"requests": 2}, "too few requests"),
    ],
)
def test_numbers_that_cannot_be_are_named(kit, changes, words):
    assert statement(kit.make_engine()).problem() == ""
    assert words in statement(kit.make_engine(), **changes).problem()


@pytest.mark.parametrize("name", ["model", "oracle"])
def test_a_measurement_of_another_model_or_oracle_is_refused(kit, name):
    engine = kit.make_engine()
    check_recall(None, engine.upstream, engine.oracle)
    check_recall(statement(engine), engine.upstream, engine.oracle)
    measured = {"model": "upstream_revision", "oracle": "oracle_revision"}[name]
    with pytest.raises(ConfigError, match=f"with the {name} 'x'"):
        check_recall(statement(engine, **{measured: "x"}), engine.upstream, engine.oracle)


def test_without_a_recall_nothing_is_said(kit):
    certificate = kit.decide(kit.make_engine(), 1).certificate
    assert certificate.recall is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("requests", 60),
        ("delta", 1.5),
        ("delta", 1e-30),
        ("beta", 0.0),
        ("alpha", 1e-6),
        ("clean_passed", 41),
        ("draws", 0),
        ("upstream_revision", "other"),
        ("oracle_revision", "other"),
        ("reaches", [{"recall": 0.5, "radius": 0.2}, {"recall": 0.9, "radius": 0.3},
                     {"recall": 0.99, "radius": None}]),
        ("reaches", [{"recall": 0.5, "radius": 0.2}]),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_are_found_even_under_a_new_digest(certificate, name, value):
    data = encode_certificate(certificate)
    data["recall"] = {**data["recall"], name: value}
    with pytest.raises(CertificationError, match="does not hold"):
        verify_certificate(seal_certificate(decode_certificate(data)))


@pytest.mark.parametrize(
    "change",
    [
        lambda recall: recall.pop("draws"),
        lambda recall: recall.update(more=1),
        lambda recall: recall.update(requests="300"),
        lambda recall: recall.update(draws="many"),
        lambda recall: recall.update(reaches=[{"recall": 0.5}]),
        lambda recall: recall.update(reaches=[[0.5, 0.1]]),
    ],
)
def test_what_is_no_recall_is_refused(certificate, change):
    data = copy.deepcopy(encode_certificate(certificate))
    change(data["recall"])
    with pytest.raises(CertificationError, match="the field 'recall'"):
        decode_certificate(data)


def sentence(reaches, **changes):
    fields = {"requests": 300, "alpha": 0.001, "delta": 0.01}
    return recall_sentence(reaches, **{**fields, **changes})


def test_the_sentence():
    assert sentence(REACHES, clean_requests=40, clean_passed=39) == (
        "Of requests drawn like the 300 that were measured, at least 0.5 / 0.9 are such that no "
        "change of their pixels within 0.96 / 0.31 (decoded 8-bit pixels in [0, 1]) lets them "
        "pass, except with probability 0.001 a try (confidence 0.99 in this calibration). A "
        "recall of 0.99 was not shown. Of 40 clean requests, 39 passed under the same policy."
    )
    every = tuple(RecallReach(reach.recall, 0.5) for reach in REACHES)
    assert "was not shown" not in sentence(every)
    assert "was not measured" in sentence(every)


def test_where_nothing_is_shown_it_says_so():
    none = tuple(RecallReach(reach.recall, None) for reach in REACHES)
    assert sentence(none).startswith(
        "Of the 300 forbidden requests that were measured, too few were stopped to show a recall "
        "of 0.5 or 0.9 or 0.99 (confidence 0.99)."
    )


def test_it_rounds_radii_and_confidence_down_and_alpha_up():
    reach = (RecallReach(0.5, 0.123499),)
    text = sentence(reach, alpha=0.00100001, delta=0.0123456)
    assert "within 0.1234 " in text
    assert "probability 0.001001 a try" in text
    assert "confidence 0.9876 " in text
