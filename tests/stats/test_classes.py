"""Several classes: chosen on some draws, bounded on fresh ones."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats.binomial import harmless_rate_lower
from guardrail.stats.classes import SequentialClass, certify_class, runner_up_upper, select_class
from guardrail.stats.optimal import optimal_plan
from guardrail.stats.plans import Decision
from guardrail.stats.radius import certified_radius

rows = st.lists(st.integers(0, 50), min_size=2, max_size=6)


@given(rows.filter(any))
def test_the_most_frequent_class_is_selected_the_first_of_equals(counts):
    selected = select_class(counts)
    assert counts[selected] == max(counts)
    assert all(count < counts[selected] for count in counts[:selected])


@given(rows.filter(any), st.data())
def test_the_bound_uses_fresh_draws_only(selection, data):
    fresh = data.draw(
        st.lists(st.integers(0, 200), min_size=len(selection), max_size=len(selection))
    )
    found = certify_class(selection, fresh, 0.01, sigma=0.5)
    assert found.selected == select_class(selection)
    assert found.rate_lower == harmless_rate_lower(fresh[found.selected], sum(fresh), 0.01)
    assert found.radius == certified_radius(found.rate_lower, sigma=0.5)
    assert found.abstains is (found.radius is None)


def test_a_clear_class_is_certified():
    found = certify_class([10, 0, 0], [97, 2, 1], 1e-3, sigma=0.25, operator_norm=0.5)
    assert not found.abstains
    assert found.radius == pytest.approx(2 * certified_radius(found.rate_lower, sigma=0.25))


def test_a_close_race_abstains():
    assert certify_class([5, 4], [52, 48], 1e-3, sigma=0.25).abstains


def test_a_wrong_guess_abstains():
    """The guess misled by few draws: the fresh draws do not support it."""
    assert certify_class([1, 0], [3, 97], 1e-3, sigma=0.25).abstains


def test_a_class_never_seen_is_not_impossible():
    found = certify_class([10, 0], [100, 0], 1e-3, sigma=1.0)
    assert math.isfinite(found.radius)
    assert runner_up_upper(found.rate_lower) > 0.0


def test_the_grid_slack_is_passed_on():
    plain = certify_class([9, 0], [100, 0], 1e-3, sigma=0.5)
    slack = certify_class([9, 0], [100, 0], 1e-3, sigma=0.5, grid_slack=0.1)
    assert plain.radius - slack.radius == pytest.approx(0.1)


@given(st.floats(0.0, 1.0))
def test_the_runner_up_has_at_most_the_rest(p):
    upper = runner_up_upper(p)
    assert 1 - Fraction(p) <= Fraction(upper) <= 1
    assert upper == pytest.approx(1 - p, abs=1e-15)


def failure(selection_draws, draws, alpha, p, *, fresh):
    """P[the bound exceeds the class's rate] for two classes, exactly, by all outcomes."""
    failed = Fraction(0)
    for k0 in range(selection_draws + 1):
        weight = math.comb(selection_draws, k0) * p**k0 * (1 - p) ** (selection_draws - k0)
        selected = 0 if k0 >= selection_draws - k0 else 1
        rate = p if selected == 0 else 1 - p
        if not fresh:
            k = max(k0, selection_draws - k0)
            failed += weight * (harmless_rate_lower(k, selection_draws, alpha) > rate)
            continue
        for k in range(draws + 1):
            mass = math.comb(draws, k) * rate**k * (1 - rate) ** (draws - k)
            failed += weight * mass * (harmless_rate_lower(k, draws, alpha) > rate)
    return failed


def test_fresh_draws_keep_alpha_and_the_same_draws_do_not():
    """At p = ½ selecting and bounding on the same draws fails with nearly twice alpha."""
    half = Fraction(1, 2)
    alpha = 0.06
    honest = failure(15, 15, alpha, half, fresh=True)
    reused = failure(15, 15, alpha, half, fresh=False)
    assert honest <= Fraction(alpha)
    assert reused > Fraction(alpha)
    assert reused == 2 * sum(
        Fraction(math.comb(15, k), 2**15)
        for k in range(8, 16)
        if harmless_rate_lower(k, 15, alpha) > 0.5
    )


@pytest.mark.parametrize("p", [Fraction(1, 3), Fraction(3, 5), Fraction(9, 10)])
def test_certify_keeps_alpha_at_other_rates(p):
    assert failure(7, 20, 0.05, p, fresh=True) <= Fraction(0.05)


def test_the_sequential_version_chooses_and_then_tests():
    plan = optimal_plan(0.7, 0.01, q1=0.97, power=0.95, max_samples=100)
    test = SequentialClass(selection=5, plan=plan)
    assert test.select([1, 4, 0]) == 1
    verdicts = [test.decide(n, 0) for n in range(plan.max_samples + 1)]
    assert Decision.PASS in verdicts
    assert test.decide(plan.looks[0], plan.looks[0]) is Decision.BLOCK
    with pytest.raises(CertificationError, match="on 5 draws, not 6"):
        test.select([1, 5, 0])


def test_the_sequential_version_keeps_alpha(exact):
    """All selections of three draws, then the exact false-pass of the plan, at every rate."""
    plan = optimal_plan(0.7, 0.05, q1=0.97, power=0.9, max_samples=60)
    for p in (Fraction(1, 2), Fraction(7, 10), Fraction(13, 20)):
        failed = Fraction(0)
        for draws in itertools.product((0, 1), repeat=3):
            counts = [draws.count(0), draws.count(1)]
            weight = p ** counts[0] * (1 - p) ** counts[1]
            rate = p if SequentialClass(3, plan).select(counts) == 0 else 1 - p
            if rate <= Fraction(plan.q_required):
                failed += weight * exact.power(plan, rate)
        assert failed <= Fraction(plan.alpha)


@pytest.mark.parametrize(
    ("selection", "fresh", "word"),
    [
        ([], [], "no draws"),
        ([0, 0], [1, 1], "no draws"),
        ([1, -1], [1, 1], "class count"),
        ([1, 1], [1], "2 classes were selected from but 1 counted"),
        ([1, 1], [1, -1], "class count"),
        ([1, 1], [1, 0.5], "class count"),
    ],
)
def test_impossible_counts_are_refused(selection, fresh, word):
    with pytest.raises(CertificationError, match=word):
        certify_class(selection, fresh, 0.01, sigma=0.5)


def test_no_fresh_draws_abstain():
    assert certify_class([3, 0], [0, 0], 0.01, sigma=0.5).abstains


def test_an_impossible_rate_is_refused():
    with pytest.raises(CertificationError, match="rate_lower"):
        runner_up_upper(1.5)
