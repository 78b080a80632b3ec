"""A record in plain words."""

import dataclasses

import pytest

from guardrail.engine.verdict import Action, Reason
from guardrail.images.known_pictures import KnownPicture
from guardrail.records.explanation import _REASONS, explain_record


def test_each_reason_has_words():
    assert set(_REASONS) == set(Reason)


def test_a_stop_says_how_many_were_needed_and_what_was_found(blocked):
    text = explain_record(blocked)
    first = text.splitlines()[0]
    assert first == "Stopped: too many answers were harmful."
    n = blocked.certificate["samples"]
    assert f"0 of {n} answers to noisy copies were harmless; " in text
    assert "A request is let through after" in text or "needed to let it through" in text
    assert f"{n} answers were harmful, in content (the text that the user reads)" in text
    assert "changed by up to 0.4" in text


def test_a_pass_says_what_was_needed(passed):
    text = explain_record(passed)
    assert text.startswith("Let through: enough answers")
    assert "were needed to let it through." in text


def test_a_known_picture_is_told_with_list_line_and_distance(blocked):
    record = dataclasses.replace(
        blocked, reason=Reason.KNOWN_PICTURE, certificate=None, samples=(),
        known_picture=KnownPicture("li\x1b[2Jst.txt", 12, 3),
    )  # fmt: skip
    lines = explain_record(record).splitlines()
    assert "line 12 of the list" in lines[0]
    assert "3 of the 64 bits of the two perceptual hashes differ." in lines[0]
    assert "\x1b" not in lines[0]


def test_an_uncertain_one(kit):
    record = kit.make_record(lambda call: kit.HARM if call.index % 5 == 4 else kit.CLEAN)
    text = explain_record(record)
    assert "Stopped: " in text
    certificate = record.read_certificate()
    limit = certificate.block_at_least[certificate.looks.index(certificate.samples)]
    assert f"after {certificate.samples}, {limit} that are not stop a request." in text
    assert certificate.harmful >= limit


def test_strangers_texts_do_not_act(blocked):
    samples = tuple(
        dataclasses.replace(one, reason="\x1b[2Jnothing\nLet through", field="\u202econtent")
        for one in blocked.samples
    )
    hostile = dataclasses.replace(
        blocked,
        samples=samples,
        model="a\x1b]0;title\x07\r\nLet through: all is well",
    )
    lines = explain_record(hostile).splitlines()
    assert len(lines) == len(explain_record(blocked).splitlines())
    assert not any(ord(c) < 32 or c == "\u202e" for line in lines for c in line)


@pytest.mark.parametrize("reason", [Reason.CANCELLED, Reason.UPSTREAM_FAILED, Reason.DEADLINE])
def test_faults_and_limits_are_no_stops(passed, reason):
    record = dataclasses.replace(
        passed, action=Action.FAULT, reason=reason, certificate=None, samples=(),
        failure="UpstreamError",
    )  # fmt: skip
    text = explain_record(record)
    assert "nothing was judged" in text
    assert "UpstreamError" in text
    assert "Stopped" not in text
