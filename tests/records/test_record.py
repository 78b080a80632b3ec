"""Records: what they hold, what they never hold, and that they read back as they were."""

import dataclasses
import json

import pytest

from guardrail.canonical import canonical_json
from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError
from guardrail.images.known_pictures import KnownPicture
from guardrail.records.content import open_content
from guardrail.records.record import Record, seal_record
from guardrail.records.recorder import _kept_answer
from guardrail.types import Answer, Outcome
from guardrail.upstreams.scripted import Fault, Step

RECORD_KEYS = {
    "version", "record_id", "created", "writer", "sequence", "previous", "route", "request_id",
    "principal", "api_key_id", "action", "reason", "would_block", "stopped_by",
    "observation",
    "outside_claim", "models", "unscanned", "unmeasured", "failure", "mode", "policy",
    "policy_digest", "policy_fields", "threshold",
    "upstream", "upstream_revision", "oracle_revision", "key_id", "code_version", "model",
    "pictures", "pictures_left_out", "request_digest", "noise_digest", "attempt", "override",
    "known_picture", "remembered",
    "certificate", "samples", "alpha", "spending_number",
    "answer_chars", "prompt_tokens", "completion_tokens", "calls", "cost_usd", "elapsed_s",
    "overhead_s", "content", "content_digest", "kept_pictures", "signer", "digest", "signature",
    "retry", "retries",
}  # fmt: skip
SAMPLE_KEYS = {
    "index", "outcome", "score", "reason", "field", "answer_chars", "unscanned", "unmeasured",
    "refused", "withheld", "failure", "elapsed_s",
}  # fmt: skip


def test_golden_keys(passed):
    data = json.loads(canonical_json(passed.to_dict()))
    assert set(data) == RECORD_KEYS
    assert all(set(sample) == SAMPLE_KEYS for sample in data["samples"])
    assert canonical_json(data).startswith(b'{"action":')


def test_a_pass_in_numbers(passed, kit):
    assert (passed.action, passed.reason, passed.mode) == ("pass", "certified", Mode.ENFORCE)
    assert passed.certificate["decision"] == "pass"
    assert len(passed.samples) >= passed.certificate["samples"] > 18
    assert {sample.outcome for sample in passed.samples} == {Outcome.HARMLESS}
    assert {sample.score for sample in passed.samples} == {0.0}
    assert {sample.answer_chars for sample in passed.samples} == {len(kit.CLEAN)}
    assert passed.answer_chars == len(kit.CLEAN)
    assert passed.calls == len(passed.samples)
    assert passed.completion_tokens == 5 * passed.calls
    assert 0 <= passed.overhead_s <= passed.elapsed_s
    assert passed.key_id == kit.KEY.key_id


def test_a_known_picture_comes_back_as_it_was(passed):
    for known in (KnownPicture("known.txt", 3, None), KnownPicture("b.txt", 1, 6)):
        record = seal_record(dataclasses.replace(passed, known_picture=known)).record
        assert Record.from_dict(json.loads(canonical_json(record.to_dict()))) == record


def test_nothing_said_is_kept(kit):
    for script in ((kit.CLEAN,), (kit.HARM,), kit.every_other):
        text = canonical_json(kit.make_record(script).to_dict()).decode()
        assert not any(word in text for word in ("secret", "private", "forbidden"))
        assert "temperature" not in text


def test_content_is_kept_where_it_is_asked_for(kit):
    record = kit.make_record(keep_content=True)
    assert kit.CLEAN not in canonical_json(record.to_dict()).decode()  # sealed
    content = open_content(record, kit.CONTENT_KEYS)
    assert content["messages"][0]["content"][-1]["text"] == kit.PROMPT
    assert content["parameters"] == {"temperature": 0.7}
    assert content["answer"]["content"] == kit.CLEAN
    assert content["answers"]["0"] == kit.CLEAN
    assert Record.from_dict(json.loads(canonical_json(record.to_dict()))) == record


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ({"role": "assistant", "content": "a", "tool_calls": []}, "a"),
        ({"role": "assistant", "content": None}, ""),
        ({"content": "a", "reasoning": "b"}, {"content": "a", "reasoning": "b"}),
        ({"content": [{"type": "text", "text": "a"}]}, None),
    ],
)
def test_an_answer_that_is_more_than_a_text_is_kept_whole(message, kept):
    assert _kept_answer(Answer(message)) == (message if kept is None else kept)


def test_faults_are_named_by_their_class_only(kit):
    secret = Step(fault=Fault.STATUS, status=401)
    record = kit.make_record((secret,))
    assert (record.action, record.failure) == (Action.FAULT, "UpstreamError")
    assert record.certificate is None
    assert record.request_digest == record.noise_digest == ""
    record = kit.make_record((Step(fault=Fault.RESET),))
    assert {sample.failure for sample in record.samples} == {"UpstreamError"}
    assert {sample.outcome for sample in record.samples} == {Outcome.MISSING}


def test_chats_without_pictures(kit):
    record = kit.make_record(pictures=0)
    assert (record.action, record.reason) == (Action.PASS, Reason.NO_IMAGE)
    assert record.outside_claim
    assert len(record.request_digest) == 64
    assert record.noise_digest == ""
    assert len(record.samples) == 1


def test_observed_blocks_are_marked(kit):
    record = kit.make_record((kit.HARM,), mode="observe")
    assert (record.action, record.reason, record.would_block) == ("pass", "harmful", True)
    assert record.mode is Mode.OBSERVE


@pytest.mark.parametrize("pictures", [0, 1, 2])
def test_reads_back_equal(kit, pictures):
    record = kit.make_record(pictures=pictures).seal()
    again = Record.from_dict(json.loads(canonical_json(record.to_dict())))
    assert again == record
    assert again.compute_digest() == record.digest


def test_long_names_are_cut(kit):
    engine = kit.make_engine()
    verdict, chat = kit.decide(engine)
    from guardrail.records.recorder import build_record

    long = dataclasses.replace(chat, model="m" * 1000)
    assert build_record(verdict, long, engine).model == "m" * 200


@pytest.mark.parametrize("name", sorted(RECORD_KEYS))
def test_a_missing_field_is_named(passed, name):
    data = passed.to_dict()
    del data[name]
    with pytest.raises(CertificationError, match=f"field '{name}' is missing"):
        Record.from_dict(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [("action", "passed"), ("calls", True), ("calls", 1.0),
     ("elapsed_s", float("inf")), ("would_block", 0), ("samples", {}), ("samples", [1]),
     ("unscanned", [1]), ("unmeasured", None), ("certificate", []), ("sequence", "1"),
     ("model", None), ("answer_chars", "3"), ("version", None)],
)  # fmt: skip
def test_a_wrong_value_is_named(passed, name, value):
    with pytest.raises(CertificationError, match=f"'{name}' has a wrong|not an object"):
        Record.from_dict({**passed.to_dict(), name: value})


def test_unknown_fields_are_refused(passed):
    with pytest.raises(CertificationError, match="unknown field 'extra'"):
        Record.from_dict({**passed.to_dict(), "extra": 1})
    with pytest.raises(
        CertificationError, match="of version 1, and this guardrail reads version 2"
    ):
        Record.from_dict({**passed.to_dict(), "version": 1})
    sample = {**passed.to_dict()["samples"][0], "text": "x"}
    with pytest.raises(CertificationError, match="unknown field 'text'"):
        Record.from_dict({**passed.to_dict(), "samples": [sample]})
    with pytest.raises(CertificationError, match="not an object"):
        Record.from_dict([])


def test_records_of_several_policies_are_sealed_in_turns(passed):
    policies = [{"mode": "enforce"}, {"mode": "observe"}, {}]
    records = [dataclasses.replace(passed, policy_fields=fields) for fields in policies * 2]
    for record in records:
        sealed = seal_record(record)
        assert sealed.record.digest == record.compute_digest()
        assert json.loads(sealed.to_json())["policy_fields"] == record.policy_fields
