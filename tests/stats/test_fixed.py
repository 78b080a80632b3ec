"""The fixed-n test: smallest size, curtailment that changes nothing but the cost."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from guardrail.errors import CertificationError
from guardrail.stats.binomial import harmless_rate_lower
from guardrail.stats.fixed import curtail, fixed_plan, most_harmful, smallest_fixed
from guardrail.stats.plans import Decision, PlanKind
from guardrail.stats.radius import required_harmless_rate

Q = {r: required_harmless_rate(r, sigma=1.0) for r in (0.25, 0.5, 1.0, 1.5, 2.0)}


@pytest.mark.parametrize(
    ("radius", "q1", "n"),
    [
        (0.5, 0.97, 43),
        (0.5, 0.99, 32),
        (1.0, 0.97, 136),
        (1.0, 0.99, 78),
        (1.5, 0.97, 978),
        (1.5, 0.99, 288),
        (2.0, 0.99, 2841),
    ],
)
def test_sizes_of_the_design_table(radius, q1, n):
    plan = fixed_plan(Q[radius], 1e-3, q1=q1, power=0.99, max_samples=5_000)
    assert plan.max_samples == n
    assert plan.kind is PlanKind.FIXED
    assert plan.power_at(q1) >= 0.99
    assert plan.false_pass_upper <= 1e-3


@pytest.mark.no_cover
@given(
    st.sampled_from((0.6, 0.75, 0.9)),
    st.sampled_from((0.05, 0.01, 1e-3)),
    st.sampled_from((0.97, 0.99, 1.0)),
    st.sampled_from((0.5, 0.9, 0.99)),
)
def test_no_smaller_size_has_the_power(q, alpha, q1, power):
    n, c = smallest_fixed(q, alpha, q1, power)
    assert stats.binom.cdf(c, n, 1 - q) <= alpha
    assert stats.binom.cdf(c, n, 1 - q1) >= power - 1e-12
    for size in range(1, n):
        most = most_harmful(size, q, alpha)
        assert stats.binom.cdf(most, size, 1 - q1) < power


@given(st.integers(1, 400), st.floats(0.05, 0.98), st.floats(1e-9, 0.4))
def test_most_harmful_is_where_clopper_pearson_still_proves_the_rate(n, q, alpha):
    c = most_harmful(n, q, alpha)
    if c >= 0:
        assert harmless_rate_lower(n - c, n, alpha) >= q
    if c + 1 <= n:
        assert harmless_rate_lower(n - c - 1, n, alpha * (1 - 1e-8)) < q


@settings(max_examples=40)
@given(st.integers(1, 9), st.data())
def test_curtailment_never_changes_the_verdict(exact, n, data):
    """Every path to the end: stopping early agrees with counting all n, in any order."""
    c = data.draw(st.integers(-1, n - 1))
    plan = curtail(n, c, 0.01, 0.9999999)
    for outcomes in itertools.product((True, False), repeat=n):
        verdict, used = exact.play(plan, outcomes)
        harmful = n - sum(outcomes)
        assert (verdict is Decision.PASS) == (harmful <= c)
        # And it stops at the first moment at which the verdict is settled.
        before = outcomes[: used - 1]
        seen = len(before) - sum(before)
        assert used == 1 or (seen <= c < seen + n - len(before))


def test_the_false_pass_of_a_curtailed_test_is_the_binomial_tail():
    plan = fixed_plan(Q[1.0], 1e-3, q1=0.97, power=0.99, max_samples=200)
    assert plan.false_pass_upper == pytest.approx(stats.binom.cdf(9, 136, 1 - Q[1.0]), rel=1e-9)
    assert plan.power_at(0.9) == pytest.approx(stats.binom.cdf(9, 136, 0.1), rel=1e-9)


def test_fewer_looks_change_the_cost_only():
    every = fixed_plan(Q[0.5], 1e-3, q1=0.97, power=0.99, max_samples=200)
    waves = fixed_plan(Q[0.5], 1e-3, q1=0.97, power=0.99, max_samples=200, looks=range(10, 200, 10))
    assert waves.looks == (10, 20, 30, 40, 43)
    for q in (0.0, 0.3, Q[0.5], 0.97, 1.0):
        assert waves.power_at(q) == pytest.approx(every.power_at(q))
        assert waves.expected_calls_at(q) >= every.expected_calls_at(q) - 1e-9
        assert waves.walk(q).expected_waves <= every.walk(q).expected_waves + 1e-9


def test_all_harmless_traffic_passes_as_soon_as_it_can():
    plan = fixed_plan(Q[0.5], 1e-3, q1=0.97, power=0.99, max_samples=200)
    assert plan.expected_calls_at(1.0) == pytest.approx(43 - 4)
    assert plan.expected_calls_at(0.0) == pytest.approx(5)


def test_certain_traffic_needs_the_unanimous_minimum():
    assert smallest_fixed(Q[1.0], 1e-3, 1.0, 0.99) == (40, 0)


def test_too_few_samples_name_the_smallest_that_would_do():
    with pytest.raises(CertificationError, match="smallest max_samples that does is 136"):
        fixed_plan(Q[1.0], 1e-3, q1=0.97, power=0.99, max_samples=135)
    assert fixed_plan(Q[1.0], 1e-3, q1=0.97, power=0.99, max_samples=136).max_samples == 136


def test_many_samples_are_found_without_trying_them_all():
    n, c = smallest_fixed(0.9, 1e-6, 0.905, 0.99)
    assert 150_000 < n < 250_000
    assert stats.binom.cdf(c, n, 0.1) <= 1e-6
    assert stats.binom.cdf(c, n, 0.095) >= 0.99


def test_rates_that_cannot_be_told_apart():
    with pytest.raises(CertificationError, match="no practical number of samples"):
        smallest_fixed(0.5, 1e-3, 0.5 + 1e-12, 0.99)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"q_required": 0.0}, "q_required"),
        ({"q_required": 1.0}, "q_required"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"q1": 0.6}, "must lie above the required rate"),
        ({"q1": 0.5}, "must lie above the required rate"),
        ({"q1": 1.1}, "expected_harmless_rate"),
        ({"power": 0.0}, "power"),
        ({"power": 1.0}, "power"),
        ({"max_samples": 0}, "max_samples"),
        ({"max_samples": 10.5}, "max_samples"),
        ({"looks": (5, 5)}, "increasing"),
        ({"looks": ()}, "increasing"),
    ],
)
def test_impossible_questions_are_refused(change, word):
    fields = {"q_required": 0.6, "alpha": 0.01, "q1": 0.97, "power": 0.9, "max_samples": 200}
    with pytest.raises(CertificationError, match=word):
        fixed_plan(**(fields | change))


def test_a_test_that_is_not_valid_cannot_be_curtailed_into_a_plan():
    with pytest.raises(CertificationError, match="more than alpha"):
        curtail(10, 3, 0.9, 0.01)
