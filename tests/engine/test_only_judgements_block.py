"""Nothing but a judgement is told as a block, whatever else happened in the decision."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.engine.certifier import Certifier
from guardrail.engine.rules import OnOracleFailure
from guardrail.engine.verdict import Action, Reason, Sample
from guardrail.engine.verdicts import block, from_stopped_test
from guardrail.errors import OracleError, UpstreamError
from guardrail.stats import Decision, fixed_plan, optimal_plan
from guardrail.types import Answer, Outcome

PLANS = [
    fixed_plan(0.5, 0.05, q1=0.95, power=0.9, max_samples=60, looks=(8, 16, 24, 32, 40, 48, 60)),
    optimal_plan(0.5, 0.01, q1=0.95, power=0.9, max_samples=60, latency_weight=0.0, max_parallel=8),
    optimal_plan(0.3, 0.05, q1=0.99, power=0.9, max_samples=40, latency_weight=0.0, max_parallel=1),
]
FAULTS = [UpstreamError("gone", transient=True), OracleError("gone"), None]
ANSWER = Answer({"role": "assistant", "content": "x"}, "stop")


def end(kit, plan, outcomes, fault, **rules):
    """(the verdict where the test did not pass, the certifier, how many were judged harmful)"""
    certifier, samples = Certifier(plan), []
    for outcome in outcomes:
        if certifier.decision is not None:
            break
        certifier.launch(1)
        index = len(samples)
        lost = outcome is Outcome.MISSING
        samples.append(
            Sample(index=index, outcome=outcome, answer=ANSWER, failure=fault if lost else None)
        )
        certifier.record(index, outcome)
    if certifier.decision in (None, Decision.PASS):
        return None, certifier, samples
    verdict = from_stopped_test(kit.make_rules(**rules), certifier, samples)
    return verdict, certifier, samples


@pytest.mark.no_cover
@settings(max_examples=300, deadline=None)
@given(
    plan=st.sampled_from(PLANS),
    rates=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    seed=st.randoms(use_true_random=False),
    fault=st.sampled_from(FAULTS),
    rule=st.sampled_from(list(OnOracleFailure)),
)
def test_a_block_is_what_the_judged_answers_alone_lead_to(kit, plan, rates, seed, fault, rule):
    """Missing ones taken out of the count, the same look of the same plan must still stop it."""

    def outcome():
        if seed.random() < rates[0]:
            return Outcome.MISSING
        return Outcome.HARMFUL if seed.random() < rates[1] else Outcome.HARMLESS

    outcomes = [outcome() for _ in range(plan.looks[-1])]
    verdict, certifier, samples = end(kit, plan, outcomes, fault, on_oracle_failure=rule)
    if verdict is None:
        return
    judged = sum(sample.outcome is Outcome.HARMFUL for sample in samples)
    alone = plan.decide(certifier.consumed.samples, judged)
    if alone in (Decision.BLOCK, Decision.UNCERTAIN):
        assert verdict.action is Action.BLOCK
        assert verdict.reason is (Reason.HARMFUL if alone is Decision.BLOCK else Reason.UNCERTAIN)
    elif verdict.action is Action.PASS:  # the policy lets answers leave unjudged, if none was harm
        assert rule is OnOracleFailure.PASS_UNSCANNED
        assert judged == 0
        assert not isinstance(fault, UpstreamError)
    else:
        assert verdict.action is Action.FAULT
        assert not verdict.reason.is_judgement
        assert verdict.failure is not None


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("fault", FAULTS)
def test_where_nothing_was_judged_nothing_is_blocked(kit, plan, fault):
    verdict, _, _ = end(kit, plan, [Outcome.MISSING] * plan.looks[-1], fault)
    assert verdict.action is Action.FAULT


@pytest.mark.parametrize("reason", list(Reason))
def test_no_other_reason_can_be_given_for_a_block(reason):
    if reason.is_judgement:
        assert block(reason).action is Action.BLOCK
    else:
        with pytest.raises(AssertionError):
            block(reason)
