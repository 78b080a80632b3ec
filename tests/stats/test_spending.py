"""Spending alpha over the tries of one principal: the law, its exact sums, and the plans' price."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats import fewest_samples, required_harmless_rate, spending_level, spent_alpha

alphas = st.floats(1e-9, 0.5)


@given(alphas, st.integers(1, 10**9))
def test_never_more_than_the_law_allows(alpha, k):
    with mpmath.workdps(40):
        law = 6 * mpmath.mpf(alpha) / (mpmath.pi**2 * k * k)
        spent = mpmath.mpf(spent_alpha(alpha, k))
        assert 0 < spent <= law
        # k is rounded up by less than one half, alpha down by less than the square of it.
        assert spent > law / 1.5**2


@given(alphas, st.integers(1, 10**9))
def test_rounded_down_by_next_to_nothing(alpha, k):
    with mpmath.workdps(40):
        level = spending_level(k)
        law = 6 * mpmath.mpf(alpha) / (mpmath.pi**2 * level * level)
        spent = mpmath.mpf(spent_alpha(alpha, k))
        assert law * (1 - mpmath.mpf(2) ** -50) < spent <= law


@pytest.mark.parametrize(("k", "level"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 6), (7, 8),
                                          (9, 12), (12, 12), (13, 16), (100, 128)])  # fmt: skip
def test_levels(k, level):
    assert spending_level(k) == level
    assert spent_alpha(0.01, k) == spent_alpha(0.01, level)
    law = 0.01 * 6 / (math.pi * level) ** 2
    assert spent_alpha(0.01, k) == pytest.approx(law, rel=1e-12)


def test_each_level_is_the_next_one_up():
    levels = sorted({*(2**i for i in range(12)), *(3 * 2**i for i in range(11))})
    for k in range(1, 2048):
        assert spending_level(k) == next(level for level in levels if level >= k)


@given(alphas, st.integers(1, 10**6))
def test_a_later_number_is_never_judged_more_loosely(alpha, k):
    assert spent_alpha(alpha, k + 1) <= spent_alpha(alpha, k) < alpha


@pytest.mark.parametrize("alpha", [0.05, 1e-3])
def test_the_sum_over_all_numbers_is_at_most_alpha(alpha):
    """Summed exactly to 4,096; the law itself bounds the tail by alpha · 6/pi² · 1/4096."""
    total = sum(Fraction(spent_alpha(alpha, k)) for k in range(1, 4_097))
    tail = Fraction(alpha) * Fraction(0.608) / 4_096
    assert total + tail < Fraction(alpha)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 1e-3])
def test_the_expected_number_of_falsely_passed_decisions(alpha):
    """At each number bad tries go on until one does not pass: alpha_k / (1 - alpha_k) of them."""
    shares = [Fraction(spent_alpha(alpha, k)) for k in range(1, 4_097)]
    total = sum(share / (1 - share) for share in shares)
    tail = Fraction(alpha) * Fraction(0.608) / 4_096 / (1 - Fraction(alpha))
    assert total + tail <= Fraction(alpha) / (1 - Fraction(alpha))


@pytest.mark.parametrize("numbers", [1, 2, 3])
def test_false_passes_by_enumeration(numbers):
    """Every course of bad tries on a few numbers, one after another, in exact numbers.

    A course takes the smallest number that is not held, and ends when all are held or after
    `most` tries; what it leaves out is bounded by alpha to the power of the tries that passed.
    """
    alpha, most = Fraction(1, 5), 7
    shares = [Fraction(spent_alpha(float(alpha), k)) for k in range(1, numbers + 1)]
    any_pass, expected, counted = Fraction(0), Fraction(0), Fraction(0)
    for course in itertools.product([True, False], repeat=most):
        mass, held, passes, tried = Fraction(1), 0, 0, 0
        for passed in course:
            if held == numbers:
                break
            mass *= shares[held] if passed else 1 - shares[held]
            passes, held, tried = passes + passed, held + (not passed), tried + 1
        if any(course[tried:]):
            continue  # the same course as another one, beyond its end
        counted += mass
        any_pass += mass * (passes > 0)
        expected += mass * passes
    assert counted == 1
    assert any_pass <= sum(shares) <= alpha
    assert expected <= sum(share / (1 - share) for share in shares) <= alpha / (1 - alpha)


@pytest.mark.no_cover
def test_few_plans_serve_all():
    assert len({spent_alpha(0.001, k) for k in range(1, 100_000)}) < 40


def test_the_price_is_logarithmic():
    """Unanimous calls at R = sigma / 2: k̄ sets alpha, so 10 costs what 12 does."""
    q = required_harmless_rate(0.5, sigma=1.0)
    assert fewest_samples(q, 0.001) == 19
    assert [fewest_samples(q, spent_alpha(0.001, k)) for k in (1, 10, 100)] == [21, 34, 47]
    by_k_itself = [6e-3 / (math.pi * k) ** 2 for k in (1, 10, 100)]
    assert [fewest_samples(q, alpha) for alpha in by_k_itself] == [21, 33, 46]


@pytest.mark.parametrize(("alpha", "k", "word"), [
    (0.0, 1, "alpha"), (1.0, 1, "alpha"), (0.1, 0, "k"), (0.1, -1, "k"), (0.1, 1.5, "k"),
    (0.1, True, "k"),
])  # fmt: skip
def test_impossible_arguments_are_refused(alpha, k, word):
    with pytest.raises(CertificationError, match=f"^{word} is"):
        spent_alpha(alpha, k)
