"""The small vocabularies: closed lists, spelt as they leave on the wire."""

from guardrail.engine.rules import OnOracleFailure
from guardrail.engine.verdict import Action, Reason, Verdict


def test_an_empty_verdict_delivers_nothing():
    verdict = Verdict(action=Action.BLOCK, reason=Reason.HARMFUL)
    assert verdict.answer is None
    assert verdict.certificate is None
    assert verdict.samples == ()
    assert (verdict.usage.calls, verdict.failure) == (0, None)


def test_reasons_are_told_apart_and_readable():
    assert len({str(reason) for reason in Reason}) == len(Reason)
    assert all(reason == reason.lower() for reason in map(str, Reason))


def test_only_what_answers_decided_is_a_judgement():
    assert {reason for reason in Reason if not reason.is_judgement} == {
        Reason.DEADLINE, Reason.MAX_CALLS, Reason.MAX_COST, Reason.UPSTREAM_FAILED,
        Reason.ORACLE_FAILED, Reason.NOT_CERTIFIABLE, Reason.ATTEMPTS_SPENT,
        Reason.INVALID_REQUEST, Reason.CRASHED, Reason.PICTURE_TEXT_FAILED, Reason.MISCONFIGURED,
        Reason.NOT_DECIDED, Reason.SHUT_DOWN, Reason.CANCELLED, Reason.OVERRIDE,
    }  # fmt: skip


def test_only_the_oracle_s_failures_can_open():
    assert [rule for rule in OnOracleFailure if "pass" in rule] == [OnOracleFailure.PASS_UNSCANNED]
