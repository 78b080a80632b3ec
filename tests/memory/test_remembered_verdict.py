"""Verdicts written down and read again: what is kept, and what is not."""

import dataclasses
import json

import pytest

from guardrail.engine.certificate.codec import encode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.rules import AnswerSource, OnOracleFailure, OnUnscanned
from guardrail.engine.stopped_by import StoppedBy
from guardrail.engine.verdict import Action, Reason, Verdict
from guardrail.memory.remembered_verdict import RememberedVerdict, as_delivered_again
from guardrail.stats import Decision
from guardrail.types import Answer, Usage
from guardrail.upstreams.scripted import Fault, Step


def decide(kit, script=("A cat.",), **rules):
    chat, pictures = kit.request(pictures=rules.pop("pictures", 1))
    return kit.run(kit.make_engine(script, **rules).decide(chat, pictures))


TOOL_CALL = {
    "content": None,
    "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    ],
}
JUDGEMENTS = {
    "a pass": ({}, Action.PASS),
    "a call of a tool": ({"script": [Step(message=TOOL_CALL)]}, Action.PASS),
    "two pictures": ({"pictures": 2}, Action.PASS),
    "an answer outside the claim": ({"answer": AnswerSource.CLEAN}, Action.PASS),
    "parts that nothing judged": (
        {
            "script": [Step(message={"content": "A cat.", "audio": {"data": "AA"}})],
            "on_unscanned": OnUnscanned.PASS_UNSCANNED,
        },
        Action.PASS,
    ),
    "harm": ({"script": ["a forbidden word"]}, Action.BLOCK),
    "a little harm": ({"script": [*["A cat."] * 8, "a forbidden word"]}, Action.BLOCK),
    "nothing that can be read": (
        {"script": [Step(message={"content": "A cat.", "audio": {"data": "AA"}})]},
        Action.BLOCK,
    ),
}


@pytest.mark.parametrize("name", JUDGEMENTS)
def test_judgements_are_kept_to_the_last_field(kit, name):
    options, action = JUDGEMENTS[name]
    verdict = decide(kit, **options)
    assert verdict.action is action
    known = RememberedVerdict.from_verdict(verdict)
    again = RememberedVerdict.decode(known.encode())
    assert again == known
    kept = again.verdict
    for field in (
        "action",
        "reason",
        "stopped_by",
        "answer",
        "unscanned",
        "unmeasured",
        "attempt",
        "alpha",
    ):
        assert getattr(kept, field) == getattr(verdict, field), field
    assert kept.certificate.attempt == verdict.attempt
    verify_certificate(kept.certificate)
    assert kept.stopped_by is kept.certificate.stopped_by
    assert (kept.stopped_by is StoppedBy.REQUEST) is (action is Action.BLOCK)


def test_what_is_given_again_drew_nothing_and_says_so(kit):
    verdict = decide(kit)
    again = as_delivered_again(verdict)
    assert again.remembered
    assert again.outside_claim
    assert again.certificate.outside_claim
    assert "outside this claim" in again.certificate.statement
    assert (again.usage, again.cost_usd, again.samples) == (Usage(), 0.0, ())
    assert again.spending_number is None
    verify_certificate(again.certificate)
    assert as_delivered_again(again) == again
    ours, theirs = encode_certificate(again.certificate), encode_certificate(verdict.certificate)
    changed = {name for name in ours if ours[name] != theirs[name]}
    assert changed == {"outside_claim", "statement", "digest"}


def test_the_proof_of_a_block_stays_as_it_was(kit):
    verdict = decide(kit, ["a forbidden word"])
    again = as_delivered_again(verdict)
    assert again.certificate == verdict.certificate
    assert not again.outside_claim


NO_JUDGEMENTS = {
    "the model is down": {"script": [Step(fault=Fault.STATUS, status=503)]},
    "it breaks off": {"script": [Step(fault=Fault.RESET)]},
    "too late": {"script": [Step(fault=Fault.HANG)], "deadline_s": 0.1},
    "too many calls": {"max_calls": 3},
    "no picture": {"pictures": 0},
    "no picture, harm": {"pictures": 0, "script": ["a forbidden word"]},
}


@pytest.mark.parametrize("name", NO_JUDGEMENTS)
def test_faults_and_limits_are_not_kept(kit, name):
    assert RememberedVerdict.from_verdict(decide(kit, **NO_JUDGEMENTS[name])) is None


def test_an_answer_that_passed_unjudged_is_not_kept(kit):
    class Down(kit.Words):
        async def judge(self, _):
            raise RuntimeError("down")

    verdict = decide(kit, oracle=Down(), on_oracle_failure=OnOracleFailure.PASS_UNSCANNED)
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.ORACLE_FAILED)
    assert RememberedVerdict.from_verdict(verdict) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"action": Action.BLOCK},
        {"would_block": True},
        {"failure": ValueError()},
        {"certificate": None},
        {"alpha": None},
        {"reason": Reason.ORACLE_FAILED},
    ],
    ids=str,
)
def test_what_contradicts_itself_is_not_kept(kit, changes):
    assert RememberedVerdict.from_verdict(dataclasses.replace(decide(kit), **changes)) is None


def test_a_block_without_a_test_is_kept():
    verdict = Verdict(action=Action.BLOCK, reason=Reason.NO_REFERENCE, alpha=0.01, attempt="ab")
    known = RememberedVerdict.from_verdict(verdict)
    assert RememberedVerdict.decode(known.encode()) == known
    assert known.verdict.certificate is None


@pytest.mark.parametrize("odd", [object(), float("nan"), {1, 2}], ids=["object", "nan", "set"])
def test_an_answer_that_is_no_json_is_not_kept(kit, odd):
    answer = Answer({"content": "A cat.", "odd": odd})
    verdict = dataclasses.replace(decide(kit), answer=answer)
    assert RememberedVerdict.from_verdict(verdict).encode() is None


def test_nothing_else_is_read(kit):
    data = RememberedVerdict.from_verdict(decide(kit)).encode()
    value = json.loads(data)
    assert value["certificate"]["decision"] == Decision.PASS.value
    for name in value:
        less = {key: item for key, item in value.items() if key != name}
        assert RememberedVerdict.decode(json.dumps(less).encode()) is None, name
    for name, other in [
        ("version", 0), ("action", "let pass"), ("certificate", {}), ("answer", {"a": 1}),
        ("answer", 3), ("unscanned", 3),
    ]:  # fmt: skip
        assert RememberedVerdict.decode(json.dumps({**value, name: other}).encode()) is None, name
    for broken in (b"", b"{", b"[]", b"3", data[:-1], b"\xff"):
        assert RememberedVerdict.decode(broken) is None
