"""What lost answers cost, against the plain binomial and against chance."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats import (
    FAULT_SHARES,
    Decision,
    fixed_plan,
    optimal_plan,
    pass_rates_under_faults,
)

UNANIMOUS = fixed_plan(0.6915, 0.001, q1=0.99, power=0.8, max_samples=100)
TOLERANT = optimal_plan(0.6915, 0.001, q1=0.97, power=0.99, max_samples=200, max_parallel=32)


def test_the_shares_that_are_shown():
    assert FAULT_SHARES == (0.0, 0.01, 0.02, 0.05)
    assert [f.fault_share for f in pass_rates_under_faults(TOLERANT, 0.99)] == [0, 0.01, 0.02, 0.05]


def test_without_faults_it_is_the_plans_own_power():
    (forecast,) = pass_rates_under_faults(TOLERANT, 0.99, (0.0,))
    assert forecast.pass_rate == TOLERANT.power_at(0.99)
    assert forecast.expected_calls == TOLERANT.expected_calls_at(0.99)


def test_unanimous_answers_must_all_arrive():
    n = UNANIMOUS.max_samples
    assert UNANIMOUS.pass_at_most[-1] == 0
    for forecast in pass_rates_under_faults(UNANIMOUS, 0.99, (0.0, 0.03, 0.2)):
        arrived = (0.99 * (1 - forecast.fault_share)) ** n
        assert forecast.pass_rate == pytest.approx(arrived, rel=1e-12)


@pytest.mark.no_cover
@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.floats(0, 1))
def test_more_faults_never_help(shares, rate):
    rates = [f.pass_rate for f in pass_rates_under_faults(TOLERANT, rate, sorted(shares))]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(rates))


def test_all_lost_never_passes():
    (forecast,) = pass_rates_under_faults(TOLERANT, 0.99, (1.0,))
    assert forecast.pass_rate == 0.0


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "share",
    [*(pytest.param(share, marks=pytest.mark.nightly) for share in (0.0, 0.01, 0.02)), 0.05],
)
@pytest.mark.parametrize("plan", [UNANIMOUS, TOLERANT], ids=["unanimous", "tolerant"])
def test_simulated_decisions_pass_as_often_within_their_binomial_error(plan, share):
    (forecast,) = pass_rates_under_faults(plan, 0.99, (share,))
    random = np.random.default_rng(7)
    runs = 4000
    harmful = random.random((runs, plan.max_samples)) >= 0.99
    lost = random.random((runs, plan.max_samples)) < share
    seen = np.cumsum(harmful | lost, axis=1)
    verdicts = [_decide(plan, row) for row in seen]
    passed = sum(verdict is Decision.PASS for verdict, _ in verdicts) / runs
    error = math.sqrt(forecast.pass_rate * (1 - forecast.pass_rate) / runs) + 1 / runs
    assert abs(passed - forecast.pass_rate) < 4 * error
    calls = np.array([n for _, n in verdicts])
    assert abs(calls.mean() - forecast.expected_calls) < 4 * calls.std() / math.sqrt(runs) + 1e-9


def _decide(plan, harmful):
    for n in plan.looks:
        verdict = plan.decide(n, int(harmful[n - 1]))
        if verdict is not None:
            return verdict, n
    raise AssertionError("a plan decides at its last look")


@pytest.mark.parametrize(("rate", "shares"), [(1.1, (0.0,)), (0.9, (-0.1,)), (0.9, (1.5,))])
def test_what_is_no_share_is_refused(rate, shares):
    with pytest.raises(CertificationError):
        pass_rates_under_faults(TOLERANT, rate, shares)
