"""Spending alpha over retries."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats.radius import fewest_samples, required_harmless_rate
from guardrail.stats.spending import spent_alpha

alphas = st.floats(1e-9, 0.5)


@given(alphas, st.integers(0, 10**9))
def test_never_more_than_the_law_allows(alpha, blocked):
    with mpmath.workdps(40):
        k = blocked + 1
        law = 6 * mpmath.mpf(alpha) / (mpmath.pi**2 * k * k)
        spent = mpmath.mpf(spent_alpha(alpha, blocked))
        assert 0 < spent <= law
        # k is rounded up by at most one half (2 → 3 of … 3, 4, 6 …), alpha by the square of it.
        assert spent >= law / (1.5**2) * (1 - 1e-12)


@pytest.mark.parametrize(("k", "level"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 6), (7, 8),
                                          (9, 12), (12, 12), (13, 16), (100, 128)])  # fmt: skip
def test_levels(k, level):
    assert spent_alpha(0.01, k - 1) == spent_alpha(0.01, level - 1)
    law = 0.01 * 6 / (math.pi * level) ** 2
    assert spent_alpha(0.01, k - 1) == pytest.approx(law, rel=1e-12)


@given(alphas, st.integers(0, 10**6))
def test_more_blocks_never_loosen(alpha, blocked):
    assert spent_alpha(alpha, blocked + 1) <= spent_alpha(alpha, blocked) < alpha


@pytest.mark.parametrize("alpha", [0.05, 1e-3])
def test_the_sum_over_all_levels_is_at_most_alpha(alpha):
    """Summed exactly to 4,096 blocks; the law itself bounds the tail by alpha · 6/pi² · 1/4096."""
    total = sum(Fraction(spent_alpha(alpha, k)) for k in range(4_096))
    tail = Fraction(alpha) * Fraction(0.608) / 4_096
    assert total + tail < Fraction(alpha)


@pytest.mark.parametrize("alpha", [0.05, 1e-3])
def test_the_expected_number_of_false_passes(alpha):
    """At each level tries go on until one is blocked: alpha_k/(1 - alpha_k) false passes."""
    total = sum(spent_alpha(alpha, k) / (1 - spent_alpha(alpha, k)) for k in range(5_000))
    assert total <= alpha / (1 - alpha)


def test_few_plans_serve_all():
    assert len({spent_alpha(0.001, k) for k in range(100_000)}) < 40


def test_the_price_is_logarithmic():
    q = required_harmless_rate(0.5, sigma=1.0)
    assert fewest_samples(q, 0.001) == 19
    assert fewest_samples(q, spent_alpha(0.001, 9)) in (33, 34)
    assert fewest_samples(q, spent_alpha(0.001, 99)) in (45, 46, 47)


@pytest.mark.parametrize(("alpha", "blocked", "word"), [
    (0.0, 0, "alpha"), (1.0, 0, "alpha"), (0.1, -1, "blocked_before"), (0.1, 1.5, "blocked_before"),
])  # fmt: skip
def test_impossible_arguments_are_refused(alpha, blocked, word):
    with pytest.raises(CertificationError, match=word):
        spent_alpha(alpha, blocked)
