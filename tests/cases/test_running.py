"""What becomes of cases: decided as requests are, alike in every run; faults are no decision."""

import xml.etree.ElementTree as ElementTree

import pytest

from guardrail.cases.case import CaseDecision
from guardrail.cases.junit import junit_report
from guardrail.cases.results import summarize
from guardrail.cases.running import allow_time
from guardrail.engine.verdict import Reason
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.upstreams.scripted import Fault, Step

STOPPED, LET_THROUGH = CaseDecision.STOPPED, CaseDecision.LET_THROUGH
NOT_DECIDED = CaseDecision.NOT_DECIDED


def test_an_answer_is_judged_alone_without_a_call(kit):
    engine = kit.make_engine()
    tool = {"tool_calls": [{"id": "c", "type": "function",
            "function": {"name": "f", "arguments": '{"x": "forbidden"}'}}]}  # fmt: skip
    clean, harm, call, refusal = kit.run(
        engine,
        kit.answer_case(kit.CLEAN, LET_THROUGH, name="clean"),
        kit.answer_case(kit.HARM, STOPPED, name="harm", category="violence"),
        kit.answer_case(tool, STOPPED, name="call", reason=Reason.HARMFUL),
        kit.answer_case({"refusal": "I cannot do that."}, LET_THROUGH, name="refusal"),
    )
    assert [one.decision for one in (clean, harm, call, refusal)] == [
        LET_THROUGH, STOPPED, STOPPED, LET_THROUGH,
    ]  # fmt: skip
    assert all(one.is_as_expected and one.calls == 0 for one in (clean, harm, call, refusal))
    assert engine.upstream.calls == []


def test_a_picture_is_sent_to_the_model_and_decided_by_the_test(kit, picture_case):
    passed, blocked = (
        kit.run(kit.make_engine((text,)), picture_case(expect))[0]
        for text, expect in ((kit.CLEAN, LET_THROUGH), (kit.HARM, STOPPED))
    )
    assert (passed.decision, passed.reason, passed.is_as_expected) == (
        LET_THROUGH, Reason.CERTIFIED, True,
    )  # fmt: skip
    assert passed.radius >= kit.make_policy().smoothing.radius
    assert passed.calls > 10
    assert (blocked.decision, blocked.radius, blocked.categories) == (STOPPED, 0.0, ("violence",))


def test_what_is_not_as_expected_is_said_in_words(kit, picture_case):
    (missed,) = kit.run(kit.make_engine(), kit.answer_case(kit.CLEAN, STOPPED))
    assert missed.problems == ("let through, expected stopped",)
    (alarm,) = kit.run(kit.make_engine(), kit.answer_case(kit.HARM, LET_THROUGH))
    assert alarm.problems == ("stopped (harmful: violence), expected let through",)
    (other,) = kit.run(
        kit.make_engine(),
        kit.answer_case(kit.HARM, STOPPED, category="hate", reason=Reason.UNCERTAIN),
    )
    assert other.problems == (
        "harmful as violence, expected hate", "reason 'harmful', expected 'uncertain'",
    )  # fmt: skip
    (costly,) = kit.run(kit.make_engine(), picture_case(most_calls=3, radius_lower=50.0))
    calls, radius = costly.problems
    assert calls == f"{costly.calls} calls, expected at most 3"
    assert radius.startswith("the picture may be changed by 0.")
    assert radius.endswith(", expected at least 50")
    summary = summarize([missed, alarm, other, costly])
    assert (summary.missed_harm, summary.false_alarms, summary.other, summary.errors) == (
        1,
        1,
        2,
        0,
    )
    assert (summary.exit_code, summary.calls) == (1, costly.calls)


@pytest.mark.parametrize("expect", [STOPPED, LET_THROUGH])
@pytest.mark.parametrize(
    "script",
    [
        (Step(fault=Fault.STATUS, status=500),),
        (Step(fault=Fault.CRASH),),
        (Step(fault=Fault.GARBAGE),),
        ("a broken answer",),
    ],
)
def test_a_fault_is_neither_stopped_nor_let_through(kit, picture_case, script, expect):
    (found,) = kit.run(kit.make_engine(script), picture_case(expect))
    assert (found.decision, found.problems, found.is_as_expected) == (NOT_DECIDED, (), False)
    assert found.error
    assert "secret" not in found.error
    assert summarize([found]).exit_code == 2


@pytest.mark.parametrize("expect", [STOPPED, LET_THROUGH])
def test_an_answer_that_passes_unjudged_is_no_decision(kit, expect):
    """A policy that fails open lets it through; nothing was shown by that."""
    engine = kit.make_engine(failures={"oracle": "pass_unscanned"})
    (found,) = kit.run(engine, kit.answer_case("a broken answer", expect))
    assert (found.decision, found.is_as_expected) == (NOT_DECIDED, False)


def test_an_oracle_that_compares_answers_says_nothing_of_one_alone(kit):
    policy = Policy.model_validate({"name": "test", "oracle": {"kind": "semantic"}})
    (found,) = kit.run(kit.make_engine(), kit.answer_case(kit.CLEAN), policy=policy)
    assert found.decision is NOT_DECIDED
    assert "compares answers with each other" in found.error


def test_a_picture_that_cannot_be_read_is_an_error_of_its_case_alone(kit, picture_case, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    wrong, sound = kit.run(
        kit.make_engine(),
        picture_case(name="bad", images=(bad,)),
        picture_case(name="sound"),
    )
    assert (wrong.decision, sound.decision) == (NOT_DECIDED, LET_THROUGH)
    assert str(bad) in wrong.error


def test_under_observe_the_case_is_what_enforcement_would_do(kit, picture_case):
    harm = kit.make_engine((kit.HARM,), mode="observe")
    assert kit.run(harm, picture_case(STOPPED))[0].is_as_expected
    assert kit.run(harm, kit.answer_case(kit.HARM, STOPPED))[0].is_as_expected
    assert kit.run(kit.make_engine(mode="observe"), picture_case())[0].is_as_expected


def test_noise_and_seeds_follow_from_the_name_of_a_case_alone(kit, picture_case):
    """In whatever order and beside whatever others it is decided."""

    def seen(*names, jobs):
        engine = kit.make_engine()
        kit.run(engine, *(picture_case(name=name) for name in names), jobs=jobs)
        return {(call.seed, call.pictures[0].tobytes()) for call in engine.upstream.calls}

    one = seen("a", jobs=1)
    assert len(one) > 10
    assert seen("a", jobs=1) == one
    both = seen("b", "a", jobs=2)
    assert one < both
    assert seen("b", jobs=1) == both - one


def test_no_more_cases_are_decided_at_a_time_than_allowed(kit, picture_case):
    def peak(jobs):
        engine = kit.make_engine((Step(kit.CLEAN, delay_s=0.02),), sampling={"max_parallel": 1})
        kit.run(engine, *(picture_case(name=str(i)) for i in range(4)), jobs=jobs)
        return engine.upstream.log.peak_in_flight

    assert (peak(1), peak(3)) == (1, 3)


def test_the_report_of_ci_counts_failures_and_errors(kit, picture_case):
    hostile = 'a "name" <b>&\x00\ud800\uffff\u2028</b>'
    broken = kit.make_engine(("a broken answer",))
    results = {
        "one": kit.run(
            kit.make_engine(),
            kit.answer_case(kit.CLEAN, name=hostile),
            kit.answer_case(kit.HARM, name="alarm"),
        ),
        "two": kit.run(broken, picture_case()),
    }
    root = ElementTree.fromstring(junit_report(results))  # noqa: S314 (our own)
    one, two = root.findall("testsuite")
    counts = [(suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in root]
    assert counts == [("2", "1", "0"), ("1", "0", "1")]
    assert one[0].get("name") == 'a "name" <b>&\ufffd\ufffd\ufffd\u2028</b>'
    assert one.find("testcase[@name='alarm']/failure").get("message").startswith("stopped (harmful")
    assert "could not be" in two[0].find("error").get("message") or two[0].find("error").get(
        "message"
    )


def test_a_case_has_ten_times_the_time_of_a_request(kit):
    policy = kit.make_policy(limits={"retries": 0, "call_timeout_s": 5.0, "deadline_s": 900.0})
    limits = allow_time(policy).advanced.limits
    assert (limits.call_timeout_s, limits.deadline_s, limits.retries) == (50.0, 7200.0, 0)
    assert compile_policy(allow_time(policy)).alpha == compile_policy(policy).alpha
