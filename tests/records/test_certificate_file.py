"""Certificates from files: every accepted form, and that whatever does not hold is named."""

import asyncio
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from guardrail.engine.certificate.codec import encode_certificate, seal_certificate
from guardrail.engine.engine import Engine
from guardrail.engine.verdict import HarmfulAnswers
from guardrail.errors import CertificationError
from guardrail.images.codec import Picture
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.records.certificate_file import read_certificates, verify_file
from guardrail.records.journal import FileJournal
from guardrail.types import Chat, Outcome, image_placeholder
from guardrail.upstreams.scripted import Scripted


class Words:
    revision = "words"

    async def judge(self, exchanges):
        harmful = [
            Outcome.HARMFUL if "forbidden" in e.response else Outcome.HARMLESS for e in exchanges
        ]
        return [Judgement(outcome, 0.5) for outcome in harmful]

    async def aclose(self):
        pass


def certificate_for(text):
    policy = Policy.model_validate(
        {"name": "test", "smoothing": {"alpha": 0.05}, "oracle": {"miss_rate_upper": 0.01}}
    )
    engine = Engine(compile_policy(policy), Scripted([text]), Words(), NoiseKey(bytes(32)))
    part = {"type": "image_url", "image_url": {"url": image_placeholder(0)}}
    pixels = np.zeros((4, 6, 3), np.uint8)
    chat = Chat("model", ({"role": "user", "content": [part]},), {}, 1)
    verdict = asyncio.run(engine.decide(chat, [Picture(pixels, "image/png", 6, 4, 1)]))
    return verdict.certificate


@pytest.fixture(scope="module")
def passed():
    return certificate_for("A cat.")


@pytest.fixture(scope="module")
def blocked():
    return certificate_for("a forbidden word")


@pytest.fixture
def write(tmp_path):
    def write(content, name="file.json"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def response(certificate):
    """A response body of the proxy, as far as it matters here."""
    return {
        "id": "chatcmpl-1",
        "choices": [{"message": {"role": "assistant", "content": "A cat."}}],
        "guardrail": {"decision": "pass", "certificate": encode_certificate(certificate)},
    }


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "form", [lambda c: encode_certificate(c), response], ids=["bare", "response"]
)
def test_one_certificate(write, passed, form, indent):
    assert verify_file(write(json.dumps(form(passed), indent=indent))) == [passed]


def test_a_path_may_be_a_text(write, passed):
    assert verify_file(str(write(json.dumps(encode_certificate(passed))))) == [passed]


def test_lines_of_both_forms(write, passed, blocked):
    values = [
        encode_certificate(passed),
        response(blocked),
        {"certificate": encode_certificate(passed)},
    ]
    text = "\n\n".join(json.dumps(value) for value in values) + "\n"
    assert verify_file(write(text)) == [passed, blocked, passed]


def test_windows_files(write, passed):
    text = "\r\n".join([json.dumps(encode_certificate(passed))] * 2)
    assert verify_file(write(text.encode("utf-8-sig"))) == [passed, passed]


def tampered(certificate, **fields):
    return json.dumps({**encode_certificate(certificate), **fields})


def test_what_does_not_hold_is_named(write, passed):
    path = write(tampered(passed, sigma=1.0))
    with pytest.raises(CertificationError) as raised:
        verify_file(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "digest" in str(raised.value)


def test_the_line_is_named(write, passed, blocked):
    good, bad = json.dumps(encode_certificate(passed)), tampered(blocked, radius=0.25)
    path = write(f"{good}\n\n{bad}\n{good}")
    with pytest.raises(CertificationError) as raised:
        verify_file(path)
    assert str(raised.value).startswith(f"{path}:3: ")


def test_a_changed_statement_is_found(write, passed):
    with pytest.raises(CertificationError, match="derived field"):
        verify_file(write(tampered(passed, statement="Everything is safe.")))


def test_a_forged_number_is_found_under_its_own_digest(write, passed):
    forged = seal_certificate(dataclasses.replace(passed, radius=0.3, promised_radius=0.3))
    with pytest.raises(CertificationError, match="promised radius needs"):
        verify_file(write(json.dumps(encode_certificate(forged))))


@pytest.mark.parametrize(
    "value",
    [
        {"error": {"message": "no"}, "guardrail": {"certificate": None}},
        {"guardrail": None},
        {"certificate": 7},
        [],
        7,
        None,
        "text",
    ],
    ids=str,
)
def test_without_a_certificate(write, value):
    with pytest.raises(CertificationError, match="holds no certificate"):
        verify_file(write(json.dumps(value)))


def test_decisions_without_a_certificate_are_skipped_and_counted(write, passed, blocked):
    text = {"guardrail": {"decision": "pass", "certificate": None}}
    values = [text, response(passed), {"certificate": None}, encode_certificate(blocked), text]
    found = read_certificates(write("\n".join(map(json.dumps, values))))
    assert found.certificates == (passed, blocked)
    assert found.skipped == 3


def test_a_file_of_records_is_read_past_texts_and_failures(tmp_path, kit):
    path = tmp_path / "records.jsonl"
    journal = FileJournal(path)
    for record in (kit.make_record(pictures=0), kit.make_record(), kit.make_record((kit.HARM,))):
        journal.append(record)
    journal.close()
    found = read_certificates(path)
    assert [certificate.decision for certificate in found.certificates] == ["pass", "block"]
    assert found.skipped == 1
    with pytest.raises(CertificationError, match=r"records\.jsonl:1: it holds no certificate"):
        verify_file(path)


def test_one_decision_is_found_by_its_record(tmp_path, kit):
    path = tmp_path / "records.jsonl"
    journal = FileJournal(path)
    ids = [journal.append(r).record_id for r in (kit.make_record(pictures=0), kit.make_record())]
    journal.close()
    found = read_certificates(path, record_id=ids[1])
    assert (len(found.certificates), found.skipped) == (1, 0)
    with pytest.raises(CertificationError, match=r"records\.jsonl:1: this decision has no cert"):
        read_certificates(path, record_id=ids[0])
    with pytest.raises(CertificationError, match=r"no decision with the id 'none'"):
        read_certificates(path, record_id="none")


def test_one_response_of_several_is_found_by_its_record(write, passed, blocked):
    values = [response(passed), response(blocked)]
    for number, value in enumerate(values):
        value["guardrail"]["record_id"] = f"r{number}"
    path = write("\n".join(map(json.dumps, values)))
    assert read_certificates(path, record_id="r1").certificates == (blocked,)


def test_skipping_excuses_nothing_that_does_not_hold(write, passed):
    text = json.dumps({"guardrail": {"certificate": None}})
    path = write(f"{text}\n{tampered(passed, sigma=1.0)}")
    with pytest.raises(CertificationError, match=r":2: .*digest"):
        read_certificates(path)


@pytest.mark.parametrize("value", [[], 7, None, {"guardrail": None}, {"certificate": 7}, {}])
def test_what_is_no_decision_is_not_skipped(write, passed, value):
    path = write(f"{json.dumps(encode_certificate(passed))}\n{json.dumps(value)}")
    with pytest.raises(CertificationError, match=":2: "):
        read_certificates(path)


def test_a_file_without_any_certificate_is_no_result(write):
    text = json.dumps({"guardrail": {"certificate": None}})
    with pytest.raises(CertificationError, match="2 decisions, and none with a certificate"):
        read_certificates(write(f"{text}\n{text}"))


def test_of_another_kind(write):
    with pytest.raises(CertificationError, match="unknown field"):
        verify_file(write('{"choices": []}'))


BROKEN = {
    "empty": ("", "empty, which proves nothing"),
    "white": (" \n\n", "empty, which proves nothing"),
    "text": ("hello", "not valid JSON"),
    "half": ('{"decision": "pass"', "not valid JSON"),
    "lines of other things": ('{"a": 1}\n{"b": ', ":1: not a certificate"),
    "lines that are no JSON": ("a\nb", ":1: this line is not valid JSON"),
    "a key twice": ('{"a": 1, "a": 2}', "not valid JSON"),
    "not a number": ('{"a": NaN}', "not valid JSON"),
    "bytes": (b"\xff\xfe", "not UTF-8"),
    "depth": ("[" * 100_000, "not valid JSON"),
}


@pytest.mark.parametrize(("content", "words"), BROKEN.values(), ids=BROKEN)
def test_files_that_cannot_be_read(write, content, words):
    path = write(content)
    with pytest.raises(CertificationError, match=words) as raised:
        verify_file(path)
    assert str(path) in str(raised.value)


def test_a_certificate_on_a_good_line_does_not_excuse_a_bad_one(write, passed):
    path = write(json.dumps(encode_certificate(passed)) + '\n{"b": ')
    with pytest.raises(CertificationError, match=":2: "):
        verify_file(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CertificationError, match="check the path"):
        verify_file(tmp_path / "none.json")


def test_a_file_that_is_too_large(write, monkeypatch, passed):
    monkeypatch.setattr("guardrail.records.certificate_file._LARGEST_BYTES", 100)
    with pytest.raises(CertificationError, match="more than 100 bytes"):
        verify_file(write(json.dumps(encode_certificate(passed))))


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_as_such(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    with pytest.raises(CertificationError, match=r"any\.json"):
        verify_file(path)


def read(data):
    """What JSON says; None where it is none."""
    try:
        return json.loads(data)
    except ValueError:
        return None


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(place=0.05, bit=0)
def test_any_flipped_bit_is_found(tmp_path_factory, passed, place, bit):
    data = bytearray(json.dumps(encode_certificate(passed)).encode())
    data[int(place * len(data))] ^= 1 << bit
    assume(
        read(data) != encode_certificate(passed)
    )  # the last digit of a number may mean the same number
    path = tmp_path_factory.getbasetemp() / "flipped.json"
    path.write_bytes(bytes(data))
    with pytest.raises(CertificationError, match=r"flipped\.json"):
        verify_file(path)


def sample_row(outcome, reason="words: threat", field="reasoning"):
    return {"outcome": outcome, "reason": reason, "field": field}


def test_harmful_answers_of_a_record_are_counted_by_category_and_field(write, blocked):
    rows = [sample_row("harmful")] * 2 + [sample_row("harmless"), sample_row("harmful", "", "")]
    beyond = [sample_row("harmless")] * blocked.samples + [sample_row("harmful")]
    values = [
        {"certificate": encode_certificate(blocked), "samples": rows},
        {"certificate": encode_certificate(blocked), "samples": beyond},
        encode_certificate(blocked),
    ]
    found = read_certificates(write("\n".join(map(json.dumps, values))))
    threat, other = HarmfulAnswers("words: threat", "reasoning", 2), HarmfulAnswers("", "", 1)
    assert found.harmful == ((threat, other)[: min(2, blocked.samples - 1)], (), ())


def test_harmful_answers_of_a_response_are_as_it_counts_them(write, blocked):
    value = response(blocked)
    counted = HarmfulAnswers("words: threat", "content", 3)
    value["guardrail"]["harmful_answers"] = [dataclasses.asdict(counted)]
    assert read_certificates(write(json.dumps(value))).harmful == ((counted,),)
    value["guardrail"]["harmful_answers"] = [{"category": "words: threat", "field": "content"}]
    assert read_certificates(write(json.dumps(value))).harmful == ((),)
