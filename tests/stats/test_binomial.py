"""Clopper–Pearson: never above the truth, and not below it by more than rounding."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from guardrail.errors import CertificationError
from guardrail.stats.binomial import (
    binomial_cdf,
    binomial_sf,
    harmless_rate_lower,
    harmless_rate_upper,
)

ALPHAS = (0.05, 0.01, 1e-3, 1e-6, 1e-9)


@st.composite
def counts(draw, most=5_000):
    n = draw(st.integers(1, most))
    return draw(st.integers(0, n)), n


alphas = st.floats(1e-12, 0.5)


def mp_sf(k, n, p):
    """P[X >= k] summed in 60 digits."""
    with mpmath.workdps(60):
        p = mpmath.mpf(p)
        if n - k > k:
            below = mpmath.fsum(mpmath.binomial(n, j) * p**j * (1 - p) ** (n - j) for j in range(k))
            return 1 - below
        return mpmath.fsum(
            mpmath.binomial(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1)
        )


def mp_lower(k, n, alpha):
    """The Clopper–Pearson lower bound in 50 digits, by bisection on the sum."""
    with mpmath.workdps(60):
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        for _ in range(170):
            middle = (low + high) / 2
            if mp_sf(k, n, middle) <= mpmath.mpf(alpha):
                low = middle
            else:
                high = middle
        return low


@pytest.mark.no_cover
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(
    ("k", "n"),
    [(1, 1), (1, 2), (1, 50), (5, 10), (19, 19), (39, 40), (40, 40), (95, 100), (100, 100)],
)
def test_lower_bound_against_sums_in_sixty_digits(k, n, alpha):
    reference = mp_lower(k, n, alpha)
    bound = harmless_rate_lower(k, n, alpha)
    assert bound <= reference
    assert float((reference - bound) / reference) < 1e-10


@pytest.mark.no_cover
@pytest.mark.parametrize("alpha", [0.01, 1e-6])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 40), (1, 40), (5, 10), (39, 40), (3, 300)])
def test_upper_bound_against_sums_in_sixty_digits(k, n, alpha):
    with mpmath.workdps(60):
        reference = 1 - mp_lower(n - k, n, alpha)
        bound = harmless_rate_upper(k, n, alpha)
        assert bound >= reference
        assert float((bound - reference) / reference) < 1e-10


@pytest.mark.parametrize("n", [10**4, 10**6, 10**9])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_unanimous_bound_has_a_closed_form(n, alpha):
    with mpmath.workdps(50):
        reference = mpmath.mpf(alpha) ** (mpmath.mpf(1) / n)
        bound = harmless_rate_lower(n, n, alpha)
        assert bound <= reference
        # Near 1 the distance from 1 is what a radius depends on.
        assert abs((1 - mpmath.mpf(bound)) / (1 - reference) - 1) < 1e-6


@pytest.mark.parametrize("n", [10**4, 10**9, 10**12])
def test_upper_bound_of_no_misses_keeps_its_relative_precision(n):
    with mpmath.workdps(50):
        reference = 1 - mpmath.mpf("0.001") ** (mpmath.mpf(1) / n)
        bound = harmless_rate_upper(0, n, 0.001)
        assert bound >= reference
        assert float(bound / reference - 1) < 1e-10


def test_published_value_for_a_hundred_of_a_hundred():
    assert harmless_rate_lower(100, 100, 0.001) == pytest.approx(0.9332543, abs=1e-7)


def test_a_bound_below_the_smallest_float_is_zero():
    """1 of 2 at the smallest alpha there is: the bound, half of it, cannot be written."""
    assert harmless_rate_lower(1, 2, 5e-324) == 0.0
    assert harmless_rate_upper(1, 2, 5e-324) == 1.0


def test_alpha_is_one_sided_and_not_halved():
    assert harmless_rate_lower(9, 10, 0.05) == pytest.approx(stats.beta.ppf(0.05, 9, 2))
    assert harmless_rate_lower(9, 10, 0.05) > stats.beta.ppf(0.025, 9, 2)


def test_no_harmless_outcome_bounds_nothing():
    assert harmless_rate_lower(0, 1_000, 0.001) == 0.0
    assert harmless_rate_upper(1_000, 1_000, 0.001) == 1.0


def test_no_draws_are_vacuous():
    assert harmless_rate_lower(0, 0, 0.001) == 0.0
    assert harmless_rate_upper(0, 0, 0.001) == 1.0


@pytest.mark.no_cover
@pytest.mark.parametrize("alpha", [pytest.param(0.05, marks=pytest.mark.nightly), 1e-3])
def test_coverage_is_exact_for_every_n_to_two_hundred(alpha):
    """The worst rates lie just below a bound, where the failures are P[K >= k] at the bound.

    So confirming the tail at every bound of every n is exact coverage at every rate.
    """
    for n in range(1, 201):
        bounds = np.array([harmless_rate_lower(k, n, alpha) for k in range(n + 1)])
        tails = stats.binom.sf(np.arange(n + 1) - 1, n, bounds)
        assert np.all(tails[1:] <= alpha), n
        assert bounds[0] == 0.0


@pytest.mark.nightly
def test_coverage_is_exact_for_every_n_to_a_thousand():
    alpha = 1e-3
    for n in range(201, 1_001):
        k = np.unique(np.round(np.linspace(1, n, 24)).astype(int))
        k = np.union1d(k, np.arange(n - 6, n + 1))
        bounds = np.array([harmless_rate_lower(int(i), n, alpha) for i in k])
        assert np.all(stats.binom.sf(k - 1, n, bounds) <= alpha), n


@pytest.mark.parametrize("n", [7, 40, 250])
def test_coverage_over_a_grid_of_rates_and_the_jump_points(n):
    alpha = 0.01
    bounds = np.array([harmless_rate_lower(k, n, alpha) for k in range(n + 1)])
    rates = np.concatenate((np.linspace(0, 1, 801), bounds, np.nextafter(bounds, 0)))
    pmf = stats.binom.pmf(np.arange(n + 1), n, rates[:, None])
    failures = np.where(bounds > rates[:, None], pmf, 0.0).sum(axis=1)
    assert failures.max() <= alpha * (1 + 1e-12)
    assert failures.max() > 0.9 * alpha, "the bound should not be loose"


@pytest.mark.parametrize("n", [7, 40, 250])
def test_upper_bound_coverage_over_a_grid(n):
    alpha = 0.01
    bounds = np.array([harmless_rate_upper(k, n, alpha) for k in range(n + 1)])
    rates = np.concatenate((np.linspace(0, 1, 801), bounds, np.nextafter(bounds, 1)))
    pmf = stats.binom.pmf(np.arange(n + 1), n, np.minimum(rates, 1.0)[:, None])
    failures = np.where(bounds < rates[:, None], pmf, 0.0).sum(axis=1)
    assert failures.max() <= alpha * (1 + 1e-12)


@given(counts(), alphas)
def test_the_binomial_tail_confirms_every_bound(pair, alpha):
    k, n = pair
    lower, upper = harmless_rate_lower(k, n, alpha), harmless_rate_upper(k, n, alpha)
    assert 0.0 <= lower <= k / n <= upper <= 1.0 or alpha > 0.4
    assert k == 0 or stats.binom.sf(k - 1, n, lower) <= alpha
    assert k == n or stats.binom.cdf(k, n, upper) <= alpha


@given(counts(), alphas)
def test_bounds_are_tight_to_rounding(pair, alpha):
    k, n = pair
    if k > 0:
        lower = harmless_rate_lower(k, n, alpha)
        above = min(lower * (1 + 1e-9) + 1e-300, 1.0)
        assert binomial_sf(k, n, above) > alpha * (1 - 1e-6) or above == 1.0


@given(counts(), alphas)
def test_upper_mirrors_lower(pair, alpha):
    k, n = pair
    mirrored = 1.0 - harmless_rate_lower(n - k, n, alpha)
    assert harmless_rate_upper(k, n, alpha) == pytest.approx(mirrored, rel=1e-9, abs=1e-12)


@given(counts(), alphas)
def test_more_harmless_outcomes_raise_the_bound(pair, alpha):
    k, n = pair
    if k < n:
        assert harmless_rate_lower(k, n, alpha) < harmless_rate_lower(k + 1, n, alpha)


@given(counts(), alphas, alphas)
def test_a_smaller_alpha_lowers_the_bound(pair, one, two):
    k, n = pair
    small, large = sorted((one, two))
    assert harmless_rate_lower(k, n, small) <= harmless_rate_lower(k, n, large)
    assert harmless_rate_upper(k, n, small) >= harmless_rate_upper(k, n, large)


@given(st.integers(1, 2_000), alphas)
def test_the_bound_never_reaches_one(n, alpha):
    assert harmless_rate_lower(n, n, alpha) < 1.0
    assert harmless_rate_upper(0, n, alpha) > 0.0


def test_looking_after_every_draw_would_be_invalid():
    """Why fixed n matters: a thousand looks at 95 % bounds fail with probability .339 at p = ½."""
    alpha, p = 0.05, 0.5
    alive = np.ones(1)
    failed = 0.0
    for n in range(1, 1_001):
        after = np.zeros(n + 1)
        after[: alive.size] += alive * (1 - p)
        after[1 : alive.size + 1] += alive * p
        limits = stats.binom.isf(alpha, n, p)
        # The bound exceeds p exactly where P_p[K >= k] < alpha.
        refuted = stats.binom.sf(np.arange(n + 1) - 1, n, p) < alpha
        assert limits >= 0
        failed += after[refuted].sum()
        after[refuted] = 0.0
        alive = after
    assert failed == pytest.approx(0.339, abs=5e-4)


@given(st.integers(1, 400), st.floats(0.01, 0.99))
def test_distribution_functions_agree_with_scipy(n, p):
    for k in {0, 1, n // 2, n - 1, n}:
        assert binomial_sf(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-9)
        assert binomial_cdf(k, n, p) == pytest.approx(stats.binom.cdf(k, n, p), rel=1e-9)


def test_distribution_functions_at_the_ends():
    assert binomial_sf(0, 5, 0.3) == 1.0
    assert binomial_sf(6, 5, 0.3) == 0.0
    assert binomial_cdf(-1, 5, 0.3) == 0.0
    assert binomial_cdf(5, 5, 0.3) == 1.0


@pytest.mark.parametrize(
    ("k", "n", "alpha", "word"),
    [
        (-1, 5, 0.1, "k is -1"),
        (6, 5, 0.1, "at most n = 5"),
        (1.5, 5, 0.1, "integer"),
        (True, 5, 0.1, "integer"),
        (1, -5, 0.1, "n is -5"),
        (1, 5, 0.0, "alpha"),
        (1, 5, 1.0, "alpha"),
        (1, 5, math.nan, "alpha"),
        (1, 5, -0.1, "alpha"),
    ],
)
@pytest.mark.parametrize("bound", [harmless_rate_lower, harmless_rate_upper])
def test_impossible_arguments_are_refused(bound, k, n, alpha, word):
    with pytest.raises(CertificationError, match=word):
        bound(k, n, alpha)


def test_numpy_integers_are_integers():
    assert harmless_rate_lower(np.int64(9), np.int32(10), 0.1) == harmless_rate_lower(9, 10, 0.1)
