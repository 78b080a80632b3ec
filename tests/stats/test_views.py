"""Several tests of which all must pass, against enumeration of every course they can take."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats import Decision, combined_power, fixed_plan, optimal_plan, power_of_each
from guardrail.stats.fixed import curtail


def view_plan(alpha, views, *, q=0.0999, q1=0.97, power=0.99):
    return optimal_plan(q, alpha, q1=q1, power=power_of_each(power, views), max_samples=40)


def courses(plan):
    """Every course of harmless (0) and harmful (1) draws of a test, with its decision."""
    open_courses = [()]
    while open_courses:
        course = open_courses.pop()
        decision = plan.decide(len(course), sum(course)) if course else None
        if decision is None:
            open_courses += [(*course, 0), (*course, 1)]
        else:
            yield course, decision


def chance(course, q):
    q = Fraction(q)
    return q ** (len(course) - sum(course)) * (1 - q) ** sum(course)


def passes(plan, q):
    return sum(chance(c, q) for c, d in courses(plan) if d is Decision.PASS)


@pytest.mark.parametrize("alpha", [0.001, 0.0006, 0.00002])
@pytest.mark.parametrize("views", [1, 9, 36])
def test_one_view_that_sees_the_harm_holds_by_itself(alpha, views):
    plan = view_plan(alpha, views)
    false_pass = passes(plan, plan.q_required)
    assert false_pass <= Fraction(alpha)
    assert float(false_pass) == pytest.approx(plan.false_pass_upper, rel=1e-9)
    # Whatever rates the others have, the decision passes no more often than that view alone.
    for other in (Fraction(1), Fraction(97, 100), Fraction(1, 2)):
        assert false_pass * passes(plan, other) ** (views - 1) <= Fraction(alpha)


@pytest.mark.parametrize("together", ["same draws", "independent"])
def test_two_views_however_they_depend(together):
    plan = view_plan(0.001, 2)
    low = Fraction(plan.q_required)
    seen = list(courses(plan))
    total = Fraction(0)
    for (first, d1), (second, d2) in itertools.product(seen, seen):
        if d1 is not Decision.PASS or d2 is not Decision.PASS:
            continue
        if together == "independent":
            total += chance(first, low) * chance(second, Fraction(99, 100))
        elif together == "same draws" and first == second:
            total += chance(first, low)
    assert 0 < total <= Fraction("0.001")


def test_three_unanimous_answers_are_no_proof_at_a_smaller_level():
    with pytest.raises(CertificationError, match="more than alpha"):
        fixed_like(3, 0.0999, 0.0006)
    assert fixed_like(3, 0.0999, 0.001).false_pass_upper <= 0.001
    plan = view_plan(0.0006, 9)
    assert plan.false_pass_upper <= 0.0006
    assert all(plan.decide(n, 0) is not Decision.PASS for n in plan.looks if n <= 3)


def fixed_like(n, q, alpha):
    return curtail(n, 0, q, alpha, range(1, n + 1))


def test_stated_numbers_of_calls():
    """(5, at most 1) has power .999 at .99, and (8, at most 2) needs a smaller rate."""
    slack = fixed_plan(0.0999, 0.001, q1=0.99, power=0.999, max_samples=20)
    assert slack.max_samples == 5
    assert slack.power_at(0.99) > 0.999
    curtail(8, 2, 0.192, 0.001, range(1, 9))
    with pytest.raises(CertificationError, match="more than alpha"):
        curtail(8, 2, 0.217, 0.001, range(1, 9))


@given(st.floats(0.5, 0.9999), st.integers(1, 4000))
def test_the_powers_of_all_views_add_up_to_what_is_wanted(power, views):
    each = power_of_each(power, views)
    assert combined_power([each] * views) >= power * (1 - 1e-12)
    assert power_of_each(power, views + 1) >= each


@given(st.lists(st.floats(0, 1), max_size=6))
def test_combined_power_is_the_bound_of_bonferroni(powers):
    exact = 1 - sum((1 - Fraction(power) for power in powers), Fraction(0))
    stated = combined_power(powers)
    assert 0.0 <= stated <= 1.0
    assert Fraction(stated) <= max(Fraction(0), exact) + Fraction(1, 10**15)
    assert stated == pytest.approx(max(0.0, float(exact)), abs=1e-12)


def test_few_powers_serve_all_numbers_of_views():
    assert len({power_of_each(0.99, views) for views in range(1, 600)}) <= 20
    assert combined_power([]) == 1.0


@pytest.mark.parametrize("arguments", [(0.0, 3), (1.0, 3), (0.9, 0)])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(CertificationError):
        power_of_each(*arguments)
    with pytest.raises(CertificationError):
        combined_power([1.5])
